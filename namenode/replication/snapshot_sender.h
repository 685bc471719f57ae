// SnapshotSender: makes a checkpoint and streams it to one follower. Confined to the replica's executor.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/env.h"
#include "common/base/executor.h"
#include "namenode/replication/applier.h"
#include "namenode/replication/peer_links.h"
#include "namenode/replication/snapshot_format.h"

namespace dfs::nn {

class SnapshotSender {
 public:
  struct Options {
    size_t chunk_bytes = 512u << 10;
    int64_t timeout_ns = 10 * kSecond;
  };
  /// The snapshot's index (0 when there was none yet) and how it ended. Called once, from the executor, not
  /// within Start().
  using Done = std::function<void(LogIndex index, const Status& status)>;

  SnapshotSender(Env& env, Applier& applier, PeerLinks& links, Executor& executor, Options options,
                 std::string directory, NodeId to, Term term, raft::Configuration configuration,
                 uint64_t transfer, Done done);
  /// Cancels; done is not called.
  ~SnapshotSender();
  void Start();

  NodeId to() const { return to_; }
  Term term() const { return term_; }
  /// The log behind it must be kept; 0 while it is not known.
  LogIndex index() const { return meta_.index; }

 private:
  void WaitForFlush();
  void MakeCheckpoint();
  Status OpenCheckpoint();
  void SendBegin();
  void SendNext();
  Status ReadChunk(SnapshotRequest* request, std::string* data);
  void Call(const SnapshotRequest& request);
  void OnReply(const Result<rpc::Reply>& reply);
  void Finish(const Status& status);

  Env& env_;
  Applier& applier_;
  PeerLinks& links_;
  Executor& executor_;
  const Options options_;
  const std::string directory_;
  const NodeId to_;
  const Term term_;
  const uint64_t transfer_;
  Done done_;
  raft::SnapshotMeta meta_;
  std::vector<SnapshotFile> files_;
  std::vector<uint64_t> hashes_;
  uint32_t file_index_ = 0;
  uint64_t offset_ = 0;
  std::unique_ptr<File> file_;
  bool finishing_ = false;
  LogIndex flush_wanted_ = 0;
  int flush_polls_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dfs::nn
