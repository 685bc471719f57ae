// BlockManager: re-replication, trimming, deletion.
#include <algorithm>
#include <limits>

#include "common/base/logging.h"
#include "namenode/blocks/block_manager.h"
#include "namenode/blocks/running_recovery.h"

namespace dfs::nn {

namespace {
/// Replicas become final on disk within 5 s of a close; until then nothing that a block had before may go
/// (protocols 4.2 and 5.4).
constexpr int64_t kObsoleteDelayNs = 10 * kSecond;
/// A copy that failed is not tried again at once: its source or target is likely to be gone.
constexpr int64_t kCopyHoldOffNs = 2 * kSecond;
constexpr int64_t kRateWindowNs = 60 * kSecond;
constexpr uint64_t kAnyStamp = std::numeric_limits<int64_t>::max();
}  // namespace

BlockFacts BlockManager::FactsOf(BlockId block, const BlockRecord& record) const {
  BlockFacts facts;
  facts.block = block;
  facts.stamp = record.stamp;
  facts.open = record.state != BlockState::kClosed;
  facts.length = record.length;
  facts.expected = record.replication;
  facts.members = record.members;
  if (!taken_out_.empty() && !facts.open) {
    for (DatanodeId id : record.members) facts.away += AwayForMaintenance(id) ? 1 : 0;
  }
  return facts;
}

std::vector<ReplicaView> BlockManager::ViewsOf(BlockId block) const {
  std::vector<BlockReplica> replicas;
  map_.Get(block, &replicas);
  std::vector<ReplicaView> views;
  views.reserve(replicas.size());
  for (const BlockReplica& r : replicas) {
    const Datanode* node = registry_.At(r.node);
    ReplicaView view;
    view.replica = r;
    view.node = node->state;
    view.reported_in_term = term_ != 0 && node->reported_term == term_;
    view.rack = node->rack;
    view.available_bytes = node->available_bytes;
    view.admin = node->admin;
    views.push_back(view);
  }
  return views;
}

void BlockManager::Check(BlockId block) {
  Result<BlockRecord> record = state_.GetBlock(block);
  if (record) {
    CheckRecord(block, *record);
  } else if (record.error().Is(Code::kNotFound)) {
    queue_.Drop(block);
    obsolete_.erase(block);
    recover_.erase(block);
    if (map_.Contains(block)) removed_.Schedule(block, Now());
  }
}

void BlockManager::CheckRecord(BlockId block, const BlockRecord& record) {
  if (record.state == BlockState::kClosed) {
    CheckClosed(block, record);
    return;
  }
  queue_.Drop(block);
  obsolete_.erase(block);
  if (recoveries_.contains(block)) return;
  if (record.NeedsRecovery() || WriterIsStuck(block, record)) recover_[block] = false;
}

void BlockManager::CheckClosed(BlockId block, const BlockRecord& record) {
  BlockFacts facts = FactsOf(block, record);
  std::vector<ReplicaView> views = ViewsOf(block);
  BlockHealth health = EvaluateClosed(facts, views);
  if (health.missing_copies > 0) {
    queue_.Want(block, {health.live, health.live >= facts.expected,
                        health.missing_copies * record.length});
  } else {
    queue_.Drop(block);
  }
  if (health.excess > 0 || !health.outdated.empty() || !health.unfinished.empty() ||
      !health.corrupt.empty()) {
    obsolete_.try_emplace(block, Now());
  } else {
    obsolete_.erase(block);
  }
  // 6.4: closed, and what came back is not finalized. With every last member heard, or when one that is not
  // heard would be dead by now, there is nothing better to wait for; the recovery itself waits when committed
  // bytes are at stake.
  if (health.missing && !health.unfinished.empty() && !recoveries_.contains(block)) {
    bool all_heard = true;
    for (DatanodeId id : record.members) {
      const Datanode* node = registry_.Find(id);
      all_heard = all_heard && node != nullptr && node->state != NodeState::kDead && node->reported;
    }
    if (all_heard || Now() - started_ns_ >= options_.dead_after_ns) recover_[block] = true;
  }
}

void BlockManager::ScanSome() {
  // The first pass of a term finds out how things stand; later ones only look for what an event missed.
  size_t limit = passes_ == 0 ? options_.scan_per_tick : options_.scan_per_tick / 10 + 1;
  size_t seen = 0;
  BlockId last;
  Status status = state_.ForEachBlock(scan_from_, [&](BlockId block, const BlockRecord& record) {
    if (seen++ == limit) {
      last = block;
      return false;
    }
    CheckRecord(block, record);
    return true;
  });
  if (!status.ok()) LogError("scan of the blocks: {}", status.ToString());
  scan_from_ = last;  // 0 at the end: from the start again
  if (!last.valid()) ++passes_;
  // And the other way round, for replicas without a record; a shard each time.
  if (++ticks_ % 5 != 0) return;
  const Counters& counters = state_.counters();
  map_.ForEachInShard(shard_from_, [&](BlockId block) {
    if (block.value >= counters.next_block) return;
    Result<BlockRecord> record = state_.GetBlock(block);
    if (!record && record.error().Is(Code::kNotFound)) removed_.Schedule(block, Now());
  });
  shard_from_ = (shard_from_ + 1) % BlockMap::kShards;
}

void BlockManager::PurgeDeadNodes() {
  size_t budget = options_.scan_per_tick;
  while (!purges_.empty() && budget > 0) {
    auto& [index, shard] = *purges_.begin();
    std::vector<BlockId> blocks;
    map_.ForEachOfNode(shard, index, [&](BlockId block) { blocks.push_back(block); });
    for (BlockId block : blocks) {
      RemoveReplica(block, index);
      if (term_ != 0) changed_.insert(block);
    }
    budget -= std::min(budget, blocks.size() + 1);
    if (++shard == BlockMap::kShards) purges_.erase(purges_.begin());
  }
}

std::vector<CopyLoad> BlockManager::CopyLoads() const {
  std::vector<CopyLoad> loads;
  for (const auto& node : registry_.nodes()) {
    loads.push_back({node->index, node->copies_in + node->copies_out});
  }
  return loads;
}

void BlockManager::DropCopy(const ReplicationQueue::Copy& copy) {
  if (Datanode* node = registry_.At(copy.source)) --node->copies_out;
  if (Datanode* node = registry_.At(copy.target)) --node->copies_in;
}

/// The same for what is being deleted just now.
std::vector<PlacementNode> BlockManager::WithoutDoomed(
    BlockId block, const std::vector<PlacementNode>& nodes) const {
  std::vector<PlacementNode> out = nodes;
  if (!doomed_.empty()) {
    std::erase_if(out, [&](const PlacementNode& n) { return doomed_.contains({block, n.node}); });
  }
  return out;
}

/// Each of a node's copies gets its share, so that all of them together keep to the node's limit.
DatanodeCommander::CopyLimits BlockManager::LimitsOf(uint64_t bytes) const {
  DatanodeCommander::CopyLimits limits;
  limits.timeout_ns = options_.copy_timeout_ns + static_cast<int64_t>(bytes >> 20) * kSecond;
  if (options_.replication_bytes_per_second_per_node == 0) return limits;
  const auto streams = static_cast<uint64_t>(std::max(options_.replication_streams_per_node, 1));
  limits.bytes_per_second =
      std::max<uint64_t>(options_.replication_bytes_per_second_per_node / streams, 1);
  const uint64_t seconds = bytes / limits.bytes_per_second + 1;
  limits.timeout_ns = std::max(
      limits.timeout_ns, options_.copy_timeout_ns + static_cast<int64_t>(2 * seconds) * kSecond);
  return limits;
}

void BlockManager::StartCopies() {
  for (const ReplicationQueue::Copy& copy : queue_.Expire(Now())) {
    ++counters_.copies_failed;
    DropCopy(copy);
  }
  std::erase_if(hold_off_, [&](const auto& h) { return h.second <= Now(); });
  while (!copied_.empty() && Now() - copied_.front().first > kRateWindowNs) copied_.pop_front();
  if (queue_.waiting() == queue_.missing()) return;
  std::vector<PlacementNode> nodes = registry_.Snapshot();
  // A copy to a node that may yet carry out an older order to delete would be counted and then be gone.
  std::erase_if(nodes, [&](const PlacementNode& n) { return !Fenced(*registry_.At(n.node)); });
  for (BlockId block : queue_.Next(options_.copies_considered_per_tick)) {
    if (hold_off_.contains(block)) continue;
    std::vector<CopyLoad> loads = CopyLoads();
    bool all_busy = std::all_of(loads.begin(), loads.end(), [&](const CopyLoad& l) {
      return l.copies >= options_.replication_streams_per_node;
    });
    if (all_busy) return;
    Result<BlockRecord> record = state_.GetBlock(block);
    if (!record || record->state != BlockState::kClosed) {
      queue_.Drop(block);
      continue;
    }
    auto plan = PlanCopy(FactsOf(block, *record), ViewsOf(block), queue_.TargetsOf(block),
                         WithoutDoomed(block, nodes), loads, options_.replication_streams_per_node,
                         random_);
    if (!plan) continue;
    Datanode& source = *registry_.At(plan->source);
    Datanode& target = *registry_.At(plan->target);
    const DatanodeCommander::CopyLimits limits = LimitsOf(record->length);
    queue_.Started({block, plan->source, plan->target, Now() + limits.timeout_ns});
    ++source.copies_out;
    ++target.copies_in;
    commander_.Copy(source, term_, block, *record, target, limits,
                    [this, alive = std::weak_ptr<char>(alive_), term = term_, block,
                     stamp = record->stamp, length = record->length,
                     plan = *plan](Status status) {
                      if (alive.expired() || term_ != term) return;
                      if (status.ok()) {
                        Result<BlockRecord> now = state_.GetBlock(block);
                        Datanode* node = registry_.At(plan.target);
                        if (now && now->state == BlockState::kClosed && now->stamp == stamp &&
                            node->state != NodeState::kDead &&
                            !doomed_.contains({block, plan.target})) {
                          SetReplica(block, {plan.target, ReplicaState::kFinalized, false, stamp});
                        }
                      }
                      OnCopyDone(block, plan.source, plan.target, length, status);
                    });
  }
}

void BlockManager::OnCopyDone(BlockId block, NodeIndex source, NodeIndex target, uint64_t bytes,
                              const Status& status) {
  if (!queue_.Finished(block, target)) return;  // expired, or its node died
  DropCopy({block, source, target, 0});
  if (status.ok()) {
    ++counters_.copies_done;
    copied_.push_back({Now(), bytes});
    changed_.insert(block);
    Kick();
    return;
  }
  ++counters_.copies_failed;
  hold_off_[block] = Now() + kCopyHoldOffNs;
  if (Now() >= next_copy_warning_ns_) {
    next_copy_warning_ns_ = Now() + kSecond;
    LogWarning("copy of block {} from datanode {:016x} to {:016x} failed: {}", block.value,
               registry_.At(source)->id.value, registry_.At(target)->id.value, status.ToString());
  }
  changed_.insert(block);
}

/// Of copies, in the last minute; 0 when there were none.
uint64_t BlockManager::RepairRate() const {
  uint64_t bytes = 0;
  int64_t since_ns = Now();
  for (const auto& [when_ns, copied] : copied_) {
    if (Now() - when_ns > kRateWindowNs) continue;
    bytes += copied;
    since_ns = std::min(since_ns, when_ns);
  }
  // A copy took some time before it was done.
  const double seconds = static_cast<double>(Now() - since_ns) / 1e9 + 1;
  return static_cast<uint64_t>(static_cast<double>(bytes) / seconds);
}

void BlockManager::DeleteObsolete() {
  std::vector<BlockId> blocks;
  auto it = obsolete_.upper_bound(obsolete_from_);
  for (size_t n = 0; n < obsolete_.size() && n < options_.copies_considered_per_tick; ++n, ++it) {
    if (it == obsolete_.end()) it = obsolete_.begin();
    obsolete_from_ = it->first;
    if (Now() - it->second >= kObsoleteDelayNs) blocks.push_back(it->first);
  }
  for (BlockId block : blocks) {
    if (!DeleteObsoleteOf(block)) return;
  }
}

bool BlockManager::DeleteObsoleteOf(BlockId block) {
  Result<BlockRecord> record = state_.GetBlock(block);
  if (!record || record->state != BlockState::kClosed) {
    obsolete_.erase(block);
    return true;
  }
  BlockFacts facts = FactsOf(block, *record);
  std::vector<ReplicaView> views = ViewsOf(block);
  BlockHealth health = EvaluateClosed(facts, views);
  std::vector<NodeIndex> drop = ChooseObsolete(facts, views, registry_.in_service_count());
  if (drop.empty() && health.excess > 0) drop = ChooseExcess(facts, views);
  if (!drop.empty()) {
    const bool held = brake_.holds();
    if (!brake_.Allow(drop.size(), map_.replicas(), Now())) {
      if (!held) {
        Hold(fmt::format("more than 1,000 replicas in an hour, and 5% of {}, are to be dropped, "
                         "which no delete explains", map_.replicas()));
      }
      return false;
    }
    for (NodeIndex index : drop) {
      auto view = std::find_if(views.begin(), views.end(),
                               [&](const ReplicaView& v) { return v.replica.node == index; });
      Doom(index, block, view->replica.stamp);
    }
    changed_.insert(block);
  }
  return true;
}

/// The brake has begun to hold.
void BlockManager::Hold(std::string why) {
  LogError("{}: no excess or outdated replica is deleted until an operator releases that", why);
  held_why_ = std::move(why);
}

void BlockManager::ReleaseBrake() {
  brake_.Release(Now());
  held_why_.clear();
  if (term_ != 0) Kick();
}

void BlockManager::Doom(NodeIndex node, BlockId block, Stamp stamp) {
  // From here on it counts for nothing, whatever becomes of the order.
  RemoveReplica(block, node);
  doomed_.insert({block, node});
  to_delete_[node].push_back({block, stamp});
}

void BlockManager::DeleteRemoved() {
  int64_t delay_ns = options_.deletion_delay_ns;
  for (const auto& node : registry_.nodes()) {
    if (node->state == NodeState::kDead) continue;
    delay_ns =
        std::min(delay_ns, EffectiveDeletionDelay(options_.deletion_delay_ns, node->available_bytes,
                                                  node->capacity_bytes));
  }
  for (BlockId block : removed_.TakeDue(Now(), delay_ns, options_.max_deletions_per_order)) {
    // Once more, at the last moment: only a committed delete explains a missing record.
    Result<BlockRecord> record = state_.GetBlock(block);
    if (record || !record.error().Is(Code::kNotFound) ||
        block.value >= state_.counters().next_block) {
      continue;
    }
    std::vector<BlockReplica> replicas;
    map_.Get(block, &replicas);
    for (const BlockReplica& r : replicas) {
      if (registry_.At(r.node)->state == NodeState::kDead) {
        RemoveReplica(block, r.node);
      } else {
        Doom(r.node, block, Stamp(kAnyStamp));
      }
    }
  }
}

void BlockManager::SendDeletions() {
  for (auto it = to_delete_.begin(); it != to_delete_.end();) {
    auto& [index, orders] = *it;
    Datanode& node = *registry_.At(index);
    if (node.deleting || node.state != NodeState::kLive || !Fenced(node)) {
      ++it;
      continue;
    }
    size_t count = std::min(orders.size(), options_.max_deletions_per_order);
    std::vector<DatanodeCommander::DeleteOrder> batch(orders.begin(),
                                                      orders.begin() + static_cast<long>(count));
    orders.erase(orders.begin(), orders.begin() + static_cast<long>(count));
    node.deleting = true;
    commander_.Delete(node, term_, batch,
                      [this, alive = std::weak_ptr<char>(alive_), term = term_, index = index,
                       batch](Status status) {
                        if (alive.expired() || term_ != term) return;
                        OnDeleted(index, batch, status);
                      });
    it = orders.empty() ? to_delete_.erase(it) : std::next(it);
  }
}

void BlockManager::OnDeleted(NodeIndex index,
                             const std::vector<DatanodeCommander::DeleteOrder>& orders,
                             const Status& status) {
  Datanode& node = *registry_.At(index);
  node.deleting = false;
  for (const auto& order : orders) doomed_.erase({order.block, index});
  if (status.ok()) {
    counters_.replicas_deleted += orders.size();
  } else {
    // Some may be gone and some not, and some may go yet: when nothing of this order is left, let it say.
    Unfence(node);
    node.order_uncertain = true;
    node.need_report = true;
    Kick();
    LogWarning("datanode {:016x} did not delete {} replicas: {}", node.id.value, orders.size(),
               status.ToString());
  }
  if (to_delete_.contains(index)) Kick();
}

}  // namespace dfs::nn
