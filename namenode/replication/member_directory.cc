#include "namenode/replication/member_directory.h"

#include <fmt/format.h>

#include "common/base/checksum.h"
#include "common/base/codec.h"
#include "namenode/replication/log_storage.h"

namespace dfs::nn {

namespace {

constexpr std::string_view kVersionMagic = "DFSNAMEN";
constexpr std::string_view kPeersMagic = "DFSPEERS";
constexpr uint32_t kFormatVersion = 1;

struct Identity {
  std::string cluster_id;
  NodeId node_id;
  uint64_t storage_id = 0;
};

/// Magic, format version, cluster id, owner, fields of the file, checksum of all of it.
std::string Seal(std::string_view magic, const Identity& who, std::string_view body) {
  std::string out(magic);
  Encoder e(&out);
  e.U32(kFormatVersion);
  e.Bytes(who.cluster_id);
  e.Id(who.node_id);
  e.U64(who.storage_id);
  e.Bytes(body);
  e.U64(Hash64(out));
  return out;
}

Status Unseal(std::string_view magic, std::string_view file, const std::string& path, Identity* who,
              std::string* body) {
  if (file.size() < magic.size() + 8 || file.substr(0, magic.size()) != magic) {
    return Status(Code::kCorrupt, path + " is not a namenode's");
  }
  uint64_t sum;
  std::memcpy(&sum, file.data() + file.size() - 8, 8);
  if (sum != Hash64(file.substr(0, file.size() - 8))) {
    return Status(Code::kCorrupt, path + " has a wrong checksum");
  }
  Decoder d(file.substr(magic.size(), file.size() - 8 - magic.size()));
  if (uint32_t version = d.U32(); version != kFormatVersion) {
    return Status(Code::kVersionMismatch,
                  fmt::format("{} is of format version {}; this build knows {}", path, version,
                              kFormatVersion));
  }
  who->cluster_id = std::string(d.Bytes());
  who->node_id = d.Id<NodeId>();
  who->storage_id = d.U64();
  *body = std::string(d.Bytes());
  if (!d.done()) return Status(Code::kCorrupt, path + " is malformed");
  return Status();
}

}  // namespace

Status MemberDirectory::Format(Env& env, const std::string& path, const std::string& cluster_id,
                               NodeId id, Random& random) {
  if (!id.valid()) return Status(Code::kInvalidArgument, "node.id must be 1 or more");
  DFS_RETURN_IF_ERROR(env.CreateDirs(path));
  DFS_ASSIGN_OR_RETURN(std::vector<std::string> names, env.List(path));
  if (!names.empty()) {
    return Status(Code::kAlreadyExists, path + " is not empty: it is left as it is");
  }
  Identity who{cluster_id, id, random.Next() | 1};
  DFS_RETURN_IF_ERROR(LogStorage::Create(env, path + "/raft", {cluster_id, id, who.storage_id}));
  DFS_RETURN_IF_ERROR(env.SyncDir(path));
  // VERSION last: a directory has it only when everything else is there.
  DFS_RETURN_IF_ERROR(env.WriteFileAtomically(path + "/VERSION", Seal(kVersionMagic, who, "")));
  size_t slash = path.find_last_of('/');
  if (slash != std::string::npos && slash > 0) return env.SyncDir(path.substr(0, slash));
  return Status();
}

Result<std::unique_ptr<MemberDirectory>> MemberDirectory::Open(Env& env, const std::string& path,
                                                               const std::string& cluster_id,
                                                               NodeId id) {
  if (!env.Exists(path)) {
    return Status(Code::kNotFound, path + " does not exist; make a new member with --format");
  }
  auto lock = env.Lock(path + "/LOCK");
  if (!lock) return lock.error().WithContext(path);
  if (!env.Exists(path + "/VERSION")) {
    return Status(Code::kNotFound,
                  path + " is not a formatted namenode directory; make a new member with --format");
  }
  DFS_ASSIGN_OR_RETURN(std::string file, env.ReadFile(path + "/VERSION", 64u << 10));
  Identity who;
  std::string body;
  DFS_RETURN_IF_ERROR(Unseal(kVersionMagic, file, path + "/VERSION", &who, &body));
  if (who.cluster_id != cluster_id) {
    return Status(Code::kWrongCluster, fmt::format("{} belongs to cluster {}, not {}", path,
                                                   who.cluster_id, cluster_id));
  }
  if (who.node_id != id) {
    return Status(Code::kInvalidArgument, fmt::format("{} belongs to namenode {}, not {}", path,
                                                      who.node_id.value, id.value));
  }
  auto directory = std::unique_ptr<MemberDirectory>(new MemberDirectory(env, path));
  directory->lock_ = std::move(*lock);
  directory->cluster_id_ = who.cluster_id;
  directory->node_id_ = who.node_id;
  directory->storage_id_ = who.storage_id;
  DFS_RETURN_IF_ERROR(directory->LoadPeers());
  // Snapshots that were on their way when the process ended.
  DFS_ASSIGN_OR_RETURN(std::vector<std::string> names, env.List(path));
  for (const std::string& name : names) {
    if (name.starts_with("snapshot.")) DFS_RETURN_IF_ERROR(env.RemoveTree(path + "/" + name));
  }
  return directory;
}

std::string MemberDirectory::send_path(NodeId to) const {
  return path_ + fmt::format("/snapshot.send.{}", to.value);
}

Status MemberDirectory::LoadPeers() {
  std::string path = path_ + "/peers";
  if (!env_.Exists(path)) return Status();
  DFS_ASSIGN_OR_RETURN(std::string file, env_.ReadFile(path, 64u << 10));
  Identity who;
  std::string body;
  DFS_RETURN_IF_ERROR(Unseal(kPeersMagic, file, path, &who, &body));
  if (who.cluster_id != cluster_id_ || who.storage_id != storage_id_) {
    return Status(Code::kCorrupt, path + " belongs to another member");
  }
  Decoder d(body);
  size_t n = d.Count(16);
  for (size_t i = 0; i < n && d.ok(); ++i) {
    NodeId id = d.Id<NodeId>();
    peers_[id] = d.U64();
  }
  return d.done() ? Status() : Status(Code::kCorrupt, path + " is malformed");
}

uint64_t MemberDirectory::PeerStorageId(NodeId peer) const {
  auto it = peers_.find(peer);
  return it == peers_.end() ? 0 : it->second;
}

Status MemberDirectory::CheckPeer(NodeId peer, uint64_t storage_id) {
  uint64_t known = PeerStorageId(peer);
  if (known == storage_id) return Status();
  if (known != 0) {
    return Status(
        Code::kConflict,
        fmt::format("namenode {} came back with another storage ({:016x}, known as {:016x}): its "
                    "directory was wiped or replaced; it must join under a new node id",
                    peer.value, storage_id, known));
  }
  std::map<NodeId, uint64_t> peers = peers_;
  peers[peer] = storage_id;
  std::string body;
  Encoder e(&body);
  e.Varint(peers.size());
  for (const auto& [id, storage] : peers) {
    e.Id(id);
    e.U64(storage);
  }
  DFS_RETURN_IF_ERROR(env_.WriteFileAtomically(
      path_ + "/peers", Seal(kPeersMagic, {cluster_id_, node_id_, storage_id_}, body)));
  peers_ = std::move(peers);
  return Status();
}

}  // namespace dfs::nn
