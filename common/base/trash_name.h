// Names in the trash. What a user removes becomes /.Trash/UID/ENTRY/PATH, where PATH is where it was and ENTRY says
// when it was removed and how many names PATH has: "20261130T201700.123456789Z-2". So nothing but names has to be
// kept of it, and a rename brings it back. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dfs {

inline constexpr std::string_view kTrashName = ".Trash";  // in the root
inline constexpr std::string_view kTrashPath = "/.Trash";

struct TrashEntry {
  int64_t removed_ns = 0;  // since the epoch
  size_t depth = 0;        // names in the path it had
};

/// No ':' in it, which Hadoop's paths cannot have; the order of names is the order of times.
std::string TrashEntryName(const TrashEntry& entry);
/// False for a name that is none.
bool ParseTrashEntryName(std::string_view name, TrashEntry* entry);

/// Whether an absolute path without "." and ".." is the trash, or lies in it.
bool IsInTrash(std::string_view path);

}  // namespace dfs
