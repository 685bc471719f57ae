// ReadStream: answers one open_read. Sends as much as the connection takes and goes on when it takes more.
// Confined to the connection's executor.
#pragma once

#include <memory>
#include <vector>

#include "common/idl/idl_fwd.h"
#include "datanode/transfer/stream_io.h"

namespace dfs::dn {

class ReadStream : public Stream {
 public:
  ReadStream(StreamContext& context, StreamIo& io, uint64_t stream);
  ~ReadStream() override;

  void Open(const idl::OpenReadStreamRequest& request);
  void OnPacket(const wire::Packet& packet, const Buffer& payload) override;
  void OnWritable() override { SendSome(); }
  void Abort() override;
  bool done() const override { return done_; }

 private:
  /// Finds the replica and how far it may be read.
  Status Admit(const idl::OpenReadStreamRequest& request);
  Status AdmitOpen(const ReplicaInfo& info);
  std::shared_ptr<File> FileToPass(const idl::OpenReadStreamRequest& request);
  void SendSome();
  Status SendData();
  Status SendSums();
  void End(const Status& why);
  void MarkDone();

  StreamContext& context_;
  StreamIo* io_;  // null once aborted
  const uint64_t stream_;
  ReplicaPtr replica_;
  std::shared_ptr<const void> pin_;
  ReplicaInfo info_;
  uint64_t limit_ = 0;  // of what may be seen
  uint64_t next_ = 0;   // a chunk boundary
  uint64_t end_ = 0;
  uint64_t sent_ = 0;
  uint64_t seq_ = 0;
  bool sums_only_ = false;
  bool open_block_ = false;
  bool done_ = false;
};

}  // namespace dfs::dn
