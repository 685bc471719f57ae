// SnapshotReceiver: takes a leader's snapshot into a temporary directory, file by file, checks and syncs it.
// At most one at a time; a new one replaces it. Confined to the replica's executor.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/env.h"
#include "common/rpc/peer.h"
#include "namenode/replication/snapshot_format.h"

namespace dfs::nn {

class SnapshotReceiver {
 public:
  SnapshotReceiver(Env& env, std::string directory) : env_(env), directory_(std::move(directory)) {}

  struct Complete {
    NodeId from;
    Term term = 0;
    raft::SnapshotMeta meta;
  };
  /// An error ends the transfer. The value says that the snapshot is complete, verified and on disk in
  /// directory(); the caller installs it or calls Discard().
  Result<std::optional<Complete>> Handle(NodeId from, const SnapshotRequest& request);

  const std::string& directory() const { return directory_; }
  /// Forgets the transfer and removes the directory.
  void Discard();
  bool active() const { return active_; }

 private:
  struct FileState {
    SnapshotFile file;
    uint64_t written = 0;
    uint64_t hash = 0;
  };
  Status Begin(NodeId from, const SnapshotRequest& request);
  Status Chunk(const SnapshotRequest& request);
  Status Finish(const SnapshotRequest& request);
  Status CloseFile();
  Status OpenNext(uint32_t index);

  Env& env_;
  const std::string directory_;
  bool active_ = false;
  NodeId from_;
  uint64_t transfer_ = 0;
  Term term_ = 0;
  raft::SnapshotMeta meta_;
  std::vector<FileState> files_;
  uint32_t open_index_ = 0;
  std::unique_ptr<File> open_;
};

}  // namespace dfs::nn
