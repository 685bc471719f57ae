#include "tests/sim/simulation.h"

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>

#include "common/base/check.h"
#include "common/base/logging.h"
#include "datanode/control/datanode.h"
#include "datanode/store/block_store.h"
#include "namenode/blocks/block_manager.h"
#include "namenode/sessions/session_manager.h"
#include "namenode/state/reader.h"
#include "namenode/state/state_machine.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/workload.h"

namespace dfs::sim {

namespace {

struct CheckFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void ThrowCheckFailure(const char* file, int line, const std::string& message) {
  throw CheckFailure(fmt::format("{}:{}: {}", file, line, message));
}

ClusterOptions OptionsOf(uint64_t seed, const std::string& focus) {
  Random random(seed ^ 0x5eed);
  ClusterOptions options;
  options.datanodes = 3 + random.Uniform(2);
  options.clients = 2 + random.Uniform(2);
  options.block_size = random.OneIn(2) ? 64u << 10 : 32u << 10;
  options.read_index = random.OneIn(4);
  // A leader that is cut off leads for longer: what it must not do it has more time to do wrong.
  if (random.OneIn(5) || focus == "isolate_leader") options.election_max_ns = 3 * kSecond;
  // One entry in a message, so that an old one can go without the new leader's first.
  if (random.OneIn(5) || focus == "old_term_entry") options.max_append_bytes = 1;
  if (focus == "isolate_leader") options.read_index = false;
  // One more than a block has replicas, or no datanode ever gets rid of its blocks.
  if (focus == "take_out") options.datanodes = 4 + random.Uniform(2);
  return options;
}

NemesisOptions NemesisOf(uint64_t seed, const std::string& focus) {
  Random random(seed ^ 0xbad);
  NemesisOptions options;
  // Each seed has its own character: some kinds of fault are absent, others frequent.
  for (uint64_t* weight :
       {&options.crash_one, &options.crash_group, &options.crash_at_sync, &options.partition,
        &options.one_way, &options.isolate_leader, &options.pause, &options.break_connections,
        &options.client_death, &options.message_faults, &options.cut_chain, &options.forgotten_vote,
        &options.lost_ack, &options.disk_fault, &options.old_term_entry}) {
    if (random.OneIn(4)) *weight = 0;
    if (random.OneIn(4)) *weight *= 3;
  }
  options.message_faults += 1;  // the sum is never 0
  options.long_silence = random.OneIn(6);
  if (!focus.empty()) DFS_CHECK(options.Focus(focus), "no such fault: {}", focus);
  if (options.take_out > 0) options.take_out = 40;  // others are to go on beside it
  options.mean_interval_ns = random.Between(500, 1500) * kMillisecond;
  return options;
}

class Run {
 public:
  Run(uint64_t seed, const SimulationOptions& options)
      : options_(options),
        cluster_(seed, OptionsOf(seed, options.focus)),
        workload_(cluster_),
        nemesis_(cluster_, NemesisOf(seed, options.focus)) {
    cluster_.SetVerbose(options.verbose);
  }

  void Go() {
    cluster_.Start();
    workload_.Start();
    // Most seeds begin with a quiet moment, so that there is something to break.
    RunFor(2 * kSecond);
    nemesis_.Start();
    RunFor(options_.chaos_ns);
    cluster_.Trace("--- mended ---");
    nemesis_.Stop();
    workload_.Drain();
    Await("the clients' operations to end", [&] { return workload_.BusyFibers(); });
    Await("the cluster to be whole", [&] { return Unsettled(); });
    if (cluster_.failed()) return;
    workload_.Verify();
    Await("the verification", [&] { return workload_.Verified() ? "" : "unfinished"; });
    if (!cluster_.failed()) CompareStates();
    if (!cluster_.failed()) workload_.CheckHistories();
  }

  SimulationResult Result(uint64_t seed) {
    const SimStats before = cluster_.stats();
    for (Host* host : cluster_.AllHosts()) host->Fall(FallMode::kKillProcess, false);
    cluster_.scheduler().RunFor(0);  // their processes are destroyed
    SimulationResult result;
    result.seed = seed;
    result.failure = cluster_.failure();
    result.stats = cluster_.stats();
    result.stats.crashes = before.crashes;
    result.stats.events = cluster_.scheduler().events();
    return result;
  }

  Cluster& cluster() { return cluster_; }

 private:
  void RunFor(int64_t ns) {
    const int64_t until = cluster_.scheduler().now_ns() + ns;
    while (!cluster_.failed() && cluster_.scheduler().now_ns() < until) {
      cluster_.scheduler().RunFor(
          std::min<int64_t>(100 * kMillisecond, until - cluster_.scheduler().now_ns()));
      CheckForRot();
    }
  }

  // A crash tears bytes, and never makes a replica corrupt (docs/blocks.md); only a disk does.
  void CheckForRot() {
    for (auto& host : cluster_.datanodes()) {
      if (!host->up() || host->datanode() == nullptr || host->disk_ever_failed()) continue;
      for (const dn::ReplicaInfo& info : host->datanode()->store().List()) {
        if (!info.corrupt) continue;
        cluster_.Fail(
            fmt::format("{} takes its replica of block {} for corrupt, and its disk is well",
                        host->name(), info.block.value));
      }
    }
  }

  // what says "" when it has come, else what is missing.
  template <class F>
  void Await(const char* name, F what) {
    const int64_t limit = cluster_.scheduler().now_ns() + options_.heal_limit_ns;
    std::string missing;
    while (!cluster_.failed()) {
      missing = what();
      if (missing.empty()) return;
      if (cluster_.scheduler().now_ns() >= limit) {
        cluster_.Fail(fmt::format("liveness: waited {} s for {}: {}",
                                  options_.heal_limit_ns / kSecond, name, missing));
        return;
      }
      RunFor(200 * kMillisecond);
    }
  }

  std::string Unsettled() {
    nn::Namenode* leader = cluster_.Leader();
    if (leader == nullptr) return "no leader";
    for (auto& host : cluster_.namenodes()) {
      if (!host->up()) return host->name() + " is down";
      const nn::Replica& replica = host->namenode()->replica();
      if (replica.applied_index() != leader->replica().last_log_index()) {
        return fmt::format("{} has applied {} of {}", host->name(), replica.applied_index(),
                           leader->replica().last_log_index());
      }
    }
    for (auto& host : cluster_.clients()) {
      if (!host->up()) return host->name() + " is down";
    }
    return UnsettledBlocks(*leader);
  }

  // Every block that is not as it should be, with its replicas as the leader sees them.
  static std::string UnsettledBlocks(nn::Namenode& leader) {
    std::string out;
    const Status status =
        leader.state().ForEachBlock({}, [&](BlockId id, const nn::BlockRecord& record) {
          out += UnsettledBlock(leader, id, record);
          return true;
        });
    return status.ok() ? out : out + status.ToString();
  }

  // A block that nobody can bring back is not waited for; whether it may be lost is for the verification to say. One that
  // is open is waited for: its writer is gone, recovery closes it.
  static std::string UnsettledBlock(nn::Namenode& leader, BlockId id,
                                    const nn::BlockRecord& record) {
    std::vector<nn::BlockReplica> replicas;
    leader.blocks().map().Get(id, &replicas);
    size_t good = 0;
    bool of_member = false,
         current = false;  // what an earlier stamp or a former member left is no replica
    std::string line;
    for (const nn::BlockReplica& r : replicas) {
      const DatanodeId node = leader.blocks().registry().At(r.node)->id;
      of_member |=
          std::find(record.members.begin(), record.members.end(), node) != record.members.end();
      current |= r.stamp == record.stamp;
      const bool fine =
          r.stamp == record.stamp && r.state == nn::ReplicaState::kFinalized && !r.corrupt;
      good += fine ? 1 : 0;
      line += fmt::format(" [{:x} state {} stamp {}{}]", node.value, static_cast<int>(r.state),
                          r.stamp.value, r.corrupt ? " corrupt" : "");
    }
    if (record.state == nn::BlockState::kClosed && (good >= record.replication || !current)) {
      return "";
    }
    if (record.state == nn::BlockState::kRecovering && !of_member) return "";
    return fmt::format("\n  block {} state {} stamp {} length {} wants {}:{}", id.value,
                       static_cast<int>(record.state), record.stamp.value, record.length,
                       record.replication, line);
  }

  void CompareStates() {
    nn::Namenode& first = *cluster_.namenodes()[0]->namenode();
    for (auto& host : cluster_.namenodes()) {
      nn::StateMachine& state = host->namenode()->state_machine();
      if (state.applied_index() != first.state_machine().applied_index()) continue;
      auto mine = nn::ContentHash(state.store());
      auto theirs = nn::ContentHash(first.state_machine().store());
      if (!mine || !theirs) {
        cluster_.Fail("content hash: " + (mine ? theirs : mine).status().ToString());
      } else if (*mine != *theirs || state.state_hash() != first.state_machine().state_hash()) {
        cluster_.Fail(fmt::format("in the end {} has another state than nn1", host->name()));
      }
    }
  }

  const SimulationOptions options_;
  Cluster cluster_;
  Workload workload_;
  Nemesis nemesis_;
};

}  // namespace

SimulationResult RunSeed(uint64_t seed, const SimulationOptions& options) {
  SetCheckFailureHandler(&ThrowCheckFailure);
  Run run(seed, options);
  try {
    run.Go();
  } catch (const CheckFailure& failure) {
    run.cluster().Fail(failure.what());
  }
  return run.Result(seed);
}

}  // namespace dfs::sim
