// The cluster key's file: 64 hexadecimal digits, readable by its owner only.
#pragma once

#include <string>

#include "common/base/status.h"

namespace dfs {

/// The 32 bytes. kNotFound; kAccessDenied when group or others may touch the file (the message says
/// which chmod helps) or somebody else (not root, not this user) owns it and this is not
/// root; kCorrupt when it is not a
/// key.
Result<std::string> LoadKeyFile(const std::string& path);
/// Makes a new random key in a new file of mode 0600, synced with its directory. kAlreadyExists
/// rather than overwriting one.
Result<std::string> CreateKeyFile(const std::string& path);
/// Loads the file, or creates it when there is none; safe when several processes start at once.
Result<std::string> LoadOrCreateKeyFile(const std::string& path);

}  // namespace dfs
