// BlockManager: explaining a block. Reads what the repair decides by (block_repair.cc), and changes nothing.
#include "namenode/blocks/block_explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "namenode/blocks/block_manager.h"
#include "namenode/blocks/running_recovery.h"

namespace dfs::nn {

namespace {
const char* StateOf(const BlockReplica& r, const BlockRecord& record, bool member) {
  if (r.state == ReplicaState::kTemporary) return "being_copied";
  if (record.state != BlockState::kClosed) return member ? "member" : "outdated";
  if (r.stamp > record.stamp) return "ahead";
  if (r.stamp < record.stamp) return "outdated";
  if (r.corrupt) return "corrupt";
  return r.state == ReplicaState::kFinalized ? "good" : "unfinished";
}

std::string Plural(size_t count, const char* one, const char* many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}
}  // namespace

ExplainedBlock BlockManager::Explain(BlockId block, const BlockRecord& record) const {
  ExplainedBlock out;
  auto find = [&out](DatanodeId id) {
    return std::find_if(out.replicas.begin(), out.replicas.end(),
                        [id](const ExplainedReplica& r) { return r.datanode == id; });
  };
  auto is_member = [&record](DatanodeId id) {
    return std::find(record.members.begin(), record.members.end(), id) != record.members.end();
  };
  std::vector<BlockReplica> known;
  map_.Get(block, &known);
  for (const BlockReplica& r : known) {
    const Datanode* node = registry_.At(r.node);
    if (node == nullptr) continue;
    const bool doomed = doomed_.contains({block, r.node});
    out.replicas.push_back(
        {node->id, node, doomed ? "deleting" : StateOf(r, record, is_member(node->id)), r.stamp});
  }
  for (NodeIndex target : queue_.TargetsOf(block)) {
    const Datanode* node = registry_.At(target);
    if (find(node->id) == out.replicas.end()) {
      out.replicas.push_back({node->id, node, "being_copied", record.stamp});
    }
  }
  if (record.state == BlockState::kClosed) {
    ExplainClosed(block, record, &out);
  } else {
    ExplainOpen(block, record, &out);
  }
  // Who had it last is worth knowing when somebody is missed.
  const bool whole = std::string_view(out.condition) == "healthy";
  for (DatanodeId id : record.members) {
    if (!whole && find(id) == out.replicas.end()) {
      out.replicas.push_back({id, registry_.Find(id), "not_reported", Stamp()});
    }
  }
  std::sort(out.replicas.begin(), out.replicas.end(),
            [](const auto& a, const auto& b) { return a.datanode < b.datanode; });
  return out;
}

void BlockManager::ExplainClosed(BlockId block, const BlockRecord& record,
                                 ExplainedBlock* out) const {
  const BlockFacts facts = FactsOf(block, record);
  const std::vector<ReplicaView> views = ViewsOf(block);
  const BlockHealth health = EvaluateClosed(facts, views);
  out->condition = health.missing               ? "missing"
                   : !health.corrupt.empty()    ? "corrupt"
                   : health.missing_copies != 0 ? "under_replicated"
                                                : "healthy";
  auto say = [out](const char* action, std::string why) {
    out->action = action;
    out->why = std::move(why);
  };
  if (recoveries_.contains(block) || recover_.contains(block)) {
    return say("recovering", "its datanodes agree on what they have of it");
  }
  if (health.missing) {
    return say("no_source", SafeMode() ? "datanodes are still reporting what they have"
                                       : "no live datanode has it: those that had it must return");
  }
  if (health.missing_copies == 0) {
    if (!health.corrupt.empty()) say("waiting", "it has all its good replicas: the bad ones go");
    return;
  }
  const std::vector<NodeIndex> targets = queue_.TargetsOf(block);
  if (!targets.empty()) {
    return say("copying", Plural(targets.size(), "copy is", "copies are") + " being made");
  }
  if (SafeMode()) {
    return say("safe_mode", "copies wait until enough datanodes have reported");
  }
  if (hold_off_.contains(block)) {
    return say("waiting", "a copy failed just now, and is tried again");
  }
  std::vector<PlacementNode> all = registry_.Snapshot();
  std::vector<PlacementNode> fenced = all;
  std::erase_if(fenced, [&](const PlacementNode& n) { return !Fenced(*registry_.At(n.node)); });
  Random random(1);  // who it would be is not asked
  auto possible = [&](const std::vector<PlacementNode>& nodes, int streams) {
    return PlanCopy(facts, views, targets, WithoutDoomed(block, nodes), CopyLoads(), streams,
                    random)
        .has_value();
  };
  constexpr int kAny = std::numeric_limits<int>::max();
  if (!possible(all, kAny)) {
    return say("no_target",
               fmt::format("no datanode is left for {}: each that lives has one, or no room for {} "
                           "bytes",
                           Plural(health.missing_copies, "more replica", "more replicas"),
                           record.length));
  }
  if (!possible(fenced, kAny)) {
    return say("waiting", "datanodes have yet to acknowledge the leader");
  }
  const size_t waiting = queue_.waiting() - queue_.missing();
  say("waiting", possible(fenced, options_.replication_streams_per_node)
                     ? fmt::format("its turn comes: {} to be copied",
                                   Plural(waiting, "block is", "blocks are"))
                     : fmt::format("the datanodes are busy with other copies: {} to be copied",
                                   Plural(waiting, "block is", "blocks are")));
}

bool BlockManager::Lost(BlockId block, const BlockRecord& record) const {
  if (term_ == 0 || record.state != BlockState::kClosed || record.length == 0) return false;
  // Who has not registered with this process yet may come; after that time he would be dead.
  if (SafeMode() || Now() - started_ns_ < options_.dead_after_ns) return false;
  if (recoveries_.contains(block) || recover_.contains(block)) return false;
  const BlockHealth health = EvaluateClosed(FactsOf(block, record), ViewsOf(block));
  if (!health.missing || !health.unfinished.empty() || !health.corrupt.empty()) return false;
  return std::none_of(registry_.nodes().begin(), registry_.nodes().end(), [](const auto& node) {
    // It may have it, and is about to say so.
    return node->state != NodeState::kDead && (!node->reported || node->state == NodeState::kStale);
  });
}

void BlockManager::ExplainOpen(BlockId block, const BlockRecord& record,
                               ExplainedBlock* out) const {
  out->condition = "open";
  if (recoveries_.contains(block)) {
    out->condition = out->action = "recovering";
    out->why = "its writer is gone: its members agree on what they have, and close it";
    return;
  }
  if (record.NeedsRecovery()) {
    out->condition = "recovering";
    out->action = "waiting";
    out->why = "its writer is gone: it will be closed with what its members have";
    return;
  }
  const auto alive = [this](DatanodeId id) {
    const Datanode* node = registry_.Find(id);
    return node != nullptr && node->state != NodeState::kDead;
  };
  const auto live = static_cast<size_t>(
      std::count_if(record.members.begin(), record.members.end(), alive));
  if (live >= record.replication) return;
  if (CouldHaveMore(block, record)) {
    out->action = "waiting";
    out->why = "its writer is asked to close it, so that it is copied, and to open it again";
  } else {
    out->action = "no_target";
    out->why = "it is being written, and no other datanode is left for more replicas";
  }
}

}  // namespace dfs::nn
