// Little-endian binary encoding for everything of ours that is stored or replicated: log records,
// commands, state values, sidecars, Raft messages. Thrift is for RPC only.
// The Decoder never reads past its input and latches the first error, so a sequence of reads is
// checked once at the end with ok().
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "common/base/ids.h"

namespace dfs {

class Encoder {
 public:
  explicit Encoder(std::string* out) : out_(out) {}

  void U8(uint8_t v) { out_->push_back(static_cast<char>(v)); }
  void U16(uint16_t v) { Fixed(v); }
  void U32(uint32_t v) { Fixed(v); }
  void U64(uint64_t v) { Fixed(v); }
  void I64(int64_t v) { Fixed(static_cast<uint64_t>(v)); }
  void Bool(bool v) { U8(v ? 1 : 0); }
  void Varint(uint64_t v);
  /// Varint length, then the bytes.
  void Bytes(std::string_view v) {
    Varint(v.size());
    out_->append(v);
  }
  void Raw(std::string_view v) { out_->append(v); }
  template <class Tag, class Rep>
  void Id(StrongId<Tag, Rep> id) {
    Fixed(id.value);
  }

 private:
  template <class T>
  void Fixed(T v) {
    char b[sizeof(T)];
    std::memcpy(b, &v, sizeof(T));  // all supported machines are little-endian (checked in codec.cc)
    out_->append(b, sizeof(T));
  }
  std::string* out_;
};

class Decoder {
 public:
  explicit Decoder(std::string_view in) : in_(in) {}

  uint8_t U8() { return Fixed<uint8_t>(); }
  uint16_t U16() { return Fixed<uint16_t>(); }
  uint32_t U32() { return Fixed<uint32_t>(); }
  uint64_t U64() { return Fixed<uint64_t>(); }
  int64_t I64() { return static_cast<int64_t>(Fixed<uint64_t>()); }
  bool Bool() { return U8() != 0; }
  uint64_t Varint();
  /// The view points into the input.
  std::string_view Bytes();
  std::string_view Raw(size_t size);
  template <class IdType>
  IdType Id() {
    return IdType(Fixed<typename IdType::rep>());
  }
  /// A varint count of elements that take at least min_bytes each: fails when more are claimed than fit.
  size_t Count(size_t min_bytes);

  bool ok() const { return ok_; }
  bool empty() const { return in_.empty(); }
  std::string_view rest() const { return in_; }
  /// Read completely and without error.
  bool done() const { return ok_ && in_.empty(); }
  void Fail() {
    ok_ = false;
    in_ = {};
  }

 private:
  template <class T>
  T Fixed() {
    T v{};
    if (in_.size() < sizeof(T)) {
      Fail();
      return v;
    }
    std::memcpy(&v, in_.data(), sizeof(T));
    in_.remove_prefix(sizeof(T));
    return v;
  }
  std::string_view in_;
  bool ok_ = true;
};

/// Big-endian integers, for keys that must sort by number.
void AppendBigEndian64(std::string* out, uint64_t v);
uint64_t ReadBigEndian64(const char* p);

}  // namespace dfs
