// One description of a struct's fields for both directions: a struct has
//   template <class A> void Fields(A& a) { a(one, two); }
// and Writer and Reader below are the A.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "common/base/codec.h"
#include "common/base/ids.h"
#include "namenode/state/records.h"

namespace dfs::nn {

/// In records.cc.
void EncodeInodeAttr(const InodeAttr& attr, Encoder& out);
void DecodeInodeAttr(Decoder& in, InodeAttr* attr);

template <class T>
inline constexpr bool kIsStrongId = false;
template <class Tag, class Rep>
inline constexpr bool kIsStrongId<StrongId<Tag, Rep>> = true;

/// Unsigned numbers and ids are varints, signed ones eight bytes.
class ArchiveWriter {
 public:
  explicit ArchiveWriter(std::string* out) : out_(out) {}

  template <class... T>
  void operator()(const T&... fields) {
    (One(fields), ...);
  }

 private:
  template <class T>
  void One(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      out_.Bool(value);
    } else if constexpr (std::is_enum_v<T>) {
      out_.Varint(static_cast<uint64_t>(value));
    } else if constexpr (std::is_integral_v<T> && std::is_unsigned_v<T>) {
      out_.Varint(value);
    } else if constexpr (std::is_integral_v<T>) {
      out_.I64(value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      out_.Bytes(value);
    } else if constexpr (std::is_same_v<T, InodeAttr>) {
      out_.Varint(value.id.value);
      EncodeInodeAttr(value, out_);
    } else if constexpr (std::is_same_v<T, DatanodeId>) {
      out_.Id(value);  // random, so a varint would only be longer
    } else if constexpr (kIsStrongId<T>) {
      out_.Varint(value.value);
    } else {
      // Fields is one function for both directions, hence not const; this one changes nothing.
      const_cast<T&>(value).Fields(*this);
    }
  }
  template <class T>
  void One(const std::vector<T>& values) {
    out_.Varint(values.size());
    for (const T& value : values) One(value);
  }

  Encoder out_;
};

class ArchiveReader {
 public:
  explicit ArchiveReader(std::string_view in) : in_(in) {}

  template <class... T>
  void operator()(T&... fields) {
    (One(fields), ...);
  }
  Decoder& decoder() { return in_; }
  bool done() const { return in_.done(); }

 private:
  template <class T>
  void One(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      uint8_t byte = in_.U8();
      if (byte > 1) in_.Fail();
      value = byte != 0;
    } else if constexpr (std::is_enum_v<T>) {
      uint64_t number = in_.Varint();
      value = static_cast<T>(number);
      if (static_cast<uint64_t>(value) != number) in_.Fail();
    } else if constexpr (std::is_integral_v<T> && std::is_unsigned_v<T>) {
      uint64_t number = in_.Varint();
      value = static_cast<T>(number);
      if (value != number) in_.Fail();
    } else if constexpr (std::is_integral_v<T>) {
      value = in_.I64();
    } else if constexpr (std::is_same_v<T, std::string>) {
      value = std::string(in_.Bytes());
    } else if constexpr (std::is_same_v<T, InodeAttr>) {
      value.id = InodeId(in_.Varint());
      DecodeInodeAttr(in_, &value);
    } else if constexpr (std::is_same_v<T, DatanodeId>) {
      value = in_.Id<DatanodeId>();
    } else if constexpr (kIsStrongId<T>) {
      value = T(in_.Varint());
    } else {
      value.Fields(*this);
    }
  }
  template <class T>
  void One(std::vector<T>& values) {
    size_t count = in_.Count(1);
    values.clear();
    for (size_t i = 0; i < count && in_.ok(); ++i) One(values.emplace_back());
  }

  Decoder in_;
};

}  // namespace dfs::nn
