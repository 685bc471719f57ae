// BlockReader: reads a range of one block, in order, from whichever replica gives it. Verified against the
// writer's sums chunk by chunk; when a replica fails, is silent or is corrupt, the next one continues from
// the byte where it stopped. Confined to the core's executor; owned by shared_ptr.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/client/core/client_core.h"
#include "common/wire/stream_connection.h"

namespace dfs::client {

/// One slot of a file, as the namenode located it. block 0: a hole.
struct BlockPlace {
  uint64_t block = 0;
  uint64_t slot = 0;
  uint64_t offset = 0;  // in the file
  uint64_t length = 0;
  uint64_t stamp = 0;
  int state = 0;  // idl: 1 open, 2 closed, 3 recovering
  uint64_t writer_session = 0;
  std::vector<wire::Member> replicas;
  std::string token;
  bool lost = false;  // idl::LocatedBlock
};

BlockPlace PlaceFromIdl(const idl::LocatedBlock& located);

class BlockReader final : public std::enable_shared_from_this<BlockReader>,
                          private wire::StreamConnection::User {
 public:
  /// Takes the bytes in order; never called after Cancel() or done.
  using Sink = std::function<void(Buffer)>;

  /// [offset, offset + length) of the block, length > 0. done: ok, or why no replica could give the rest
  /// (position() says how far it came); never from within Start.
  static std::shared_ptr<BlockReader> Start(std::shared_ptr<ClientCore> core, BlockPlace place,
                                            uint64_t offset, uint64_t length, Sink sink,
                                            StatusDone done);
  ~BlockReader() override;

  /// No replica is known, and none is waited for.
  bool lost() const { return place_.lost && place_.replicas.empty(); }

  /// Back-pressure: a paused reader takes nothing from its connection.
  void Pause(bool paused);
  void Cancel();
  uint64_t position() const { return position_; }

 private:
  BlockReader(std::shared_ptr<ClientCore> core, BlockPlace place, uint64_t offset, uint64_t length,
              Sink sink, StatusDone done);
  void NextReplica();
  void OnConnected(Result<wire::StreamConnectionPtr> connection);
  void SendOpen();
  void OnStreamFrame(const rpc::FrameHeader& header, Buffer payload) override;
  void OnStreamClosed(const Status& why) override;
  void OnPacket(const Buffer& payload);
  void OnEnd(Code code);
  void TryAnother(const Status& why, bool slow);
  void ReportBad(const Status& why);
  void ArmTimer();
  void OnTimer();
  void DropConnection(bool reusable);
  void Finish(Status status);

  const std::shared_ptr<ClientCore> core_;
  BlockPlace place_;
  uint64_t position_;
  const uint64_t end_;
  Sink sink_;
  StatusDone done_;
  size_t next_replica_ = 0;
  wire::Member replica_;
  wire::StreamConnectionPtr connection_;
  uint64_t stream_ = 0;
  bool reused_ = false;
  bool heard_ = false;
  bool paused_ = false;
  bool last_chance_ = false;
  bool finished_ = false;
  int64_t last_sign_ns_ = 0;
  Executor::TimerId timer_ = 0;
  Status last_error_;
};

}  // namespace dfs::client
