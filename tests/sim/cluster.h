// A simulated cluster: machines with the real namenodes, datanodes and clients on them, and what they did.
// Everything is confined to the simulation's one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/fault_env.h"
#include "common/base/random.h"
#include "namenode/service/namenode.h"
#include "tests/sim/network.h"
#include "tests/sim/raft_invariants.h"
#include "tests/sim/scheduler.h"

namespace dfs::dn {
class Datanode;
}
namespace dfs::client {
class ClientCore;
}

namespace dfs::sim {

/// What the run went through; printed, and proof that the faults bite.
struct SimStats {
  uint64_t events = 0;
  uint64_t elections = 0;
  uint64_t terms_led = 0;
  uint64_t log_truncations = 0;
  uint64_t suffix_truncations = 0;
  uint64_t snapshot_installs = 0;
  uint64_t chain_failures = 0;
  uint64_t chain_repairs = 0;
  uint64_t block_recoveries = 0;
  uint64_t session_expiries = 0;
  uint64_t crashes = 0;
  uint64_t sync_crashes = 0;
  uint64_t partitions = 0;
  uint64_t pauses = 0;
  uint64_t client_deaths = 0;
  uint64_t ops_ok = 0;
  uint64_t ops_failed = 0;
  uint64_t ops_unknown = 0;
  uint64_t syncs_ok = 0;
  uint64_t reads_checked = 0;
  uint64_t torn_pages = 0;
  uint64_t histories_too_hard = 0;
  uint64_t locks_granted = 0;

  void Add(const SimStats& other);
  std::string ToString() const;
};

/// How a machine goes down: what becomes of what was not synced.
enum class FallMode { kKillProcess, kPowerDropAll, kPowerTear };

class Cluster;

/// A machine with one process. Falls and starts any number of times.
class Host {
 public:
  Host(Cluster& cluster, const std::string& name, const rpc::PeerIdentity& identity);
  virtual ~Host() = default;

  const std::string& name() const { return node_.name(); }
  SimNode& node() { return node_; }
  FaultEnv& env() { return env_; }
  rpc::Network& network() { return network_; }
  bool up() const { return up_; }

  /// Starts machine and process; a process that cannot start fails the run.
  void Start();
  /// May be called from the process's own code (at a sync). silent: peers learn of it only after a while.
  void Fall(FallMode mode, bool silent);
  /// The machine falls at its n-th sync from now.
  void ArmSyncCrash(uint64_t n, FallMode mode, bool silent, std::function<void()> fell);
  /// Falls so far that lost memory that was not synced, or that a process had.
  uint64_t falls() const { return falls_; }

 protected:
  virtual Status StartProcess() = 0;
  virtual void DestroyProcess() = 0;
  /// Adds what the process counted, before it goes.
  virtual void Harvest() {}

  Cluster& cluster_;
  SimNode& node_;
  FaultEnv env_;
  rpc::Network& network_;

 private:
  bool up_ = false;
  uint64_t falls_ = 0;
};

class NamenodeHost final : public Host {
 public:
  NamenodeHost(Cluster& cluster, uint64_t number);
  nn::Namenode* namenode() { return namenode_.get(); }
  Status Format();

 private:
  Status StartProcess() override;
  void DestroyProcess() override;
  void Harvest() override;

  const uint64_t number_;
  nn::NamenodeOptions options_;
  std::unique_ptr<nn::Namenode> namenode_;
};

class DatanodeHost final : public Host {
 public:
  DatanodeHost(Cluster& cluster, uint64_t number);
  ~DatanodeHost() override;
  dn::Datanode* datanode() { return datanode_.get(); }
  /// A disk fails or is full for some time; a failed one is mended by a power cycle, with which ends what
  /// the kernel still had of writes that failed.
  void FailDisk(FaultEnv::Fault fault, int64_t for_ns);
  void FillDisk(int64_t for_ns);
  bool disk_ever_failed() const { return disk_ever_failed_; }

 private:
  Status StartProcess() override;
  void DestroyProcess() override;
  void Harvest() override;

  void PowerCycle();

  const uint64_t number_;
  bool disk_failed_ = false;
  bool disk_ever_failed_ = false;
  std::unique_ptr<dn::Datanode> datanode_;
};

/// A client's machine. The process that uses the core is told through on_start and on_fall.
class ClientHost final : public Host {
 public:
  ClientHost(Cluster& cluster, uint64_t number);
  ~ClientHost() override;
  const std::shared_ptr<client::ClientCore>& core() const { return core_; }
  /// The process ends by itself and is started again soon.
  void Exit();
  std::function<void()> on_start;
  std::function<void()> on_fall;

 private:
  Status StartProcess() override;
  void DestroyProcess() override;
  void Harvest() override;

  const uint64_t number_;
  std::shared_ptr<client::ClientCore> core_;
};

struct ClusterOptions {
  size_t namenodes = 3;
  size_t datanodes = 4;
  size_t clients = 3;
  uint64_t block_size = 64u << 10;
  uint32_t inline_limit = 1024;
  bool read_index = false;  // else leader leases
  int64_t election_max_ns =
      1200 * kMillisecond;  // also how long a leader that nobody hears goes on
  size_t max_append_bytes = 1u << 20;
  int64_t session_expiry_ns = 6 * kSecond;
  int64_t client_timeout_ns = 12 * kSecond;
};

class Cluster {
 public:
  Cluster(uint64_t seed, ClusterOptions options);
  ~Cluster();

  SimScheduler& scheduler() { return scheduler_; }
  SimNet& net() { return net_; }
  /// For decisions of the world; the scheduler has its own.
  Random& random() { return random_; }
  SimStats& stats() { return stats_; }
  const ClusterOptions& options() const { return options_; }
  std::vector<std::unique_ptr<NamenodeHost>>& namenodes() { return namenodes_; }
  std::vector<std::unique_ptr<DatanodeHost>>& datanodes() { return datanodes_; }
  std::vector<std::unique_ptr<ClientHost>>& clients() { return clients_; }
  std::vector<Host*> AllHosts();

  /// Formats and starts everything.
  void Start();
  /// The leader that has applied its term's first entry, if there is one among those that are up.
  nn::Namenode* Leader();
  /// How often a datanode lost memory: what was flushed but not synced may be gone since.
  uint64_t loss_epoch() const { return loss_epoch_; }
  void NoteMemoryLoss() { ++loss_epoch_; }

  /// The first failure ends the run.
  void Fail(const std::string& why);
  const std::string& failure() const { return failure_; }
  bool failed() const { return !failure_.empty(); }
  RaftInvariants& invariants() { return invariants_; }
  /// Called after every step of a namenode, outside of it.
  std::function<void()> on_namenode_step;
  const std::string& cluster_id() const { return cluster_id_; }
  const std::string& cluster_key() const { return cluster_key_; }
  void SetVerbose(bool verbose) { verbose_ = verbose; }
  void Trace(const std::string& what);

 private:
  friend class NamenodeHost;
  void AfterStep(SimNode& node);

  const ClusterOptions options_;
  Random random_;
  SimStats stats_;
  std::string failure_;
  uint64_t loss_epoch_ = 0;
  bool verbose_ = false;
  const std::string cluster_id_ = "5a1f7e2c-0000-4000-8000-000000000001";
  const std::string cluster_key_ = std::string(32, 'k');
  SimScheduler scheduler_;
  SimNet net_;
  RaftInvariants invariants_;
  std::vector<std::unique_ptr<NamenodeHost>> namenodes_;
  std::vector<std::unique_ptr<DatanodeHost>> datanodes_;
  std::vector<std::unique_ptr<ClientHost>> clients_;
};

}  // namespace dfs::sim
