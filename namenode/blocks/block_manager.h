// BlockManager: the namenode's soft state of blocks and datanodes, and the leader's work on it -
// re-replication, deletion, block recovery. Every namenode takes reports, so that a new leader is warm;
// only the leader judges and commands, and every command carries its term.
//
// Confined to the namenode's executor. It decides by the pure functions of this folder and acts through two
// interfaces: DatanodeCommander (orders to datanodes) and BlockProposer (commands into the log).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/executor.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "namenode/blocks/block_health.h"
#include "namenode/blocks/block_map.h"
#include "namenode/blocks/block_recovery.h"
#include "namenode/blocks/datanode_registry.h"
#include "namenode/blocks/deletion.h"
#include "namenode/blocks/placement.h"
#include "namenode/blocks/rack_table.h"
#include "namenode/blocks/replication_queue.h"
#include "namenode/state/commands.h"
#include "namenode/state/reader.h"

namespace dfs::nn {

struct BlockManagerOptions {
  int64_t stale_after_ns = 5 * kSecond;
  int64_t dead_after_ns = 60 * kSecond;
  int64_t deletion_delay_ns = 3600 * kSecond;
  int replication_streams_per_node = 2;
  /// Of all copies at a node together, in and out; 0: as fast as they go.
  uint64_t replication_bytes_per_second_per_node = 0;
  int64_t tick_ns = 200 * kMillisecond;
  size_t scan_per_tick = 2000;  // records, and replicas of dead nodes
  size_t copies_considered_per_tick = 500;
  size_t max_deletions_per_order = 1000;
  size_t max_recoveries = 64;
  /// A copy's time-out: this and its bytes at 1 MiB/s, or twice what they take at the rate that it is given.
  int64_t copy_timeout_ns = 60 * kSecond;
  RecoveryOptions recovery;
};

/// Orders to datanodes over the connections they opened. done runs on the executor, once, never from
/// within the call; an order to a node without a connection fails with kUnavailable.
class DatanodeCommander {
 public:
  struct DeleteOrder {
    BlockId block;
    Stamp stamp;  // replicas of at most this one
  };
  struct CopyLimits {
    int64_t timeout_ns = 0;
    uint64_t bytes_per_second = 0;  // 0: as fast as it goes
  };
  using Done = UniqueFunction<void(Status)>;

  virtual ~DatanodeCommander() = default;
  /// Ok: the node refuses lower terms from now on, and every order that it took before is carried out.
  virtual void Fence(const Datanode& node, Term term, Done done) = 0;
  virtual void Copy(const Datanode& source, Term term, BlockId block, const BlockRecord& record,
                    const Datanode& target, const CopyLimits& limits, Done done) = 0;
  virtual void Delete(const Datanode& node, Term term, std::vector<DeleteOrder> orders,
                      Done done) = 0;
  virtual void InitRecovery(const Datanode& node, Term term, BlockId block,
                            std::vector<Stamp> accepted, Stamp recovery_stamp,
                            UniqueFunction<void(Result<RecoveryAnswer>)> done) = 0;
  /// source null: the node is the source.
  virtual void FinishRecovery(const Datanode& node, Term term, BlockId block, Stamp recovery_stamp,
                              uint64_t length, const Datanode* source,
                              UniqueFunction<void(Result<uint64_t>)> done) = 0;
};

/// Commands of the leader's own into the log. done gets the reply's payload, or why not; it runs on the
/// executor, never from within the call.
class BlockProposer {
 public:
  virtual ~BlockProposer() = default;
  virtual void Propose(CommandBody body, UniqueFunction<void(Result<std::string>)> done) = 0;
};

struct ExplainedBlock;
struct RunningRecovery;

struct BlockStats {
  size_t under_replicated = 0;  // closed blocks with too few live copies, missing and moving ones not counted
  size_t moving = 0;            // closed blocks with enough of them, of which some leave
  size_t missing = 0;           // closed blocks of some bytes without a live copy
  size_t corrupt_replicas = 0;
  size_t pending_replications = 0;
  size_t pending_deletions = 0;
  size_t open_blocks = 0;
  size_t recoveries_running = 0;
  bool safe_mode = false;
  bool alarm = false;  // the brake holds, or replicas of a lost namespace turned up
  std::string deletions_held_why;        // by the brake; "": they are not
  uint64_t repair_bytes_left = 0;        // of copies that are to be made
  uint64_t repair_bytes_per_second = 0;  // of those made in the last minute
  // Since the start of this process.
  uint64_t copies_done = 0;
  uint64_t copies_failed = 0;
  uint64_t replicas_deleted = 0;
  uint64_t recoveries_started = 0;
  uint64_t recoveries_done = 0;
};

class BlockManager {
 public:
  BlockManager(BlockManagerOptions options, Executor& executor, StateReader& state,
               DatanodeCommander& commander, BlockProposer& proposer, Random random);
  ~BlockManager();
  BlockManager(const BlockManager&) = delete;
  BlockManager& operator=(const BlockManager&) = delete;

  /// Begins to tick.
  void Start();
  void Stop();
  void OnLeading(Term term);
  void OnLeadershipLost();

  // ---- Datanodes (every namenode)
  struct Registration {
    DatanodeId datanode;
    std::string tcp_address, unix_address, host_id, rack, version;
    std::vector<DatanodeVolume> volumes;
    Term highest_term = 0;
    std::weak_ptr<void> connection;
  };
  Status Register(Registration registration);
  struct HeartbeatAnswer {
    bool need_report = false;
  };
  /// kNotFound: it must register.
  Result<HeartbeatAnswer> Heartbeat(DatanodeId datanode, std::vector<DatanodeVolume> volumes,
                                    int active_streams, Term highest_term);
  /// A page of a full report; false: out of order, send it again from the start.
  Result<bool> FullReport(DatanodeId datanode, uint64_t report_id, int page, bool last,
                          std::span<const ReportedReplica> replicas);
  Status IncrementalReport(DatanodeId datanode, std::span<const ReportedReplica> received,
                           std::span<const ReportedReplica> deleted,
                           std::span<const ReportedReplica> corrupt);
  /// Its connection is gone; the time-outs decide what that means.
  void OnDisconnect(DatanodeId datanode, const void* connection);

  /// Where datanodes stand, whatever they say themselves; also those that have registered.
  void SetRackTable(RackTable table);

  // ---- For handlers (leader)
  /// Where to read the block, best first for client_host. Closed: good replicas; when there is none, those known
  /// to be corrupt (the datanode serves what it can verify). Open: the members, tail first.
  void Locate(BlockId block, const BlockRecord& record, std::string_view client_host,
              std::vector<const Datanode*>* replicas, std::vector<DatanodeId>* corrupt);
  /// Members for a new block in chain order. kUnavailable when there is no node at all.
  Result<std::vector<DatanodeId>> PlaceNewBlock(uint32_t replication, uint64_t block_bytes,
                                                std::string_view client_host,
                                                std::span<const DatanodeId> exclude);
  /// Members for a closed block that is opened again: its good replicas on live nodes that are fenced. kMissingBlock, or
  /// kUnavailable while datanodes are still reporting, or are being fenced.
  Result<std::vector<DatanodeId>> MembersToReopen(BlockId block, const BlockRecord& record,
                                                  std::string_view client_host,
                                                  std::span<const DatanodeId> exclude);
  /// The block is short of live members, or of copies when it is closed, and there are nodes that could have more.
  bool CouldHaveMore(BlockId block, const BlockRecord& record) const;
  /// A reader found the replica bad. Without effect when it is the last good one.
  void ReportBad(BlockId block, Stamp stamp, DatanodeId datanode, std::string_view why);
  /// block_explain.cc: what is known of it and done about it, for people.
  ExplainedBlock Explain(BlockId block, const BlockRecord& record) const;
  /// No replica of a closed block is left on a live datanode, and none of those that had it is waited for: they have
  /// been given up.
  bool Lost(BlockId block, const BlockRecord& record) const;
  const Datanode* FindDatanode(DatanodeId id) const { return registry_.Find(id); }
  /// How far a datanode is that an operator has taken out of service. Only a leader knows.
  struct TakenOut {
    bool counted = false;    // all that is on it was looked at, and everybody else has reported
    size_t blocks_left = 0;  // that have too few replicas without it
    bool settled() const { return counted && blocks_left == 0; }
  };
  TakenOut TakenOutOf(const Datanode& node) const;
  /// An operator has looked: what the brake holds back may be deleted.
  void ReleaseBrake();

  // ---- What the state machine applied (every namenode)
  void OnBlockChanged(BlockId block, const BlockRecord& record);
  void OnBlockRemoved(BlockId block);
  void OnDatanodeChanged(DatanodeId datanode, const DatanodeRecord& record);
  void OnStateReplaced();

  BlockStats stats() const;
  const DatanodeRegistry& registry() const { return registry_; }
  const BlockMap& map() const { return map_; }
  size_t memory_bytes() const { return map_.memory_bytes(); }

 private:
  int64_t Now() const { return executor_.clock().BootNs(); }
  void ScheduleTick();
  void Tick();
  /// Soon: what should not wait for the next tick.
  void Kick();
  void Work();

  // block_reports.cc
  void SetReplica(BlockId block, const BlockReplica& replica);
  void RemoveReplica(BlockId block, NodeIndex node);
  void LoadOpenBlocks();
  void TakeReplica(Datanode& node, const ReportedReplica& replica, bool full_report);
  void JudgeAndKeep(Datanode& node, const ReportedReplica& replica);
  void FinishFullReport(Datanode& node);
  void MarkCorrupt(BlockId block, NodeIndex node);
  void ForgetCorrupt(NodeIndex node);
  void Alarm(const Datanode& node, const ReportedReplica& replica);

  // block_locations.cc
  void ApplyRack(Datanode& node) const;
  // block_explain.cc
  void ExplainClosed(BlockId block, const BlockRecord& record, ExplainedBlock* out) const;
  void ExplainOpen(BlockId block, const BlockRecord& record, ExplainedBlock* out) const;

  // block_fences.cc
  bool Fenced(const Datanode& node) const { return term_ != 0 && node.fenced_term == term_; }
  /// It is not fenced yet, but will be soon.
  bool AwaitsFence(const Datanode& node) const;
  void Unfence(Datanode& node);
  void FenceNodes();
  void OnFenced(NodeIndex index, uint64_t round, const Status& status);

  // block_admin.cc
  void LoadDatanodes();
  /// What is to be of it now; maintenance ends by itself.
  void ApplyAdmin(Datanode& node);
  bool AwayForMaintenance(DatanodeId datanode) const;
  void TickAdmin();
  void ScanTakenOut();
  bool DependsOn(BlockId block, NodeIndex node);
  bool EverybodyHasReported() const;

  // block_repair.cc
  BlockFacts FactsOf(BlockId block, const BlockRecord& record) const;
  std::vector<ReplicaView> ViewsOf(BlockId block) const;
  /// Looks at one block and queues what has to be done about it. Leader only.
  void Check(BlockId block);
  void CheckRecord(BlockId block, const BlockRecord& record);
  void CheckClosed(BlockId block, const BlockRecord& record);
  void ScanSome();
  void PurgeDeadNodes();
  bool SafeMode() const;
  void LeaveSafeModeWhenDue();
  void StartCopies();
  void OnCopyDone(BlockId block, NodeIndex source, NodeIndex target, uint64_t bytes,
                  const Status& status);
  uint64_t RepairRate() const;
  void DropCopy(const ReplicationQueue::Copy& copy);
  std::vector<CopyLoad> CopyLoads() const;
  DatanodeCommander::CopyLimits LimitsOf(uint64_t bytes) const;
  std::vector<PlacementNode> WithoutDoomed(BlockId block,
                                           const std::vector<PlacementNode>& nodes) const;
  void DeleteObsolete();
  bool DeleteObsoleteOf(BlockId block);
  void DeleteRemoved();
  void Hold(std::string why);
  void Doom(NodeIndex node, BlockId block, Stamp stamp);
  void SendDeletions();
  void OnDeleted(NodeIndex node, const std::vector<DatanodeCommander::DeleteOrder>& orders,
                 const Status& status);

  // block_recoveries.cc
  bool WriterIsStuck(BlockId block, const BlockRecord& record) const;
  void StartRecoveries();
  void StartRecovery(BlockId block, const BlockRecord& record);
  void Act(BlockId block, BlockRecovery::Actions actions);
  void ActOne(BlockId block, uint64_t run, const BlockRecovery::Action& action);
  void ProposeFor(BlockId block, uint64_t run, const BlockRecovery::Action& action);
  /// Defect::kRecoveryWithoutFence only.
  void GoOnUnfenced(BlockId block, uint64_t run);
  void OnProposed(BlockId block, uint64_t run, BlockRecovery::Action::Kind kind,
                  Result<std::string> reply);
  RunningRecovery* FindRun(BlockId block, uint64_t run);
  void TickRecoveries();

  const BlockManagerOptions options_;
  Executor& executor_;
  StateReader& state_;
  DatanodeCommander& commander_;
  BlockProposer& proposer_;
  mutable Random random_;
  DatanodeRegistry registry_;
  BlockMap map_;
  RackTable racks_;

  Executor::TimerId timer_ = 0;
  Executor::TimerId kick_ = 0;
  int64_t started_ns_ = 0;
  Term term_ = 0;  // while leading, else 0
  bool running_ = false;
  bool safe_mode_left_ = false;  // in this process, for good

  // The leader's work. Cleared when leadership is lost.
  ReplicationQueue queue_;
  std::map<BlockId, int64_t> obsolete_;  // have replicas that may have to go, since when
  BlockId obsolete_from_;
  std::map<BlockId, int64_t> hold_off_;  // a copy failed: not again before
  int64_t next_copy_warning_ns_ = 0;
  std::deque<std::pair<int64_t, uint64_t>> copied_;  // when, and how many bytes: for the rate
  std::map<BlockId, bool> recover_;  // need recovery; true: closed, by 6.4
  std::set<BlockId> changed_;        // to be checked in the next turn
  std::map<BlockId, std::unique_ptr<RunningRecovery>> recoveries_;
  uint64_t next_run_ = 1;
  BlockId scan_from_;
  size_t shard_from_ = 0;
  uint64_t passes_ = 0;  // of the scan over the records, in this term
  uint64_t ticks_ = 0;
  /// Over the blocks of a node that was taken out of service, again and again, and once when it was put back.
  struct NodeScan {
    size_t shard = 0;
    size_t found = 0;        // in this pass: blocks that need it
    bool trusted = false;    // everybody had reported when this pass began
    int64_t next_ns = 0;     // when the next pass begins
    TakenOut result;         // of the last pass
  };
  std::map<NodeIndex, NodeScan> node_scans_;

  // Kept by followers, too.
  std::unordered_map<BlockId, std::vector<DatanodeId>>
      open_;  // blocks not closed, and their members
  std::unordered_map<DatanodeId, DatanodeRecord> taken_out_;  // the replicated records
  DeletionQueue removed_;
  std::map<NodeIndex, std::vector<DatanodeCommander::DeleteOrder>> to_delete_;
  std::set<std::pair<BlockId, NodeIndex>> doomed_;   // ordered, or about to be, not yet confirmed
  std::map<NodeIndex, size_t> purges_;               // dead nodes: the next shard to clear
  std::set<std::pair<BlockId, NodeIndex>> corrupt_;  // also marked in the map; for counting
  DeletionBrake brake_;
  std::string held_why_;
  int64_t last_alarm_ns_ = 0;
  uint64_t alarms_ = 0;
  BlockStats counters_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace dfs::nn
