// BlockManager: drives BlockRecovery - proposals into the log, orders to datanodes.
#include <algorithm>

#include "common/base/defects.h"
#include "common/base/logging.h"
#include "namenode/blocks/block_manager.h"
#include "namenode/blocks/running_recovery.h"

namespace dfs::nn {

namespace {
/// Whether the same proposal may succeed later; otherwise the record has moved on.
bool WorthRepeating(const Status& s) {
  switch (s.code()) {
    case Code::kNotLeader:
    case Code::kOverloaded:
    case Code::kUnavailable:
    case Code::kTimedOut:
      return true;
    default:
      return false;
  }
}
}  // namespace

void BlockManager::StartRecoveries() {
  while (!recover_.empty() && recoveries_.size() < options_.max_recoveries) {
    auto [block, closed_too] = *recover_.begin();
    recover_.erase(recover_.begin());
    Result<BlockRecord> record = state_.GetBlock(block);
    if (!record || recoveries_.contains(block)) continue;
    bool closed = record->state == BlockState::kClosed;
    bool open_too = record->NeedsRecovery() || WriterIsStuck(block, *record);
    if (closed ? closed_too : open_too) StartRecovery(block, *record);
  }
}

/// Its writer lives, but every member restarted: none takes bytes from it any more, and it cannot even leave one out, as
/// nobody would be left. Only recovery helps; the writer finds the block closed under a newer stamp.
bool BlockManager::WriterIsStuck(BlockId block, const BlockRecord& record) const {
  if (record.state != BlockState::kOpen || record.members.empty()) return false;
  for (DatanodeId id : record.members) {
    const Datanode* node = registry_.Find(id);
    BlockReplica replica;
    // A member that is not heard may still be there for the writer.
    if (node == nullptr || node->state == NodeState::kDead || !node->reported ||
        !map_.Find(block, node->index, &replica) || replica.state != ReplicaState::kRwr ||
        replica.stamp > record.stamp) {
      return false;
    }
  }
  return true;
}

void BlockManager::StartRecovery(BlockId block, const BlockRecord& record) {
  BlockRecovery::Target target;
  target.block = block;
  target.stamp = record.LatestStamp();
  target.committed_length = record.length;
  target.was_closed = record.state == BlockState::kClosed;
  target.members = record.members;
  target.cut_stamp = record.cut_stamp;
  target.cut_length = record.cut_length;
  auto recovery = std::make_unique<RunningRecovery>(target, options_.recovery);
  recovery->run = next_run_++;
  recovery->was_closed = target.was_closed;
  recovery->accepted = {record.stamp};
  if (record.recovery_stamp.valid()) recovery->accepted.push_back(record.recovery_stamp);
  recovery->next_log_ns = Now() + 60 * kSecond;
  LogInfo("recovering block {} ({}), {} members", block.value,
          target.was_closed ? "closed, no finalized replica" : "its writer is gone",
          target.members.size());
  ++counters_.recoveries_started;
  RunningRecovery& r = *recovery;
  recoveries_[block] = std::move(recovery);
  Act(block, r.core.Start(Now()));
}

RunningRecovery* BlockManager::FindRun(BlockId block, uint64_t run) {
  auto it = recoveries_.find(block);
  return it != recoveries_.end() && it->second->run == run ? it->second.get() : nullptr;
}

void BlockManager::Act(BlockId block, BlockRecovery::Actions actions) {
  auto it = recoveries_.find(block);
  if (it == recoveries_.end()) return;
  uint64_t run = it->second->run;
  for (const BlockRecovery::Action& action : actions) ActOne(block, run, action);
}

void BlockManager::ActOne(BlockId block, uint64_t run, const BlockRecovery::Action& action) {
  using Kind = BlockRecovery::Action::Kind;
  RunningRecovery* r = FindRun(block, run);
  if (r == nullptr) return;
  if (action.kind != Kind::kSendInit && action.kind != Kind::kSendFinish) {
    ProposeFor(block, run, action);
    return;
  }
  const Datanode* node = registry_.Find(action.to);
  const Datanode* source = action.source.valid() ? registry_.Find(action.source) : nullptr;
  bool reachable = node != nullptr && node->state != NodeState::kDead &&
                   (!action.source.valid() || source != nullptr);
  std::weak_ptr<char> alive = alive_;
  if (action.kind == Kind::kSendInit) {
    if (!reachable) return r->core.OnInitFailed(action.to, action.stamp, Now());
    commander_.InitRecovery(
        *node, term_, block, r->accepted, action.stamp,
        [this, alive, block, run, to = action.to, stamp = action.stamp](Result<RecoveryAnswer> a) {
          if (alive.expired()) return;
          RunningRecovery* mine = FindRun(block, run);
          if (mine == nullptr) return;
          if (a) return Act(block, mine->core.OnInit(to, stamp, *a, Now()));
          LogInfo("block {}: datanode {:016x} does not answer: {}", block.value, to.value,
                  a.error().ToString());
          mine->core.OnInitFailed(to, stamp, Now());
        });
    return;
  }
  if (!reachable) return r->core.OnFinishFailed(action.to, action.stamp, Now());
  commander_.FinishRecovery(
      *node, term_, block, action.stamp, action.length, source,
      [this, alive, block, run, to = action.to, stamp = action.stamp](Result<uint64_t> length) {
        if (alive.expired()) return;
        RunningRecovery* mine = FindRun(block, run);
        if (mine == nullptr) return;
        if (length) return Act(block, mine->core.OnFinish(to, stamp, *length, Now()));
        LogWarning("block {}: datanode {:016x} cannot finish recovery: {}", block.value, to.value,
                   length.error().ToString());
        if (length.error().Is(Code::kStaleStamp)) {
          // It restarted since it was fenced: what it said then of its bytes no longer holds, and it would
          // refuse for ever. All over again, under a new stamp.
          recoveries_.erase(block);
          changed_.insert(block);
          return;
        }
        mine->core.OnFinishFailed(to, stamp, Now());
      });
}

void BlockManager::ProposeFor(BlockId block, uint64_t run, const BlockRecovery::Action& action) {
  using Kind = BlockRecovery::Action::Kind;
  CommandBody body;
  if (DefectOn(Defect::kRecoveryWithoutFence) && action.kind == Kind::kProposeClose &&
      !FindRun(block, run)->unfenced_close) {
    // The rule left out: the stamp is committed when all is done instead of before anything is.
    FindRun(block, run)->unfenced_close = action;
    Result<BlockRecord> record = state_.GetBlock(block);
    BeginBlockRecoveryCommand late;
    late.block = block;
    if (record) late.expected_stamp = record->LatestStamp();
    late.closed_too = FindRun(block, run)->was_closed;
    body = late;
    proposer_.Propose(std::move(body), [this, alive = std::weak_ptr<char>(alive_), block,
                                        run](Result<std::string> reply) {
      RunningRecovery* r = alive.expired() ? nullptr : FindRun(block, run);
      if (r == nullptr) return;
      Result<OpenBlockResult> fenced =
          reply ? DecodeResult<OpenBlockResult>(*reply) : reply.error();
      if (!fenced) {
        recoveries_.erase(block);
        return;
      }
      BlockRecovery::Action close = *r->unfenced_close;
      close.stamp = fenced->stamp;
      ProposeFor(block, run, close);
    });
    return;
  }
  switch (action.kind) {
    case Kind::kProposeFence: {
      if (DefectOn(Defect::kRecoveryWithoutFence)) return GoOnUnfenced(block, run);
      BeginBlockRecoveryCommand c;
      c.block = block;
      c.expected_stamp = action.stamp;
      c.closed_too = FindRun(block, run)->was_closed;
      c.fence_writer = true;  // when it has one: see WriterIsStuck
      body = c;
      break;
    }
    case Kind::kProposeExclude: {
      ExcludeFromRecoveryCommand c;
      c.block = block;
      c.recovery_stamp = action.stamp;
      c.survivors = action.members;
      body = c;
      break;
    }
    default: {
      FinishBlockRecoveryCommand c;
      c.block = block;
      c.recovery_stamp = action.stamp;
      c.length = action.length;
      c.members = action.members;
      c.allow_shorter = action.allow_shorter || DefectOn(Defect::kRecoveryOnSilence);
      body = c;
      break;
    }
  }
  proposer_.Propose(std::move(body), [this, alive = std::weak_ptr<char>(alive_), block, run,
                                      kind = action.kind](Result<std::string> reply) {
    if (!alive.expired()) OnProposed(block, run, kind, std::move(reply));
  });
}

void BlockManager::GoOnUnfenced(BlockId block, uint64_t run) {
  executor_.Post([this, alive = std::weak_ptr<char>(alive_), block, run] {
    RunningRecovery* r = alive.expired() ? nullptr : FindRun(block, run);
    Result<BlockRecord> record = state_.GetBlock(block);
    if (r == nullptr || !record) return;
    BlockRecovery::Target target;
    target.block = block;
    target.stamp = Stamp(state_.counters().next_stamp);
    target.committed_length = record->length;
    target.was_closed = r->was_closed;
    target.members = record->members;
    Act(block, r->core.OnFenced(std::move(target), Now()));
  });
}

void BlockManager::OnProposed(BlockId block, uint64_t run, BlockRecovery::Action::Kind kind,
                              Result<std::string> reply) {
  using Kind = BlockRecovery::Action::Kind;
  RunningRecovery* r = FindRun(block, run);
  if (r == nullptr) return;
  if (!reply) {
    if (WorthRepeating(reply.error())) return r->core.OnProposalFailed(Now());
    LogInfo("recovery of block {} begins again: {}", block.value, reply.error().ToString());
    recoveries_.erase(block);
    changed_.insert(block);  // the next tick looks at what the record says now
    return;
  }
  Result<BlockRecord> record = state_.GetBlock(block);
  if (kind == Kind::kProposeClose || kind == Kind::kProposeAbandon) {
    ++counters_.recoveries_done;
    LogInfo("recovered block {}: {} bytes", block.value, record ? record->length : 0);
    r->core.OnClosed();
    recoveries_.erase(block);
    changed_.insert(block);
    Kick();
    return;
  }
  if (!record) {
    recoveries_.erase(block);
    return;
  }
  if (kind == Kind::kProposeExclude) {
    Act(block, r->core.OnExcluded(record->members, Now()));
    return;
  }
  Result<OpenBlockResult> fenced = DecodeResult<OpenBlockResult>(*reply);
  if (!fenced) {
    LogError("block {}: {}", block.value, fenced.error().ToString());
    recoveries_.erase(block);
    return;
  }
  BlockRecovery::Target target;
  target.block = block;
  target.stamp = fenced->stamp;
  target.committed_length = fenced->length;
  target.was_closed = r->was_closed;
  target.members = fenced->members;
  target.cut_stamp = fenced->cut_stamp;
  target.cut_length = fenced->cut_length;
  Act(block, r->core.OnFenced(std::move(target), Now()));
}

void BlockManager::TickRecoveries() {
  std::vector<BlockId> blocks;
  for (const auto& [block, recovery] : recoveries_) blocks.push_back(block);
  for (BlockId block : blocks) {
    auto it = recoveries_.find(block);
    if (it == recoveries_.end()) continue;
    if (Now() >= it->second->next_log_ns) {
      it->second->next_log_ns = Now() + 60 * kSecond;
      LogWarning("recovery waits: {}", it->second->core.Describe());
    }
    Act(block, it->second->core.OnTick(Now()));
  }
}

}  // namespace dfs::nn
