// From a Reader to standard output.
#pragma once

#include <dfs/client.h>

namespace dfs::cli {

/// From the reader's position to the end. Ends the process quietly when nobody reads any more.
Status CopyToStdout(Reader& reader);

}  // namespace dfs::cli
