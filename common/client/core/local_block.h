// LocalBlock: a closed block that has a replica on this host, read from the block file itself, whose descriptor
// the datanode passed, and verified against the writer's sums that came with it. What does not match is
// never returned, and says nothing of the replica: the block may be overwritten meanwhile. Whoever reads goes on
// with a stream then, where the datanode looks again.
//
// Immutable and thread-safe; LocalBlockFetch, which gets one, is confined to the core's executor.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/base/env.h"
#include "common/client/core/block_reader.h"

namespace dfs::client {

class LocalBlock {
 public:
  /// Sums of the chunks from begin (a chunk boundary) on. The block's bytes end at end, the replica's, which the sum of
  /// the last chunk covers, at replica_length.
  LocalBlock(std::shared_ptr<const File> file, uint64_t begin, uint64_t end,
             uint64_t replica_length, std::vector<uint64_t> sums);

  uint64_t begin() const { return begin_; }
  uint64_t end() const { return end_; }
  /// Verified bytes from offset, in [begin, end), on: min(size, end - offset) of them, or kCorrupt, kIoError.
  Result<size_t> ReadAt(uint64_t offset, char* out, size_t size) const;

 private:
  /// Whole chunks, or up to the end of the replica.
  Status ReadChunks(uint64_t offset, char* out, size_t size) const;

  const std::shared_ptr<const File> file_;
  const uint64_t begin_;
  const uint64_t end_;
  const uint64_t replica_length_;
  const std::vector<uint64_t> sums_;
};
using LocalBlockPtr = std::shared_ptr<const LocalBlock>;

/// Owned by shared_ptr; dropping it cancels.
class LocalBlockFetch final : public std::enable_shared_from_this<LocalBlockFetch>,
                              private wire::StreamConnection::User {
 public:
  /// A replica that can be asked; null: none is on this host.
  static const wire::Member* LocalReplica(ClientCore& core, const BlockPlace& place);
  /// From the chunk of offset to the end of the place. done is never called from within Start.
  static std::shared_ptr<LocalBlockFetch> Start(std::shared_ptr<ClientCore> core, BlockPlace place,
                                                uint64_t offset, Done<LocalBlockPtr> done);
  ~LocalBlockFetch() override;

 private:
  LocalBlockFetch(std::shared_ptr<ClientCore> core, BlockPlace place, uint64_t offset,
                  Done<LocalBlockPtr> done);
  void Connect();
  void OnConnected(Result<wire::StreamConnectionPtr> connection);
  void OnStreamFrame(const rpc::FrameHeader& header, Buffer payload) override;
  void OnStreamClosed(const Status& why) override;
  Status OnReply(const Buffer& payload);
  Status OnPacket(const Buffer& payload);
  void Fail(const Status& why, bool slow);
  void Finish(Result<LocalBlockPtr> result, bool reusable);

  const std::shared_ptr<ClientCore> core_;
  const BlockPlace place_;
  const uint64_t begin_;
  Done<LocalBlockPtr> done_;
  wire::Member replica_;
  wire::StreamConnectionPtr connection_;
  uint64_t stream_ = 0;
  Executor::TimerId timer_ = 0;
  std::shared_ptr<File> file_;
  uint64_t replica_length_ = 0;
  std::vector<uint64_t> sums_;
};

}  // namespace dfs::client
