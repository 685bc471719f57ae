#include "namenode/service/convert.h"

#include "dfs_types.h"

namespace dfs::nn {

namespace {
constexpr uint32_t kNobody = 65534;
}

PeerInfo PeerInfo::Of(const rpc::PeerIdentity& peer) {
  PeerInfo info;
  info.role = peer.role;
  info.node_id = peer.node_id;
  info.trusted = peer.trusted;
  info.is_unix = peer.is_unix;
  info.uid = peer.uid;
  info.gid = peer.gid;
  info.address = peer.address;
  return info;
}

Credentials OwnCredentials(const PeerInfo& peer) {
  Credentials who;
  if (peer.is_unix) {
    who.uid = peer.uid;
    who.gid = peer.gid;
  } else if (!peer.trusted) {
    who.uid = who.gid = kNobody;
  }
  return who;
}

Result<Credentials> CredentialsOf(const PeerInfo& peer, const idl::Caller& caller) {
  if (!peer.trusted) return OwnCredentials(peer);
  if (caller.groups.size() > kMaxGroups) {
    return Status(Code::kInvalidArgument, "more than 1,024 groups");
  }
  Credentials who;
  who.uid = static_cast<uint32_t>(caller.uid);
  who.gid = static_cast<uint32_t>(caller.gid);
  who.groups.reserve(caller.groups.size());
  for (int32_t group : caller.groups) who.groups.push_back(static_cast<uint32_t>(group));
  return who;
}

void ToIdl(const InodeAttr& a, idl::Attr* out) {
  out->inode = Signed(a.id.value);
  out->type = static_cast<idl::FileType::type>(a.type);
  out->mode = static_cast<int32_t>(a.mode);
  out->uid = static_cast<int32_t>(a.uid);
  out->gid = static_cast<int32_t>(a.gid);
  out->nlink = static_cast<int32_t>(a.nlink);
  out->size = Signed(a.size);
  out->allocated_bytes = Signed(a.allocated_bytes);
  out->atime_ns = a.atime_ns;
  out->mtime_ns = a.mtime_ns;
  out->ctime_ns = a.ctime_ns;
  out->rdev = Signed(a.rdev);
  out->block_size = Signed(a.block_size);
  out->replication = static_cast<int32_t>(a.replication);
  out->parent = Signed(a.parent.value);
  out->data_version = Signed(a.data_version);
  out->entries = Signed(a.entries);
}

void ToIdl(const Usage& u, idl::Usage* out) {
  out->files = u.files;
  out->directories = u.directories;
  out->bytes = u.bytes;
}

void ToIdl(const Datanode& node, idl::ReplicaLocation* out) {
  out->datanode = Signed(node.id.value);
  out->tcp_address = node.tcp_address;
  out->unix_address = node.unix_address;
  out->host_id = node.host_id;
  out->rack = node.rack;
}

ReportedReplica FromIdl(DatanodeId datanode, const idl::ReplicaReport& r) {
  ReportedReplica out;
  out.datanode = datanode;
  out.block = BlockId(Unsigned(r.block));
  out.stamp = Stamp(Unsigned(r.stamp));
  out.length = Unsigned(r.length);
  // What is no state becomes none, and the report's taker drops it.
  out.state = r.state >= 1 && r.state <= 5 ? static_cast<ReplicaState>(r.state) : ReplicaState();
  return out;
}

std::vector<DatanodeVolume> FromIdl(const std::vector<idl::VolumeReport>& volumes) {
  std::vector<DatanodeVolume> out;
  for (const idl::VolumeReport& v : volumes) {
    if (out.size() == 1024) break;
    DatanodeVolume volume;
    volume.storage_id = Unsigned(v.storage_id);
    volume.capacity_bytes = v.capacity_bytes > 0 ? Unsigned(v.capacity_bytes) : 0;
    volume.available_bytes = v.available_bytes > 0 ? Unsigned(v.available_bytes) : 0;
    volume.used_bytes = v.used_bytes > 0 ? Unsigned(v.used_bytes) : 0;
    volume.failed = v.failed;
    out.push_back(volume);
  }
  return out;
}

}  // namespace dfs::nn
