// What write and read streams share with the connection they live on.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/base/buffer.h"
#include "common/base/executor.h"
#include "common/base/status.h"
#include "common/rpc/transport.h"
#include "common/wire/packet.h"
#include "datanode/transfer/stream_server.h"

namespace dfs::dn {

class OnwardPool;

/// The sending side of one stream on a connection; confined to the connection's executor. Sending after
/// the connection closed has no effect.
class StreamIo {
 public:
  virtual ~StreamIo() = default;
  virtual void Reply(uint64_t stream, Buffer payload) = 0;
  /// With an open file, if the connection can.
  virtual void ReplyWithFile(uint64_t stream, Buffer payload, std::shared_ptr<File> file) = 0;
  virtual bool passes_files() const = 0;
  virtual void ReplyError(uint64_t stream, const Status& error) = 0;
  virtual void SendPacket(uint64_t stream, std::vector<Buffer> parts) = 0;
  /// Bulk data may be queued.
  virtual bool writable() const = 0;
  virtual void PauseReading(bool paused) = 0;
  virtual Executor& executor() = 0;
  /// Connections to next members, kept for the connection's later streams.
  virtual OnwardPool& onward() = 0;
};

/// One stream, from its open to its end.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void OnPacket(const wire::Packet& packet, const Buffer& payload) = 0;
  virtual void OnWritable() {}
  /// The connection is gone or another stream was opened on it: no more is sent.
  virtual void Abort() = 0;
  virtual bool done() const = 0;
};

/// Checks the token of a stream open.
Status CheckStreamToken(const StreamContext& context, const std::string& token, uint64_t block,
                        uint64_t stamp, bool write);

}  // namespace dfs::dn
