// The commands of `dfs dev`.
#pragma once

#include <string>
#include <vector>

namespace dfs::dev {

int RunDev(const std::vector<std::string>& arguments);

}  // namespace dfs::dev
