// The content of one file of FaultEnv: what is read now, and how to get back to what is on the
// disk. Only fault_env.cc uses it. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "common/base/random.h"

namespace dfs::fault_internal {

class FileData {
 public:
  static constexpr uint64_t kPage = 4096;
  static constexpr uint64_t kSector = 512;

  uint64_t size() const { return size_; }
  /// Space it takes: pages that hold data, or the reservation.
  uint64_t allocated() const;
  uint64_t AllocatedAfterWrite(uint64_t offset, uint64_t size) const;
  uint64_t dirty_bytes() const { return undo_.size() * kPage; }

  size_t Read(uint64_t offset, char* data, size_t size) const;
  /// random may be null: no spontaneous write-back.
  void Write(uint64_t offset, std::string_view data, Random* random, uint64_t writeback_chance);
  void Truncate(uint64_t size);
  void Reserve(uint64_t size);
  void Sync();
  /// What a failed sync leaves: readable, but no later sync makes it durable.
  void LoseDirty();
  /// Back to the disk's content; with keep, a random part of what was not synced stays. Returns how
  /// many pages were torn.
  uint64_t Crash(Random& random, bool keep);
  void FlipBit(uint64_t offset, int bit);

 private:
  using Page = std::array<char, kPage>;
  using PagePtr = std::unique_ptr<Page>;  // null: zeros
  struct Undo {
    PagePtr page;       // what the disk has
    bool lost = false;  // a failed sync gave it up
  };

  Page& Writable(uint64_t index);
  void SaveUndo(uint64_t index, bool copy);
  void SetPage(uint64_t index, PagePtr page);
  static void Tear(Random& random, PagePtr* now, const PagePtr& disk);

  std::vector<PagePtr> pages_;
  uint64_t page_count_ = 0;  // not null in pages_
  uint64_t size_ = 0;
  uint64_t reserved_ = 0;
  uint64_t durable_size_ = 0;
  bool size_lost_ = false;
  std::map<uint64_t, Undo> undo_;  // by page, of pages that differ from the disk
};

}  // namespace dfs::fault_internal
