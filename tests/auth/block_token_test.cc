#include "common/auth/block_token.h"

#include <gtest/gtest.h>

#include "common/auth/mac.h"
#include "common/base/random.h"

namespace dfs {
namespace {

const std::string kClusterKey(kKeySize, 'k');
constexpr int64_t kNow = 1'800'000'000'000;

BlockToken Token() {
  BlockToken token;
  token.block = BlockId(1234567890123);
  token.stamp = Stamp(77);
  token.mode = BlockToken::Mode::kWrite;
  token.session = SessionId(5);
  token.expiry_wall_ms = kNow + 1000;
  return token;
}

TEST(Mac, KnownVectors) {
  // RFC 4231, test case 2.
  std::string mac = HmacSha256("Jefe", "what do ya want for nothing?");
  std::string hex;
  for (unsigned char c : mac) {
    char digits[3];
    snprintf(digits, sizeof(digits), "%02x", c);
    hex += digits;
  }
  EXPECT_EQ(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_NE(DeriveKey(kClusterKey, "a"), DeriveKey(kClusterKey, "b"));
  EXPECT_TRUE(ConstantTimeEqual("abc", "abc"));
  EXPECT_FALSE(ConstantTimeEqual("abc", "abd"));
  EXPECT_FALSE(ConstantTimeEqual("abc", "ab"));
}

TEST(BlockToken, SignedRoundTrip) {
  std::string key = TokenKeyFromClusterKey(kClusterKey);
  Result<BlockToken> read = VerifyToken(SignToken(Token(), key), key, kNow);
  ASSERT_TRUE(read) << read.error().ToString();
  EXPECT_EQ(read->block, Token().block);
  EXPECT_EQ(read->stamp, Token().stamp);
  EXPECT_EQ(read->mode, Token().mode);
  EXPECT_EQ(read->session, Token().session);
  EXPECT_EQ(read->expiry_wall_ms, Token().expiry_wall_ms);
  EXPECT_NE(read->key_id, 0u);
}

TEST(BlockToken, UnsignedWhereThereIsNoKey) {
  EXPECT_EQ(TokenKeyFromClusterKey(""), "");
  Result<BlockToken> read = VerifyToken(SignToken(Token(), ""), "", kNow);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->key_id, 0u);
  EXPECT_EQ(read->block, Token().block);
  // But not where there is one.
  std::string key = TokenKeyFromClusterKey(kClusterKey);
  EXPECT_EQ(VerifyToken(SignToken(Token(), ""), key, kNow).error().code(), Code::kUnauthenticated);
  // A signed one is read without a key, too: it says no less.
  EXPECT_TRUE(VerifyToken(SignToken(Token(), key), "", kNow));
}

TEST(BlockToken, NothingInItCanBeChanged) {
  std::string key = TokenKeyFromClusterKey(kClusterKey);
  std::string good = SignToken(Token(), key);
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(VerifyToken(bad, key, kNow)) << "bit " << bit;
  }
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(VerifyToken(good.substr(0, size), key, kNow));
  EXPECT_FALSE(VerifyToken(good + "x", key, kNow));
  std::string other = TokenKeyFromClusterKey(std::string(kKeySize, 'o'));
  EXPECT_EQ(VerifyToken(good, other, kNow).error().code(), Code::kUnauthenticated);
}

TEST(BlockToken, ExpiresAfterTheSkew) {
  std::string key = TokenKeyFromClusterKey(kClusterKey);
  std::string bytes = SignToken(Token(), key);
  int64_t expiry = Token().expiry_wall_ms;
  EXPECT_TRUE(VerifyToken(bytes, key, expiry + kTokenSkewMs));
  EXPECT_EQ(VerifyToken(bytes, key, expiry + kTokenSkewMs + 1).error().code(),
            Code::kUnauthenticated);
  BlockToken absurd = Token();
  absurd.expiry_wall_ms = INT64_MIN;
  EXPECT_FALSE(VerifyToken(SignToken(absurd, ""), "", kNow));
}

TEST(BlockToken, ChecksBlockStampAndMode) {
  using Mode = BlockToken::Mode;
  BlockToken token = Token();
  EXPECT_TRUE(CheckToken(token, token.block, token.stamp, Mode::kWrite).ok());
  EXPECT_TRUE(CheckToken(token, token.block, token.stamp, Mode::kRead).ok());
  EXPECT_FALSE(CheckToken(token, BlockId(1), token.stamp, Mode::kRead).ok());
  EXPECT_FALSE(CheckToken(token, token.block, Stamp(78), Mode::kRead).ok());
  token.mode = Mode::kRead;
  EXPECT_FALSE(CheckToken(token, token.block, token.stamp, Mode::kWrite).ok());
}

TEST(BlockToken, RandomBytesAreMalformed) {
  Random random(3);
  for (int i = 0; i < 5000; ++i) {
    std::string bytes(random.Uniform(90), '\0');
    for (char& c : bytes) c = static_cast<char>(random.Next());
    EXPECT_FALSE(VerifyToken(bytes, TokenKeyFromClusterKey(kClusterKey), kNow));
  }
}

}  // namespace
}  // namespace dfs
