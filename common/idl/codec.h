// Generated structs to bytes and back (Thrift compact protocol). Definitions are instantiated in
// codec.cc for every request and reply of methods.h. Decode bounds sizes, counts and nesting before it
// allocates; on failure it returns kProtocol.
#pragma once

#include <string_view>

#include "common/base/buffer.h"
#include "common/base/status.h"

namespace dfs::idl {

template <class T>
Buffer Encode(const T& message);

template <class T>
Status Decode(std::string_view bytes, T* message);

}  // namespace dfs::idl
