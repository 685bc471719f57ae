#include "common/idl/codec.h"

#include <thrift/protocol/TCompactProtocol.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TVirtualTransport.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "common/idl/methods.h"
#include "dfs_types.h"

namespace dfs::idl {

namespace {
using apache::thrift::TConfiguration;
using apache::thrift::transport::TMemoryBuffer;
using apache::thrift::transport::TTransportException;
using Protocol = apache::thrift::protocol::TCompactProtocolT<TMemoryBuffer>;

constexpr int kMaxMessage = 16 << 20;
constexpr int kMaxDepth = 32;
constexpr int kMaxContainer = 1 << 20;

/// One reusable writer a thread: making a TMemoryBuffer and protocol costs more than small messages.
struct Writer {
  std::shared_ptr<TMemoryBuffer> memory = std::make_shared<TMemoryBuffer>(1024);
  Protocol protocol{memory};
};
Writer& ThreadWriter() {
  thread_local Writer writer;
  return writer;
}

/// Reads from memory that somebody else owns; can be set to the next message, which TMemoryBuffer cannot.
class ViewTransport final : public apache::thrift::transport::TVirtualTransport<ViewTransport> {
 public:
  explicit ViewTransport(const std::shared_ptr<TConfiguration>& config)
      : TVirtualTransport(config) {}

  void Reset(std::string_view bytes) {
    next_ = reinterpret_cast<const uint8_t*>(bytes.data());
    left_ = static_cast<uint32_t>(std::min<size_t>(bytes.size(), UINT32_MAX));
    resetConsumedMessageSize();
    resetConsumedMessageSize(
        static_cast<long>(left_));  // claims beyond it fail before anything is allocated
  }
  bool isOpen() const override { return true; }
  uint32_t read(uint8_t* out, uint32_t size) {
    size = std::min(size, left_);
    std::memcpy(out, next_, size);
    consume(size);
    return size;
  }
  uint32_t readAll(uint8_t* out, uint32_t size) {
    if (size > left_)
      throw TTransportException(TTransportException::END_OF_FILE, "message is cut off");
    return read(out, size);
  }
  void write(const uint8_t*, uint32_t) {
    throw TTransportException(TTransportException::NOT_OPEN, "not for writing");
  }
  const uint8_t* borrow(uint8_t*, uint32_t* size) {
    if (left_ < *size) return nullptr;
    *size = left_;
    return next_;
  }
  void consume(uint32_t size) {
    if (size > left_)
      throw TTransportException(TTransportException::END_OF_FILE, "message is cut off");
    next_ += size;
    left_ -= size;
  }

 private:
  const uint8_t* next_ = nullptr;
  uint32_t left_ = 0;
};

class ReadProtocol final : public apache::thrift::protocol::TCompactProtocolT<ViewTransport> {
 public:
  using TCompactProtocolT::TCompactProtocolT;
  void SetContainerLimit(int32_t limit) { container_limit_ = limit; }
};

/// The reader's half of the same economy.
struct Reader {
  std::shared_ptr<ViewTransport> transport = std::make_shared<ViewTransport>(
      std::make_shared<TConfiguration>(kMaxMessage, kMaxMessage, kMaxDepth));
  ReadProtocol protocol{transport, kMaxMessage, kMaxContainer};
};
constexpr size_t kKeepReaderBelow = 64u << 10;
}  // namespace

template <class T>
Buffer Encode(const T& message) {
  Writer& w = ThreadWriter();
  w.memory->resetBuffer();
  message.write(&w.protocol);
  uint8_t* data = nullptr;
  uint32_t size = 0;
  w.memory->getBuffer(&data, &size);
  Buffer out = Buffer::Copy({reinterpret_cast<const char*>(data), size});
  if (size > (1u << 20)) w.memory->resetBuffer(1024);
  return out;
}

template <class T>
Status Decode(std::string_view bytes, T* message) {
  thread_local std::unique_ptr<Reader> reader;
  if (reader == nullptr) reader = std::make_unique<Reader>();
  try {
    reader->transport->Reset(bytes);
    // Every element takes a byte at least: a short message cannot make us allocate a long list.
    reader->protocol.SetContainerLimit(
        static_cast<int32_t>(std::clamp<size_t>(bytes.size(), 1, kMaxContainer)));
    message->read(&reader->protocol);
    // The protocol keeps the memory of the longest string it has read.
    if (bytes.size() > kKeepReaderBelow) reader = nullptr;
    return Status();
  } catch (const std::exception& e) {
    reader = nullptr;  // it is in the middle of a struct
    return Status(Code::kProtocol, std::string("malformed message: ") + e.what());
  }
}

// Requests and replies; a struct used by several methods is instantiated once, in the list below.
#define DFS_INSTANTIATE(T)             \
  template Buffer Encode<T>(const T&); \
  template Status Decode<T>(std::string_view, T*);
#include "common/idl/codec_types.inc"
#undef DFS_INSTANTIATE

}  // namespace dfs::idl
