#include "datanode/store/replica_state.h"

#include <gtest/gtest.h>

#include <map>
#include <utility>

namespace dfs::dn {
namespace {

using S = ReplicaState;
using E = ReplicaEvent;

// The table of docs/blocks.md, written down once more: what is not in it is refused.
TEST(ReplicaStateTest, TheTable) {
  const std::map<std::pair<S, E>, S> table = {
      {{S::kNone, E::kCreate}, S::kRbw},
      {{S::kNone, E::kCreateCopy}, S::kTemporary},
      {{S::kFinalized, E::kOpenForWrite}, S::kRbw},
      {{S::kFinalized, E::kInitRecovery}, S::kRur},
      {{S::kFinalized, E::kRestart}, S::kFinalized},
      {{S::kFinalized, E::kIoError}, S::kRwr},
      {{S::kFinalized, E::kDelete}, S::kNone},
      {{S::kRbw, E::kOpenForWrite}, S::kRbw},
      {{S::kRbw, E::kWrite}, S::kRbw},
      {{S::kRbw, E::kFinalize}, S::kFinalized},
      {{S::kRbw, E::kInitRecovery}, S::kRur},
      {{S::kRbw, E::kRestart}, S::kRwr},
      {{S::kRbw, E::kIoError}, S::kRwr},
      {{S::kRbw, E::kDelete}, S::kNone},
      {{S::kRwr, E::kInitRecovery}, S::kRur},
      {{S::kRwr, E::kRestart}, S::kRwr},
      {{S::kRwr, E::kDelete}, S::kNone},
      {{S::kRur, E::kInitRecovery}, S::kRur},
      {{S::kRur, E::kWrite}, S::kRur},
      {{S::kRur, E::kFinishRecovery}, S::kFinalized},
      {{S::kRur, E::kRestart}, S::kRwr},
      {{S::kRur, E::kIoError}, S::kRwr},
      {{S::kRur, E::kDelete}, S::kNone},
      {{S::kTemporary, E::kWrite}, S::kTemporary},
      {{S::kTemporary, E::kFinalize}, S::kFinalized},
      {{S::kTemporary, E::kRestart}, S::kNone},
      {{S::kTemporary, E::kIoError}, S::kNone},
      {{S::kTemporary, E::kDelete}, S::kNone},
  };
  for (int s = 0; s <= static_cast<int>(S::kTemporary); s++) {
    for (int e = 0; e <= static_cast<int>(E::kDelete); e++) {
      const auto state = static_cast<S>(s);
      const auto event = static_cast<E>(e);
      const auto it = table.find({state, event});
      const auto next = Next(state, event);
      EXPECT_EQ(next.has_value(), it != table.end())
          << StateName(state) << " / " << EventName(event);
      if (next && it != table.end()) {
        EXPECT_EQ(*next, it->second);
      }
    }
  }
}

}  // namespace
}  // namespace dfs::dn
