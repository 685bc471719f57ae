#include "common/raft/quorum.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "common/base/random.h"

namespace dfs::raft {
namespace {

/// By definition: the largest value v such that the members with at least v are a majority of each set.
uint64_t NaiveValue(const Configuration& c, const std::map<NodeId, uint64_t>& values) {
  uint64_t best = 0;
  std::set<uint64_t> candidates = {0};
  for (auto& [id, v] : values) candidates.insert(v);
  for (uint64_t v : candidates) {
    bool all = true;
    for (const auto* set : {&c.voters, &c.old_voters}) {
      if (set->empty()) continue;
      size_t n = 0;
      for (NodeId id : *set) n += values.at(id) >= v;
      all = all && n * 2 > set->size();
    }
    if (all) best = v;
  }
  return best;
}

Configuration RandomConfiguration(Random* random) {
  Configuration c;
  for (auto* set : {&c.voters, &c.old_voters, &c.learners}) {
    for (uint64_t id = 1; id <= 7; ++id) {
      if (random->OneIn(2)) set->push_back(NodeId(id));
    }
  }
  if (random->OneIn(2)) c.old_voters.clear();
  if (c.voters.empty()) c.voters.push_back(NodeId(1));
  return c;
}

TEST(QuorumTest, EqualsTheNaiveModel) {
  Random random(42);
  for (int i = 0; i < 20'000; ++i) {
    Configuration c = RandomConfiguration(&random);
    std::map<NodeId, uint64_t> values;
    for (uint64_t id = 1; id <= 7; ++id) values[NodeId(id)] = random.Uniform(6);
    ASSERT_EQ(QuorumValue<uint64_t>(c, [&](NodeId id) { return values[id]; }),
              NaiveValue(c, values));
  }
}

TEST(QuorumTest, VotesEqualTheNaiveModel) {
  Random random(43);
  for (int i = 0; i < 20'000; ++i) {
    Configuration c = RandomConfiguration(&random);
    std::map<NodeId, std::optional<bool>> votes;
    for (uint64_t id = 1; id <= 7; ++id) {
      uint64_t r = random.Uniform(3);
      if (r < 2) votes[NodeId(id)] = r == 1;
    }
    bool won = true;
    bool lost = false;
    for (const auto* set : {&c.voters, &c.old_voters}) {
      if (set->empty()) continue;
      size_t yes = 0;
      size_t possible = 0;
      for (NodeId id : *set) {
        auto v = votes.contains(id) ? votes[id] : std::nullopt;
        yes += v && *v;
        possible += !v || *v;
      }
      won = won && yes * 2 > set->size();
      lost = lost || possible * 2 <= set->size();
    }
    VoteOutcome expected = lost  ? VoteOutcome::kLost
                           : won ? VoteOutcome::kWon
                                 : VoteOutcome::kPending;
    ASSERT_EQ(CountVotes(c, [&](NodeId id) { return votes[id]; }), expected);
  }
}

TEST(QuorumTest, LearnersCountNowhere) {
  Configuration c;
  c.voters = {NodeId(1), NodeId(2), NodeId(3)};
  c.learners = {NodeId(4), NodeId(5)};
  EXPECT_EQ(QuorumValue<uint64_t>(c, [](NodeId id) { return id.value > 3 ? 100u : 1u; }), 1u);
  EXPECT_FALSE(c.IsVoter(NodeId(4)));
  EXPECT_TRUE(c.Contains(NodeId(4)));
  EXPECT_EQ(c.All().size(), 5u);
}

}  // namespace
}  // namespace dfs::raft
