// Namenode: one member of the namenodes' group, wired together - Raft replica, replicated state, soft state
// of blocks and sessions, and the handlers of ClientService and DatanodeService. The daemon (main.cc) and the
// simulator make the same object.
//
// Confined to the executor of its network; no thread of its own, no global state. After the destructor no
// callback runs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/base/env.h"
#include "common/base/status.h"
#include "common/rpc/transport.h"
#include "namenode/replication/replica.h"
#include "namenode/sessions/lease_options.h"

namespace dfs::nn {

struct AuditEvent;
class BlockManager;
class LeaseManager;
class Service;
class SessionManager;
class StateMachine;
class StateReader;
class StateStore;

struct NamespaceOptions {
  uint32_t default_replication = 3;
  uint64_t default_block_size = 128u << 20;
  uint32_t inline_limit = 16u << 10;
};

struct BlockOptions {
  int64_t stale_after_ns = 5 * kSecond;
  int64_t dead_after_ns = 60 * kSecond;
  int64_t deletion_delay_ns = 3600 * kSecond;
  int replication_streams_per_node = 2;
  uint64_t replication_bytes_per_second_per_node = 0;  // 0: as fast as it goes
  /// How long block recovery waits for a silent member while another has answered.
  int64_t recovery_patience_ns = 5 * kSecond;
};

struct NamenodeOptions {
  NodeId id;
  std::string cluster_id;
  std::string directory;
  std::string cluster_key;  // 32 bytes, "" when there is none
  bool insecure = false;    // shown in status
  std::string version = "0.1.0";
  rpc::Address listen_client;
  std::optional<rpc::Address> listen_client_unix;
  ReplicaOptions replica;  // members, listen (Raft), timings
  NamespaceOptions name_space;
  BlockOptions blocks;
  int64_t session_expiry_ns = 30 * kSecond;
  /// What was removed into the trash goes for good after so long; 0: nothing is moved there.
  int64_t trash_keep_ns = 24 * 3600 * kSecond;
  LeaseOptions leases;
  /// Who owns the root of a new cluster.
  uint32_t root_uid = 0;
  uint32_t root_gid = 0;
  /// A request that comes while this member leads but has not applied its first entry waits so long.
  int64_t leadership_wait_ns = 3 * kSecond;
  /// What this member says it supports; 0: all that this version does. Less is for tests: as an older version would.
  uint32_t feature_level = 0;
};

/// What the outside gives it. All must outlive the namenode.
struct NamenodeWorld {
  rpc::Network* network = nullptr;
  Env* env = nullptr;
  uint64_t seed = 0;
  /// Opens the state store in a directory: OpenRocksStore or OpenMemStore.
  std::function<Result<std::unique_ptr<StateStore>>(const std::string& directory)> open_store;
  Replica::LogWriterFactory log_writer;
  /// Where changes and refused accesses are told (audit_event.h); null: nowhere.
  std::function<void(AuditEvent)> audit;
  /// The member must stop (see Replica::FatalHandler). Not called from within a call to the namenode.
  std::function<void(Status)> on_fatal;
};

class Namenode {
 public:
  Namenode(NamenodeOptions options, NamenodeWorld world);
  ~Namenode();
  Namenode(const Namenode&) = delete;
  Namenode& operator=(const Namenode&) = delete;

  /// Makes the directory of a new, empty member. kAlreadyExists when it holds anything.
  static Status Format(const NamenodeOptions& options, Env& env, uint64_t seed);

  /// Opens the directory, recovers, listens. kNotFound (not formatted), kBusy (directory or port in use),
  /// kWrongCluster, kCorrupt, ...; the message says what and where.
  Status Start();
  /// Stops serving and closes everything. Idempotent; the destructor calls it.
  void Stop();

  // After Start().
  const rpc::Address& client_address() const;
  std::string client_unix_address() const;  // "" when there is none
  const rpc::Address& raft_address() const;
  Replica& replica();
  StateReader& state();
  StateMachine& state_machine();
  BlockManager& blocks();
  SessionManager& sessions();
  LeaseManager& leases();
  const Service& service() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace dfs::nn
