// Message authentication: HMAC-SHA256 and keys derived from the cluster key. Thread-safe functions.
#pragma once

#include <string>
#include <string_view>

namespace dfs {

inline constexpr size_t kKeySize = 32;
inline constexpr size_t kMacSize = 32;

/// 32 bytes. An empty key is a bug of the caller and aborts.
std::string HmacSha256(std::string_view key, std::string_view message);
/// A key for one purpose, so that what one part signs means nothing to another.
std::string DeriveKey(std::string_view key, std::string_view purpose);
/// Takes the same time wherever they differ; false when lengths differ.
bool ConstantTimeEqual(std::string_view a, std::string_view b);

}  // namespace dfs
