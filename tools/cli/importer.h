// Importing an export of the namespace (export_format.h).
#pragma once

#include <dfs/client.h>

#include <string>

#include "tools/cli/verb.h"

namespace dfs::cli {

struct ImportOptions {
  bool names_only = false;
  bool existing = false;
  bool verbose = false;
};

/// Reads the file three times: to see that it is whole and can be imported, to make what is in it, and to give
/// directories their modes and times when nothing is made in them any more. Reports to the verb.
void RunImport(Verb& verb, const Client& client, const std::string& path, const ImportOptions& o);

}  // namespace dfs::cli
