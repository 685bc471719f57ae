// BlockManager: registration, heartbeats and what datanodes report.
#include <algorithm>

#include "common/base/logging.h"
#include "namenode/blocks/block_manager.h"
#include "namenode/blocks/running_recovery.h"

namespace dfs::nn {

namespace {
/// A full report that was asked for and has not come is asked for again.
constexpr int64_t kAskAgainNs = 10 * kSecond;
constexpr uint64_t kSyntheticBit = uint64_t{1} << 62;
}  // namespace

void BlockManager::SetReplica(BlockId block, const BlockReplica& replica) {
  if (!map_.Set(block, replica)) return;
  if (replica.corrupt) {
    corrupt_.insert({block, replica.node});
  } else if (!corrupt_.empty()) {
    corrupt_.erase({block, replica.node});
  }
}

void BlockManager::RemoveReplica(BlockId block, NodeIndex node) {
  map_.Remove(block, node);
  if (!corrupt_.empty()) corrupt_.erase({block, node});
}

/// With a new process the disk may be well again (a cable, a power cycle); what is still bad the datanode tells again
/// after its full report, and whoever reads it finds out.
void BlockManager::ForgetCorrupt(NodeIndex node) {
  std::vector<BlockId> blocks;
  for (const auto& [block, index] : corrupt_) {
    if (index == node) blocks.push_back(block);
  }
  for (BlockId block : blocks) {
    BlockReplica replica;
    if (map_.Find(block, node, &replica)) {
      replica.corrupt = false;
      SetReplica(block, replica);
    }
    corrupt_.erase({block, node});
    if (term_ != 0) changed_.insert(block);
  }
}

Status BlockManager::Register(Registration r) {
  if (!r.datanode.valid()) return Status(Code::kInvalidArgument, "a datanode without an id");
  Datanode* node = registry_.Register(r.datanode, Now());
  if (node == nullptr) return Status(Code::kOverloaded, "too many datanodes");
  // It is back before it was forgotten: what it has, its report will say.
  purges_.erase(node->index);
  ForgetCorrupt(node->index);
  node->tcp_address = std::move(r.tcp_address);
  node->unix_address = std::move(r.unix_address);
  node->host_id = std::move(r.host_id);
  node->told_rack = std::move(r.rack);
  ApplyRack(*node);
  node->version = std::move(r.version);
  node->highest_term = r.highest_term;
  Unfence(*node);
  // What it says it has seen, it refuses anything lower of, and has done whatever it took before.
  if (term_ != 0 && r.highest_term >= term_ && !node->deleting && !node->order_uncertain) {
    node->fenced_term = term_;
  }
  node->connection = std::move(r.connection);
  node->connected = true;
  node->report_asked_ns = 0;
  DatanodeRegistry::SetVolumes(*node, std::move(r.volumes));
  ApplyAdmin(*node);
  LogInfo("datanode {:016x} at {} registered, host {}, rack {}", node->id.value, node->tcp_address,
          Printable(node->host_id), Printable(node->rack));
  Kick();
  return Status();
}

Result<BlockManager::HeartbeatAnswer> BlockManager::Heartbeat(DatanodeId datanode,
                                                              std::vector<DatanodeVolume> volumes,
                                                              int active_streams,
                                                              Term highest_term) {
  Datanode* node = registry_.Heartbeat(datanode, Now());
  if (node == nullptr) return Status(Code::kNotFound, "not registered here");
  DatanodeRegistry::SetVolumes(*node, std::move(volumes));
  node->active_streams = std::max(0, active_streams);
  node->highest_term = std::max(node->highest_term, highest_term);
  HeartbeatAnswer answer;
  bool owed =
      node->need_report || !node->reported || (Fenced(*node) && node->reported_term != term_);
  if (owed && (node->report_asked_ns == 0 || Now() - node->report_asked_ns >= kAskAgainNs)) {
    node->report_asked_ns = Now();
    answer.need_report = true;
  }
  return answer;
}

void BlockManager::OnDisconnect(DatanodeId datanode, const void* connection) {
  Datanode* node = registry_.Find(datanode);
  // It may have registered on another one since.
  if (node == nullptr || node->connection.lock().get() != connection) return;
  node->connected = false;
  LogInfo("datanode {:016x} at {} disconnected", node->id.value, node->tcp_address);
}

Result<bool> BlockManager::FullReport(DatanodeId datanode, uint64_t report_id, int page, bool last,
                                      std::span<const ReportedReplica> replicas) {
  Datanode* node = registry_.Find(datanode);
  if (node == nullptr || node->state == NodeState::kDead) {
    return Status(Code::kNotFound, "not registered here");
  }
  if (report_id == 0) return Status(Code::kInvalidArgument, "a block report without an id");
  if (page == 0) {
    node->report_id = report_id;
    node->next_page = 0;
    node->report_term = Fenced(*node) ? term_ : 0;
    node->replicas_before_report = map_.replicas_of(node->index);
    node->deleted_in_report.clear();
    map_.BeginReport(node->index);
  } else if (node->report_id != report_id || node->next_page != page) {
    node->report_id = 0;
    node->need_report = true;
    node->report_asked_ns = 0;
    return false;
  }
  for (const ReportedReplica& replica : replicas) TakeReplica(*node, replica, true);
  ++node->next_page;
  if (last) FinishFullReport(*node);
  return true;
}

void BlockManager::FinishFullReport(Datanode& node) {
  std::vector<BlockId> gone;
  map_.FinishReport(node.index, [&](BlockId block) { gone.push_back(block); });
  for (BlockId block : gone) {
    if (!corrupt_.empty()) corrupt_.erase({block, node.index});
    if (term_ != 0) changed_.insert(block);
  }
  if (gone.size() > DeletionBrake::kFloor) {
    // What a committed delete explains is no loss.
    size_t lost = 0;
    for (BlockId block : gone) lost += state_.GetBlock(block).ok() ? 1 : 0;
    if (brake_.OnLoss(lost, node.replicas_before_report)) {
      Hold(fmt::format("datanode {:016x} lost {} of its {} replicas, which no delete explains",
                       node.id.value, lost, node.replicas_before_report));
    }
  }
  node.reported = true;
  node.reported_term = node.report_term;
  node.need_report = false;
  node.report_id = 0;
  node.deleted_in_report.clear();
  node.report_asked_ns = 0;
  LogInfo("datanode {:016x} reported {} replicas ({} gone since)", node.id.value,
          map_.replicas_of(node.index), gone.size());
  Kick();
}

Status BlockManager::IncrementalReport(DatanodeId datanode,
                                       std::span<const ReportedReplica> received,
                                       std::span<const ReportedReplica> deleted,
                                       std::span<const ReportedReplica> corrupt) {
  Datanode* node = registry_.Find(datanode);
  if (node == nullptr || node->state == NodeState::kDead) {
    return Status(Code::kNotFound, "not registered here");
  }
  for (const ReportedReplica& replica : received) {
    node->deleted_in_report.erase(replica.block);
    TakeReplica(*node, replica, false);
  }
  for (const ReportedReplica& replica : deleted) {
    doomed_.erase({replica.block, node->index});
    if (node->report_id != 0) node->deleted_in_report.insert(replica.block);
    BlockReplica known;
    // An older copy that made room for a newer one is not news about the newer one.
    if (map_.Find(replica.block, node->index, &known) && known.stamp <= replica.stamp) {
      RemoveReplica(replica.block, node->index);
    }
    if (term_ != 0) changed_.insert(replica.block);
  }
  for (const ReportedReplica& replica : corrupt) {
    LogWarning("datanode {:016x} found its replica of block {} corrupt", node->id.value,
               replica.block.value);
    MarkCorrupt(replica.block, node->index);
  }
  if (!changed_.empty()) Kick();
  return Status();
}

void BlockManager::MarkCorrupt(BlockId block, NodeIndex node) {
  BlockReplica replica;
  if (!map_.Find(block, node, &replica)) return;
  replica.corrupt = true;
  SetReplica(block, replica);
  if (term_ != 0) changed_.insert(block);
}

void BlockManager::TakeReplica(Datanode& node, const ReportedReplica& r, bool full_report) {
  uint64_t id = r.block.value;
  if (id == 0 || (id & kSyntheticBit) != 0) return;
  if (r.state < ReplicaState::kFinalized || r.state > ReplicaState::kTemporary) return;
  BlockReplica replica{node.index, r.state, false, r.stamp};
  BlockReplica known;
  bool is_known = map_.Find(r.block, node.index, &known);
  if (full_report) {
    // A full report is as old as its first page. What was heard since then is newer.
    if (node.deleted_in_report.contains(r.block)) return;
    if (is_known && known.state == ReplicaState::kFinalized && known.stamp >= r.stamp &&
        r.state != ReplicaState::kFinalized && map_.Confirmed(r.block, node.index)) {
      return;
    }
  }
  if (is_known && known.stamp == r.stamp) replica.corrupt = known.corrupt;
  if (term_ == 0) {
    // A follower may lag behind what was committed: it keeps, and the next leader judges.
    if (r.state != ReplicaState::kTemporary) SetReplica(r.block, replica);
    return;
  }
  bool judged = full_report && node.reported_term == term_;
  if (judged && is_known && known == replica) {
    map_.Set(r.block, replica);  // confirmed
    return;
  }
  JudgeAndKeep(node, r);
}

void BlockManager::JudgeAndKeep(Datanode& node, const ReportedReplica& r) {
  if (doomed_.contains({r.block, node.index})) return;
  BlockReplica replica{node.index, r.state, false, r.stamp};
  BlockReplica known;
  if (map_.Find(r.block, node.index, &known) && known.stamp == r.stamp) {
    replica.corrupt = known.corrupt;
  }
  Result<BlockRecord> record = state_.GetBlock(r.block);
  if (!record && !record.error().Is(Code::kNotFound)) {
    SetReplica(r.block, replica);
    return;
  }
  BlockFacts facts;
  if (record) facts = FactsOf(r.block, *record);
  const Counters& counters = state_.counters();
  switch (JudgeReplica(r, record ? &facts : nullptr, {counters.next_block, counters.next_stamp})) {
    case ReplicaVerdict::kUnknownFuture:
      Alarm(node, r);
      return;
    case ReplicaVerdict::kCopying:
      return;
    case ReplicaVerdict::kGood: {
      SetReplica(r.block, replica);
      std::vector<BlockReplica> all;
      map_.Get(r.block, &all);
      if (queue_.Wants(r.block) || all.size() > record->replication) changed_.insert(r.block);
      break;
    }
    case ReplicaVerdict::kMember:
      SetReplica(r.block, replica);
      if (r.state == ReplicaState::kRwr) changed_.insert(r.block);
      break;
    case ReplicaVerdict::kWrongLength:
      LogWarning("datanode {:016x}: replica of block {} has {} of {} bytes", node.id.value,
                 r.block.value, r.length, record->length);
      replica.state = ReplicaState::kWrongLength;
      [[fallthrough]];
    case ReplicaVerdict::kUnfinished:
    case ReplicaVerdict::kOutdated:
    case ReplicaVerdict::kAhead:
      SetReplica(r.block, replica);
      changed_.insert(r.block);
      break;
    case ReplicaVerdict::kDeleted:
      SetReplica(r.block, replica);
      removed_.Schedule(r.block, Now());
      break;
  }
  if (!changed_.empty()) Kick();
}

void BlockManager::Alarm(const Datanode& node, const ReportedReplica& r) {
  ++alarms_;
  if (last_alarm_ns_ != 0 && Now() - last_alarm_ns_ < 60 * kSecond) return;
  last_alarm_ns_ = Now();
  LogError(
      "datanode {:016x} has block {} stamp {}, above anything this namespace ever gave out: was "
      "the "
      "namenodes' state lost or replaced? Such replicas are never deleted ({} so far)",
      node.id.value, r.block.value, r.stamp.value, alarms_);
}

void BlockManager::ReportBad(BlockId block, Stamp stamp, DatanodeId datanode,
                             std::string_view why) {
  const Datanode* node = registry_.Find(datanode);
  if (node == nullptr) return;
  Result<BlockRecord> record = state_.GetBlock(block);
  if (!record || record->state != BlockState::kClosed || record->stamp != stamp) return;
  BlockFacts facts = FactsOf(block, *record);
  std::vector<ReplicaView> views = ViewsOf(block);
  BlockHealth health = EvaluateClosed(facts, views);
  bool is_good =
      std::find(health.good.begin(), health.good.end(), node->index) != health.good.end();
  LogWarning("a reader reports block {} at datanode {:016x} bad: {}", block.value, datanode.value,
             Printable(why));
  // The claim costs a copy when it is wrong, so it may be believed as long as another copy is good.
  if (is_good && health.live >= 2) {
    MarkCorrupt(block, node->index);
    Kick();
  }
}

}  // namespace dfs::nn
