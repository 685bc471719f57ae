#include "common/raft/types.h"

namespace dfs::raft {

std::vector<NodeId> Configuration::All() const {
  std::vector<NodeId> all = voters;
  all.insert(all.end(), old_voters.begin(), old_voters.end());
  all.insert(all.end(), learners.begin(), learners.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

const char* RoleName(Role role) {
  switch (role) {
    case Role::kFollower:
      return "follower";
    case Role::kPreCandidate:
      return "pre-candidate";
    case Role::kCandidate:
      return "candidate";
    case Role::kLeader:
      return "leader";
  }
  return "?";
}

}  // namespace dfs::raft
