// JSON of the API's values. Fields are only ever added. Names that are not UTF-8 appear as
// <field>_b64 instead.
#pragma once

#include <dfs/types.h>

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace dfs::cli {

void SetName(nlohmann::json* object, const std::string& field, std::string_view name);
nlohmann::json StatusAsJson(const FileStatus& status);
nlohmann::json ClusterAsJson(const ClusterStatus& status);
/// One line on stdout.
void PrintJson(const nlohmann::json& value);
std::string ErrorAsJson(std::string_view action, std::string_view object, const Status& why,
                        std::string_view hint);

}  // namespace dfs::cli
