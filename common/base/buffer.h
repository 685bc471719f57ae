// Buffer: an immutable, reference-counted slice of bytes. Copying shares; slicing shares.
// Thread-safe to share, as shared_ptr<const T> is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace dfs {

class Buffer {
 public:
  Buffer() = default;
  /// Takes the string over.
  explicit Buffer(std::string bytes);
  /// Copies.
  static Buffer Copy(std::string_view bytes);
  /// Shares memory that owner keeps alive.
  static Buffer Wrap(std::shared_ptr<const void> owner, const char* data, size_t size);

  const char* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::string_view view() const { return {data_, size_}; }
  /// offset + size must be within the buffer.
  Buffer Slice(size_t offset, size_t size) const;

 private:
  std::shared_ptr<const void> owner_;
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace dfs
