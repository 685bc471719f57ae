#include "common/idl/codec.h"

#include <thrift/protocol/TCompactProtocol.h>
#include <thrift/transport/TBufferTransports.h>

#include "common/idl/methods.h"
#include "dfs_types.h"

namespace dfs::idl {

namespace {
using apache::thrift::TConfiguration;
using apache::thrift::transport::TMemoryBuffer;
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
  try {
    static const auto config = std::make_shared<TConfiguration>(kMaxMessage, kMaxMessage, kMaxDepth);
    auto memory = std::make_shared<TMemoryBuffer>(
        const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(bytes.data())),
        static_cast<uint32_t>(bytes.size()), TMemoryBuffer::OBSERVE, config);
    Protocol protocol(memory, static_cast<int32_t>(bytes.size()), kMaxContainer);
    message->read(&protocol);
    return Status();
  } catch (const std::exception& e) {
    return Status(Code::kProtocol, std::string("malformed message: ") + e.what());
  }
}

// Requests and replies; a struct used by several methods is instantiated once, in the list below.
#define DFS_INSTANTIATE(T)                 \
  template Buffer Encode<T>(const T&);     \
  template Status Decode<T>(std::string_view, T*);
#include "common/idl/codec_types.inc"
#undef DFS_INSTANTIATE

}  // namespace dfs::idl
