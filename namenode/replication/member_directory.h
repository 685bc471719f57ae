// MemberDirectory: one namenode's directory - who it belongs to, and that nobody else uses it.
//
//   DIR/LOCK          held while the process lives
//   DIR/VERSION       format version, cluster id, node id, storage id; checksummed
//   DIR/peers         the storage id each other member had when it was first met
//   DIR/raft/         the log (log_storage.h)
//   DIR/state/        the state store (namenode/state)
//   DIR/snapshot.*    a snapshot that is being received or sent; removed at start
//
// A storage id is drawn when the directory is formatted. Members remember each other's and refuse
// another one under the same node id: a wiped member has forgotten votes and acknowledgements, and
// must come back under a new id.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/base/env.h"
#include "common/base/ids.h"
#include "common/base/random.h"

namespace dfs::nn {

/// Confined to one executor.
class MemberDirectory {
 public:
  /// Makes a new, empty member. kAlreadyExists when the directory holds anything.
  static Status Format(Env& env, const std::string& path, const std::string& cluster_id, NodeId id,
                       Random& random);
  /// Locks and checks. kNotFound when not formatted; kBusy when another process has it;
  /// kWrongCluster; kInvalidArgument when it belongs to another node id; kCorrupt.
  static Result<std::unique_ptr<MemberDirectory>> Open(Env& env, const std::string& path,
                                                       const std::string& cluster_id, NodeId id);

  const std::string& path() const { return path_; }
  std::string log_path() const { return path_ + "/raft"; }
  std::string state_path() const { return path_ + "/state"; }
  std::string export_path() const { return path_ + "/export"; }
  std::string receive_path() const { return path_ + "/snapshot.receive"; }
  std::string send_path(NodeId to) const;
  const std::string& cluster_id() const { return cluster_id_; }
  NodeId node_id() const { return node_id_; }
  uint64_t storage_id() const { return storage_id_; }

  /// Records the peer's storage id durably when it is new. kConflict when another one is on record.
  Status CheckPeer(NodeId peer, uint64_t storage_id);
  /// 0 when it was never met.
  uint64_t PeerStorageId(NodeId peer) const;

 private:
  MemberDirectory(Env& env, std::string path) : env_(env), path_(std::move(path)) {}
  Status LoadPeers();

  Env& env_;
  const std::string path_;
  std::string cluster_id_;
  NodeId node_id_;
  uint64_t storage_id_ = 0;
  std::map<NodeId, uint64_t> peers_;
  std::unique_ptr<FileLock> lock_;
};

}  // namespace dfs::nn
