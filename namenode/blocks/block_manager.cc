#include "namenode/blocks/block_manager.h"

#include <algorithm>

#include "common/base/logging.h"
#include "namenode/blocks/running_recovery.h"

namespace dfs::nn {

BlockManager::BlockManager(BlockManagerOptions options, Executor& executor, StateReader& state,
                           DatanodeCommander& commander, BlockProposer& proposer, Random random)
    : options_(options),
      executor_(executor),
      state_(state),
      commander_(commander),
      proposer_(proposer),
      random_(random),
      registry_({options.stale_after_ns, options.dead_after_ns}) {}

BlockManager::~BlockManager() {
  Stop();
}

void BlockManager::Start() {
  running_ = true;
  started_ns_ = Now();
  LoadOpenBlocks();
  LoadDatanodes();
  ScheduleTick();
}

void BlockManager::Stop() {
  if (!running_) return;
  running_ = false;
  if (timer_ != 0) executor_.Cancel(timer_);
  if (kick_ != 0) executor_.Cancel(kick_);
  timer_ = kick_ = 0;
  alive_.reset();
  OnLeadershipLost();
}

void BlockManager::ScheduleTick() {
  timer_ = executor_.RunAfter(options_.tick_ns, [this] {
    timer_ = 0;
    Tick();
    ScheduleTick();
  });
}

void BlockManager::Kick() {
  if (kick_ != 0 || !running_ || term_ == 0) return;
  kick_ = executor_.RunAfter(kMillisecond, [this] {
    kick_ = 0;
    if (term_ != 0) Work();
  });
}

void BlockManager::OnLeading(Term term) {
  term_ = term;
  scan_from_ = BlockId();
  shard_from_ = 0;
  passes_ = 0;
  auto recover = state_.ListBlocksToRecover();
  if (!recover) LogError("cannot list the blocks to recover: {}", recover.error().ToString());
  if (recover) {
    for (const auto& [block, record] : *recover) recover_[block] = false;
  }
  // Every node is to be fenced and then to say again what it has: what an earlier leader ordered may be under way.
  for (const auto& node : registry_.nodes()) {
    Unfence(*node);
    node->order_uncertain = false;
    node->report_asked_ns = 0;
  }
  for (const auto& node : registry_.nodes()) {
    if (node->admin != NodeAdmin::kInService) node_scans_[node->index] = {};
  }
  FenceNodes();
  LeaveSafeModeWhenDue();  // a new cluster has nothing to wait for
  Kick();
}

void BlockManager::OnLeadershipLost() {
  term_ = 0;
  queue_.Clear();
  obsolete_.clear();
  recover_.clear();
  changed_.clear();
  hold_off_.clear();
  recoveries_.clear();
  to_delete_.clear();
  doomed_.clear();
  node_scans_.clear();
  copied_.clear();
  for (const auto& node : registry_.nodes()) {
    node->copies_in = node->copies_out = 0;
    node->deleting = node->fencing = false;
  }
}

void BlockManager::Tick() {
  for (NodeIndex index : registry_.Tick(Now()).died) {
    Datanode& node = *registry_.At(index);
    LogWarning("datanode {:016x} at {} is dead: no heartbeat for {} ms; {} replicas", node.id.value,
               node.tcp_address, options_.dead_after_ns / kMillisecond, map_.replicas_of(index));
    // What was on a node in maintenance counts, for as long as that lasts.
    if (node.admin != NodeAdmin::kMaintenance) purges_[index] = 0;
    to_delete_.erase(index);
    std::erase_if(doomed_, [&](const auto& d) { return d.second == index; });
    for (const ReplicationQueue::Copy& copy : queue_.CancelNode(index)) DropCopy(copy);
  }
  TickAdmin();
  PurgeDeadNodes();
  if (term_ == 0) return;
  ScanSome();
  ScanTakenOut();
  Work();
}

void BlockManager::Work() {
  FenceNodes();
  for (size_t n = 0; n < options_.scan_per_tick && !changed_.empty(); ++n) {
    BlockId block = *changed_.begin();
    changed_.erase(changed_.begin());
    Check(block);
  }
  if (!changed_.empty()) Kick();
  // Recovery serves writers: safe mode does not hold it up.
  TickRecoveries();
  StartRecoveries();
  LeaveSafeModeWhenDue();
  if (SafeMode()) return;
  StartCopies();
  DeleteObsolete();
  DeleteRemoved();
  SendDeletions();
}

bool BlockManager::SafeMode() const {
  if (safe_mode_left_) return false;
  SafeModeInput in;
  in.since_start_ns = Now() - started_ns_;
  in.dead_after_ns = options_.dead_after_ns;
  in.blocks = state_.counters().blocks;
  in.blocks_with_replica = map_.blocks();
  for (const auto& node : registry_.nodes()) {
    if (node->state == NodeState::kDead) continue;
    ++in.live_nodes;
    in.live_nodes_reported += node->reported ? 1 : 0;
  }
  return InSafeMode(in);
}

void BlockManager::LeaveSafeModeWhenDue() {
  // Only a leader knows how many blocks there are.
  if (safe_mode_left_ || term_ == 0 || SafeMode()) return;
  safe_mode_left_ = true;
  LogInfo("leaving safe mode: {} blocks, {} with a replica", state_.counters().blocks,
          map_.blocks());
}

void BlockManager::LoadOpenBlocks() {
  open_.clear();
  auto blocks = state_.ListOpenBlocks();
  if (!blocks) {
    LogError("cannot list the open blocks: {}", blocks.error().ToString());
    return;
  }
  for (const auto& [block, record] : *blocks) open_[block] = record.members;
}

void BlockManager::OnBlockChanged(BlockId block, const BlockRecord& record) {
  if (record.state != BlockState::kClosed) {
    open_[block] = record.members;
    if (term_ == 0) return;
    queue_.Drop(block);
    if (record.NeedsRecovery() && !recoveries_.contains(block)) {
      recover_[block] = false;
      Kick();
    }
    return;
  }
  if (open_.erase(block) > 0) {
    // Just closed: exactly its members confirmed this stamp. Their own reports follow; readers need not wait.
    for (DatanodeId id : record.members) {
      const Datanode* node = registry_.Find(id);
      if (node == nullptr || node->state == NodeState::kDead) continue;
      doomed_.erase({block, node->index});
      BlockReplica replica;
      replica.node = node->index;
      replica.stamp = record.stamp;
      SetReplica(block, replica);
    }
    obsolete_.erase(block);  // its delay begins again
  }
  if (term_ == 0) return;
  changed_.insert(block);
  Kick();
}

void BlockManager::OnBlockRemoved(BlockId block) {
  if (auto it = open_.find(block); it != open_.end()) {
    // Members of an open block report nothing until it is closed; they have bytes all the same.
    for (DatanodeId id : it->second) {
      const Datanode* node = registry_.Find(id);
      BlockReplica known;
      if (node == nullptr || map_.Find(block, node->index, &known)) continue;
      BlockReplica replica;
      replica.node = node->index;
      replica.state = ReplicaState::kRbw;
      SetReplica(block, replica);
    }
    open_.erase(it);
  }
  queue_.Drop(block);
  obsolete_.erase(block);
  recover_.erase(block);
  recoveries_.erase(block);
  changed_.erase(block);
  if (map_.Contains(block)) removed_.Schedule(block, Now());
}

void BlockManager::OnStateReplaced() {
  LoadOpenBlocks();
  LoadDatanodes();
}

BlockStats BlockManager::stats() const {
  BlockStats s = counters_;
  s.missing = queue_.missing();
  s.moving = queue_.moving();
  s.under_replicated = queue_.waiting() - queue_.missing() - queue_.moving();
  s.corrupt_replicas = corrupt_.size();
  s.pending_replications = queue_.under_way();
  s.pending_deletions = removed_.size();
  for (const auto& [node, orders] : to_delete_) s.pending_deletions += orders.size();
  s.open_blocks = open_.size();
  s.recoveries_running = recoveries_.size();
  s.safe_mode = term_ != 0 && SafeMode();
  s.alarm = brake_.holds() || alarms_ > 0;
  s.deletions_held_why = held_why_;
  s.repair_bytes_left = queue_.bytes_left();
  s.repair_bytes_per_second = RepairRate();
  return s;
}

}  // namespace dfs::nn
