// FaultEnv: an Env in memory that knows what a power cut leaves behind, and fails on demand.
//
// The model, at least as harsh as the file systems we run on:
//  * Bytes, sizes and truncations are durable after File::Sync. An unsynced page (4 KiB) may come
//  back old,
//    new, or torn at 512-byte sectors; an unsynced size may come back old, new or between, with
//    zeros where nothing was written back.
//  * Names are durable after SyncDir of their directory: a file that was created and synced may be
//  gone, a
//    removed one may be back, a rename may be undone. One operation is atomic; operations on
//    different names may survive in any combination.
//  * After an injected sync error the data of that sync stays undurable even when a later sync
//  succeeds.
//  * Crash() invalidates every open file and lock: what they are asked next fails with kClosed.
//
// Thread-safe by one mutex. Copies only pages that are changed, and only once per sync.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/base/env.h"
#include "common/base/random.h"

namespace dfs {

class FaultEnv final : public Env {
 public:
  enum class Op {
    kOpen,
    kRead,
    kWrite,
    kTruncate,
    kAllocate,
    kSync,
    kSyncDir,
    kRename,
    kRemove,
    kList
  };

  enum class CrashMode {
    kDropUnsynced,  // exactly what was synced is left
    kKeepRandom,    // of what was not synced, a random part is left, some of it torn
  };

  /// One injected failure: after skip matching operations, count of them fail with error.
  struct Fault {
    Op op = Op::kRead;
    std::function<bool(const std::string& path)> matches = {};  // null: every path
    uint64_t skip = 0;
    uint64_t count = 1;
    Code error = Code::kIoError;
  };

  struct Counters {
    uint64_t reads = 0;
    uint64_t writes = 0;
    uint64_t bytes_written = 0;
    uint64_t syncs = 0;      // File::Sync that succeeded
    uint64_t dir_syncs = 0;  // SyncDir that succeeded
    uint64_t faults = 0;     // operations failed by injection, and ENOSPC
    uint64_t crashes = 0;
    uint64_t torn_pages = 0;
  };

  /// seed: of spontaneous write-back only (see SetWritebackChance).
  explicit FaultEnv(uint64_t seed = 1, uint64_t capacity_bytes = uint64_t{1} << 40);
  ~FaultEnv() override;

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  bool Exists(const std::string& path) override;
  Status Remove(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Link(const std::string& from, const std::string& to) override;
  Status CreateDir(const std::string& path) override;
  Status CreateDirs(const std::string& path) override;
  Status RemoveDir(const std::string& path) override;
  Status RemoveTree(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  Status SyncDir(const std::string& path) override;
  Result<uint64_t> FileSize(const std::string& path) override;
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  Result<SpaceInfo> Space(const std::string& path) override;

  /// The power goes off and on again. Also removes injected faults when asked.
  void Crash(Random& random, CrashMode mode);
  /// The process dies but the machine does not: handles and locks go, bytes and names stay.
  void KillProcess();

  /// While offline every operation fails with kClosed: between a crash and the restart, so that nothing that
  /// is still being torn down touches the disk.
  void SetOffline(bool offline);

  void AddFault(Fault fault);
  void ClearFaults();
  /// Writes and allocations beyond it fail with kNoSpace.
  void SetCapacity(uint64_t bytes);
  /// Turns one bit over, on the medium and in the cache. The file must be that long.
  Status FlipBit(const std::string& path, uint64_t offset, int bit);
  /// Called before every File::Sync and SyncDir, on the thread that syncs, with no lock held: it
  /// may call Crash, which makes that sync fail.
  void SetSyncHook(std::function<void(const std::string& path)> hook);
  /// A dirty page that is written to again is first written back with chance 1/n (0: never): an
  /// intermediate state reaches the disk, as the kernel's flusher does it.
  void SetWritebackChance(uint64_t n);
  Counters counters() const;
  /// Bytes not yet durable (dirty pages), for tests that want to crash when there is something to
  /// lose.
  uint64_t dirty_bytes() const;

 private:
  struct State;
  class FaultFile;
  class FaultLock;
  std::shared_ptr<State> state_;
};

}  // namespace dfs
