#include "common/base/codec.h"

#include <bit>

namespace dfs {

static_assert(std::endian::native == std::endian::little, "stored formats are little-endian");

void Encoder::Varint(uint64_t v) {
  while (v >= 0x80) {
    U8(static_cast<uint8_t>(v) | 0x80);
    v >>= 7;
  }
  U8(static_cast<uint8_t>(v));
}

uint64_t Decoder::Varint() {
  uint64_t v = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    uint8_t b = U8();
    if (!ok_) return 0;
    v |= static_cast<uint64_t>(b & 0x7f) << shift;
    if (b < 0x80) {
      if (shift == 63 && b > 1) break;  // more than 64 bits
      return v;
    }
  }
  Fail();
  return 0;
}

std::string_view Decoder::Raw(size_t size) {
  if (in_.size() < size) {
    Fail();
    return {};
  }
  std::string_view v = in_.substr(0, size);
  in_.remove_prefix(size);
  return v;
}

std::string_view Decoder::Bytes() {
  uint64_t size = Varint();
  if (!ok_ || size > in_.size()) {
    Fail();
    return {};
  }
  return Raw(static_cast<size_t>(size));
}

size_t Decoder::Count(size_t min_bytes) {
  uint64_t n = Varint();
  if (!ok_ || n > in_.size() / (min_bytes == 0 ? 1 : min_bytes)) {
    Fail();
    return 0;
  }
  return static_cast<size_t>(n);
}

void AppendBigEndian64(std::string* out, uint64_t v) {
  char b[8];
  uint64_t be = __builtin_bswap64(v);
  std::memcpy(b, &be, 8);
  out->append(b, 8);
}

uint64_t ReadBigEndian64(const char* p) {
  uint64_t be;
  std::memcpy(&be, p, 8);
  return __builtin_bswap64(be);
}

}  // namespace dfs
