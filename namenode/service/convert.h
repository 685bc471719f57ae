// Between the wire's structs and ours.
#pragma once

#include <memory>

#include "common/auth/credentials.h"
#include "common/base/status.h"
#include "common/idl/idl_fwd.h"
#include "common/rpc/transport.h"
#include "namenode/blocks/block_health.h"
#include "namenode/blocks/datanode_registry.h"
#include "namenode/state/records.h"

namespace dfs::idl {
class Usage;
}
namespace dfs::rpc {
class RpcPeer;
}

namespace dfs::nn {

/// What the handlers need to know of a peer; a copy that outlives the request's call.
struct PeerInfo {
  rpc::Role role = rpc::Role::kClient;
  uint64_t node_id = 0;
  bool trusted = false;
  bool is_unix = false;
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::string address;  // for logs
  std::weak_ptr<rpc::RpcPeer> connection;  // for what the leader asks of a session
  static PeerInfo Of(const rpc::PeerIdentity& peer);
};

/// On whose behalf: the caller's word from a trusted peer, else the kernel's about the peer.
Result<Credentials> CredentialsOf(const PeerInfo& peer, const idl::Caller& caller);
/// For requests without a Caller.
Credentials OwnCredentials(const PeerInfo& peer);

void ToIdl(const InodeAttr& attr, idl::Attr* out);
void ToIdl(const Usage& usage, idl::Usage* out);
void ToIdl(const Datanode& node, idl::ReplicaLocation* out);
ReportedReplica FromIdl(DatanodeId datanode, const idl::ReplicaReport& report);
std::vector<DatanodeVolume> FromIdl(const std::vector<idl::VolumeReport>& volumes);

/// As wire integers are signed.
inline int64_t Signed(uint64_t v) {
  return static_cast<int64_t>(v);
}
inline uint64_t Unsigned(int64_t v) {
  return static_cast<uint64_t>(v);
}

}  // namespace dfs::nn
