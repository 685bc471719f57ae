#include "common/auth/block_token.h"

#include "common/auth/mac.h"
#include "common/base/checksum.h"
#include "common/base/codec.h"

namespace dfs {

namespace {
constexpr uint8_t kTokenVersion = 1;
constexpr size_t kFieldsSize = 1 + 4 + 8 + 8 + 1 + 8 + 8;

/// Names a key without telling it. Never 0, which means unsigned.
uint32_t KeyId(std::string_view token_key) {
  std::string derived = DeriveKey(token_key, "dfs token key id");
  return static_cast<uint32_t>(Hash64(derived)) | 1u;
}
}  // namespace

std::string TokenKeyFromClusterKey(std::string_view cluster_key) {
  return cluster_key.empty() ? std::string() : DeriveKey(cluster_key, "dfs block tokens 1");
}

std::string SignToken(const BlockToken& token, std::string_view token_key) {
  std::string out;
  out.reserve(kFieldsSize + kMacSize);
  Encoder e(&out);
  e.U8(kTokenVersion);
  e.U32(token_key.empty() ? 0 : KeyId(token_key));
  e.Id(token.block);
  e.Id(token.stamp);
  e.U8(static_cast<uint8_t>(token.mode));
  e.Id(token.session);
  e.I64(token.expiry_wall_ms);
  if (!token_key.empty()) out += HmacSha256(token_key, out);
  return out;
}

Result<BlockToken> VerifyToken(std::string_view bytes, std::string_view token_key,
                               int64_t now_wall_ms) {
  Decoder d(bytes);
  BlockToken token;
  uint8_t version = d.U8();
  token.key_id = d.U32();
  token.block = d.Id<BlockId>();
  token.stamp = d.Id<Stamp>();
  uint8_t mode = d.U8();
  token.session = d.Id<SessionId>();
  token.expiry_wall_ms = d.I64();
  if (!d.ok() || version != kTokenVersion || mode < 1 || mode > 2) {
    return Status(Code::kProtocol, "malformed block token");
  }
  token.mode = static_cast<BlockToken::Mode>(mode);
  std::string_view mac = d.rest();
  if (!token_key.empty()) {
    if (token.key_id == 0) return Status(Code::kUnauthenticated, "block token is not signed");
    std::string expected = HmacSha256(token_key, bytes.substr(0, kFieldsSize));
    if (!ConstantTimeEqual(mac, expected)) {
      return Status(Code::kUnauthenticated, token.key_id == KeyId(token_key)
                                                ? "block token has a wrong signature"
                                                : "block token was signed with another key");
    }
  } else if (mac.size() != (token.key_id == 0 ? 0 : kMacSize)) {
    return Status(Code::kProtocol, "malformed block token");
  }
  if (token.expiry_wall_ms < now_wall_ms - kTokenSkewMs) {
    return Status(Code::kUnauthenticated, "block token has expired");
  }
  return token;
}

Status CheckToken(const BlockToken& token, BlockId block, Stamp stamp, BlockToken::Mode wanted) {
  if (token.block != block) return Status(Code::kUnauthenticated, "token is for another block");
  if (token.stamp != stamp) return Status(Code::kUnauthenticated, "token is for another stamp");
  if (wanted == BlockToken::Mode::kWrite && token.mode != BlockToken::Mode::kWrite) {
    return Status(Code::kUnauthenticated, "token does not allow writing");
  }
  return Status();
}

}  // namespace dfs
