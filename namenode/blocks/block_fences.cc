// BlockManager: the fence between a leader and the orders of those before it (docs/blocks.md, "Orders and terms").
#include "common/base/logging.h"
#include "namenode/blocks/block_manager.h"

namespace dfs::nn {

/// While it has not had this long to answer, a block is rather opened a moment later than without its replica.
bool BlockManager::AwaitsFence(const Datanode& node) const {
  return !Fenced(node) && node.state == NodeState::kLive && node.connected &&
         Now() - node.unfenced_since_ns < options_.stale_after_ns;
}

void BlockManager::Unfence(Datanode& node) {
  node.fenced_term = 0;
  node.reported_term = 0;
  node.report_term = 0;
  node.unfenced_since_ns = Now();
  node.fencing = false;
  ++node.fence_round;
}

void BlockManager::FenceNodes() {
  for (const auto& node : registry_.nodes()) {
    if (Fenced(*node) || node->fencing || node->state == NodeState::kDead || !node->connected) {
      continue;
    }
    node->fencing = true;
    commander_.Fence(*node, term_,
                     [this, alive = std::weak_ptr<char>(alive_), term = term_, index = node->index,
                      round = ++node->fence_round](Status status) {
                       if (alive.expired() || term_ != term) return;
                       OnFenced(index, round, status);
                     });
  }
}

void BlockManager::OnFenced(NodeIndex index, uint64_t round, const Status& status) {
  Datanode& node = *registry_.At(index);
  if (node.fence_round != round)
    return;  // it has registered anew since, or another order has failed
  node.fencing = false;
  if (!status.ok()) {
    LogWarning("datanode {:016x} does not acknowledge term {}: {}", node.id.value, term_,
               status.ToString());
    return;  // again at the next tick
  }
  node.fenced_term = term_;
  node.order_uncertain = false;
  Kick();
}

}  // namespace dfs::nn
