// What is wrong with a cluster, from its status. A pure function.
#pragma once

#include <dfs/types.h>

#include <string>
#include <vector>

namespace dfs::cli {

struct Finding {
  bool is_error = false;  // data is out of reach; otherwise a warning
  std::string text;
};
/// Empty: healthy.
std::vector<Finding> Examine(const ClusterStatus& status, const std::vector<MemberAnswer>& members);

}  // namespace dfs::cli
