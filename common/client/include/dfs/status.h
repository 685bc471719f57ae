// dfs::Status and dfs::Result<T>. Inside the source tree this forwards to the one definition; the
// installed package has that definition itself under this name.
#pragma once

#include "common/base/status.h"
