// From a Reader to standard output.
#pragma once

#include <dfs/client.h>

namespace dfs::cli {

/// From the reader's position to the end. An error of EPIPE: nobody reads any more.
Status CopyToStdout(Reader& reader);

}  // namespace dfs::cli
