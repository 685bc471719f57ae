// What there is to say of a cluster, and what is wrong with it, from its status. Pure functions.
#pragma once

#include <dfs/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dfs::cli {

struct Finding {
  bool is_error = false;  // data is out of reach; otherwise a warning
  std::string text;
};
/// For people, as `dfs status` prints it.
std::string StatusText(const ClusterStatus& status, const std::vector<MemberAnswer>& members,
                       const std::vector<Finding>& findings);
/// Of a datanode that is not in service: "decommissioning (12 blocks left)"; otherwise "".
std::string ServiceText(const DatanodeInfo& datanode);
/// Until the copies that are to be made are made, as fast as lately; nothing when none were.
std::optional<int64_t> RepairSecondsLeft(const ClusterStatus& status);
/// By how far a wall clock is off, either way.
enum class ClockVerdict { kGood, kOff, kTokensFail };
ClockVerdict JudgeClock(int64_t off_by_ms);
/// Empty: healthy.
std::vector<Finding> Examine(const ClusterStatus& status, const std::vector<MemberAnswer>& members);

}  // namespace dfs::cli
