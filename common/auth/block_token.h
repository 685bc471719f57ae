// Block tokens: the leader's word to datanodes that this session may read or write this block under
// this stamp. Signed when the cluster has a key; otherwise the same fields travel unsigned, so that
// a datanode still refuses what does not fit, but trusts its network (--insecure, Unix sockets).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/ids.h"
#include "common/base/status.h"

namespace dfs {

struct BlockToken {
  enum class Mode : uint8_t { kRead = 1, kWrite = 2 };  // a write token also reads

  BlockId block;
  Stamp stamp;
  Mode mode = Mode::kRead;
  SessionId session;           // 0: of nobody's session (re-replication, readers without one)
  int64_t expiry_wall_ms = 0;  // of the leader's wall clock
  uint32_t key_id = 0;         // of the key that signed, 0 unsigned; set by SignToken
};

/// Clocks of leader and datanode may differ by this much.
inline constexpr int64_t kTokenSkewMs = 5 * 60 * 1000;

/// The key that signs tokens, from the cluster key; "" gives "". The namenode hands it to datanodes
/// as they register.
std::string TokenKeyFromClusterKey(std::string_view cluster_key);

/// The bytes that travel. token_key "" leaves them unsigned.
std::string SignToken(const BlockToken& token, std::string_view token_key);

/// Decodes and verifies signature and expiry. With a token_key an unsigned or wrongly signed token
/// is kUnauthenticated; without one signatures are not looked at. kProtocol when malformed.
Result<BlockToken> VerifyToken(std::string_view bytes, std::string_view token_key,
                               int64_t now_wall_ms);

/// kUnauthenticated unless a verified token is for this block and mode, and for this stamp.
Status CheckToken(const BlockToken& token, BlockId block, Stamp stamp, BlockToken::Mode wanted);

}  // namespace dfs
