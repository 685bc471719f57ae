// LeaseCache: what a mount may serve by itself, because its session holds leases: attributes of inodes, and names of
// directories, absent ones included. A node is a lease; what is known under it goes with it.
//
// Data only: whether the session's term runs, and what the kernel was told, is FileSystem's business. Bounded; the least
// used leases are given back. Confined to the core's executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/idl/idl_fwd.h"

namespace dfs::fuse {

class LeaseCache {
 public:
  /// names: of all directories together. Beyond either the least used leases go.
  LeaseCache(size_t max_leases, size_t max_names);
  ~LeaseCache();

  // ---- Leases
  void Hold(uint64_t inode);
  void HoldWrite(uint64_t inode);
  bool Holds(uint64_t inode) const { return nodes_.count(inode) > 0; }
  bool HoldsWrite(uint64_t inode) const;
  /// A read lease stays.
  void EndWrite(uint64_t inode);
  /// With everything that is known under it.
  void Drop(uint64_t inode);
  void Clear();
  /// Leases that went to make room, since the last call: to be given back.
  std::vector<uint64_t> TakeEvicted();
  void List(std::vector<int64_t>* read, std::vector<int64_t>* write) const;

  // ---- Attributes. Null: not known. Valid until the next change.
  const idl::Attr* FindAttr(uint64_t inode);
  /// Without effect when there is no lease on it.
  void PutAttr(const idl::Attr& attr);
  void DropAttr(uint64_t inode);

  // ---- Names
  static constexpr uint64_t kAbsent = 0;
  std::optional<uint64_t> FindName(uint64_t directory, const std::string& name);
  /// All names of the directory are known here: a name that is not is absent. Until one is dropped.
  void SetComplete(uint64_t directory);
  /// Without effect when there is no lease on the directory.
  void PutName(uint64_t directory, const std::string& name, uint64_t inode);
  /// Whether it was known.
  bool DropName(uint64_t directory, const std::string& name);
  bool HasNames(uint64_t directory) const;

  // ---- Pages: whether those that the kernel has of the file are from under this lease
  bool pages(uint64_t inode) const;
  void SetPages(uint64_t inode);

  size_t leases() const { return nodes_.size(); }
  size_t names() const { return names_; }

 private:
  struct Node {
    uint64_t inode = 0;
    bool write = false;
    bool pages = false;
    bool complete = false;  // of a directory: `names` has all that are there
    std::unique_ptr<idl::Attr> attr;
    std::unordered_map<std::string, uint64_t> names;
  };
  using Nodes = std::list<Node>;  // the last used first

  Node* Find(uint64_t inode);
  const Node* Find(uint64_t inode) const;
  void MakeRoom();

  const size_t max_leases_;
  const size_t max_names_;
  Nodes used_;
  std::unordered_map<uint64_t, Nodes::iterator> nodes_;
  size_t names_ = 0;
  std::vector<uint64_t> evicted_;
};

}  // namespace dfs::fuse
