#include "namenode/blocks/placement.h"

#include <algorithm>

namespace dfs::nn {

namespace {

/// A node's class: lower is better. Within a class racks and hosts decide, then load and space.
int ClassOf(const PlacementNode& n, uint64_t block_bytes) {
  if (n.state == NodeState::kStale) return n.available_bytes >= block_bytes ? 1 : 3;
  return n.available_bytes >= block_bytes ? 0 : 2;
}

bool Contains(const std::vector<NodeIndex>& list, NodeIndex node) {
  return std::find(list.begin(), list.end(), node) != list.end();
}

/// Less load first (each stream weighs as much as 10% of free space), then more free space.
double Score(const PlacementNode& n) {
  double free = n.capacity_bytes == 0 ? 0
                                      : static_cast<double>(n.available_bytes) /
                                            static_cast<double>(n.capacity_bytes);
  return free - 0.1 * n.load;
}

class Chooser {
 public:
  Chooser(std::span<const PlacementNode> nodes, const PlacementRequest& request, Random& random)
      : request_(request), random_(random) {
    for (const PlacementNode& n : nodes) {
      if (Contains(request.existing, n.node)) {
        placed_.push_back(&n);
      } else if (n.state != NodeState::kDead && n.available_bytes > 0 && n.takes_new &&
                 !Contains(request.exclude, n.node)) {
        candidates_.push_back(&n);
      }
    }
  }

  std::vector<NodeIndex> Run() {
    std::vector<NodeIndex> out;
    while (request_.existing.size() + out.size() < request_.replicas && !candidates_.empty()) {
      const PlacementNode* chosen = Next();
      out.push_back(chosen->node);
      placed_.push_back(chosen);
      std::erase(candidates_, chosen);
    }
    return out;
  }

 private:
  /// How badly the node fits as the next replica: class, then rack rule, then host.
  int Misfit(const PlacementNode& n) const {
    int misfit = 100 * ClassOf(n, request_.block_bytes);
    if (placed_.empty()) {
      return misfit + (!request_.writer_host.empty() && n.host_id != request_.writer_host ? 1 : 0);
    }
    bool host_taken = false;
    size_t same_rack = 0;
    for (const PlacementNode* p : placed_) {
      host_taken = host_taken || p->host_id == n.host_id;
      same_rack += p->rack == n.rack ? 1 : 0;
    }
    misfit += host_taken ? 10 : 0;
    if (placed_.size() == 1) {
      misfit += same_rack > 0 ? 20 : 0;  // the second: another rack
    } else if (placed_.size() == 2) {
      // The third shares a rack with the second, unless the first two already share one.
      bool together = placed_[0]->rack == placed_[1]->rack;
      bool fits = together ? same_rack == 0 : n.rack == placed_[1]->rack;
      misfit += fits ? 0 : 5;
    } else {
      misfit += same_rack > placed_.size() / 2 ? 5 : 0;
    }
    return misfit;
  }

  const PlacementNode* Next() {
    int best = Misfit(*candidates_[0]);
    for (const PlacementNode* c : candidates_) best = std::min(best, Misfit(*c));
    std::vector<const PlacementNode*> fit;
    for (const PlacementNode* c : candidates_) {
      if (Misfit(*c) == best) fit.push_back(c);
    }
    // Two random ones, the better: spreads load without herding on the emptiest node.
    const PlacementNode* a = fit[random_.Uniform(fit.size())];
    const PlacementNode* b = fit[random_.Uniform(fit.size())];
    return Score(*a) >= Score(*b) ? a : b;
  }

  const PlacementRequest& request_;
  Random& random_;
  std::vector<const PlacementNode*> candidates_;
  std::vector<const PlacementNode*> placed_;
};

}  // namespace

std::vector<NodeIndex> ChooseTargets(std::span<const PlacementNode> nodes,
                                     const PlacementRequest& request, Random& random) {
  return Chooser(nodes, request, random).Run();
}

void OrderForReading(std::span<const PlacementNode> nodes, std::string_view reader_host,
                     Random& random, std::vector<NodeIndex>* replicas) {
  if (replicas->size() < 2) return;
  std::string_view reader_rack;
  for (const PlacementNode& n : nodes) {
    if (!reader_host.empty() && n.host_id == reader_host) reader_rack = n.rack;
  }
  struct Ranked {
    uint64_t rank;
    NodeIndex node;
  };
  std::vector<Ranked> ranked;
  ranked.reserve(replicas->size());
  for (NodeIndex r : *replicas) {
    uint64_t rank = uint64_t{9} << 40;
    for (const PlacementNode& n : nodes) {
      if (n.node != r) continue;
      uint64_t distance = !reader_host.empty() && n.host_id == reader_host ? 0
                          : !reader_rack.empty() && n.rack == reader_rack  ? 1
                                                                           : 2;
      uint64_t away = n.state == NodeState::kLive ? 0 : n.state == NodeState::kStale ? 3 : 6;
      if (away == 0 && !n.takes_new) away = 2;
      // Among equals the load decides in steps of four, then chance, so that readers spread.
      rank = (away + distance) << 40 | uint64_t{std::min<uint32_t>(n.load / 4, 255)} << 20;
      break;
    }
    ranked.push_back({rank | random.Uniform(1 << 20), r});
  }
  std::sort(ranked.begin(), ranked.end(),
            [](const Ranked& a, const Ranked& b) { return a.rank < b.rank; });
  for (size_t i = 0; i < ranked.size(); ++i) (*replicas)[i] = ranked[i].node;
}

}  // namespace dfs::nn
