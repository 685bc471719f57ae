// The lines of an export of the namespace (docs/operations.md, "Backup"): JSON, one object a line, schema
// dfs.export/1; kinds header, then directory, file, symlink, ..., hardlink, then end.
#pragma once

#include <dfs/client.h>

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace dfs::cli {

inline constexpr std::string_view kExportSchema = "dfs.export/1";

nlohmann::json ExportHeaderAsJson(const ExportInfo& info, int64_t now_ns);
nlohmann::json ExportedAsJson(const ExportedEntry& entry);
nlohmann::json ExportEndAsJson(uint64_t entries);

struct ImportLine {
  enum class Kind { kHeader, kEntry, kEnd };
  Kind kind = Kind::kEntry;
  uint64_t entries = 0;  // of an end
  ExportedEntry entry;
  bool in_blocks = false;  // a file whose content is not in the export
};
/// kInvalidArgument: it is no such line, and why.
Result<ImportLine> ParseImportLine(std::string_view line);

}  // namespace dfs::cli
