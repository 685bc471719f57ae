// The commands of `dfs bench`.
#pragma once

#include <string>
#include <vector>

namespace dfs::bench {

int RunBench(const std::vector<std::string>& arguments);

}  // namespace dfs::bench
