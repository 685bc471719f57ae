// What a command changes, in terms of leases: which names, attributes and files other sessions may have cached.
#pragma once

#include <string>
#include <vector>

#include "common/base/ids.h"
#include "namenode/state/commands.h"
#include "namenode/state/reader.h"

namespace dfs::nn {

enum class TouchKind : uint8_t {
  kName,        // one name of the directory `inode`, and that directory's attributes
  kAttributes,  // of the directory `inode`; its names stay as they are
  kInode,       // everything about it
};

/// Stands for directories that do not exist yet, between the name that is touched and the one that will be: while it is
/// touched no directory's names are granted.
inline constexpr InodeId kUnmadeDirectories{};

struct Touch {
  InodeId inode;
  TouchKind kind = TouchKind::kInode;
  std::string name;  // kName
  friend bool operator==(const Touch&, const Touch&) = default;
};

/// By the state as it is now; the caller asks again when it has waited. Empty: nothing that anybody caches.
std::vector<Touch> TouchedBy(const CommandBody& body, StateReader& state);

}  // namespace dfs::nn
