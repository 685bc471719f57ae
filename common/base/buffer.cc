#include "common/base/buffer.h"

#include <cassert>
#include <cstring>

namespace dfs {

Buffer::Buffer(std::string bytes) {
  auto owned = std::make_shared<const std::string>(std::move(bytes));
  data_ = owned->data();
  size_ = owned->size();
  owner_ = std::move(owned);
}

Buffer Buffer::Copy(std::string_view bytes) {
  std::shared_ptr<char[]> owned = std::make_shared_for_overwrite<char[]>(bytes.size());
  if (!bytes.empty()) std::memcpy(owned.get(), bytes.data(), bytes.size());
  return Wrap(owned, owned.get(), bytes.size());
}

Buffer Buffer::Wrap(std::shared_ptr<const void> owner, const char* data, size_t size) {
  Buffer b;
  b.owner_ = std::move(owner);
  b.data_ = data;
  b.size_ = size;
  return b;
}

Buffer Buffer::Slice(size_t offset, size_t size) const {
  assert(offset <= size_ && size <= size_ - offset);
  return Wrap(owner_, data_ + offset, size);
}

}  // namespace dfs
