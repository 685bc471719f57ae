// ChainStream: runs a ChainWriter over connections. One object is one stream (one stamp, one member list);
// after a fault its owner makes the next one. Confined to the pool's executor; owned by shared_ptr.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/executor.h"
#include "common/wire/chain_writer.h"
#include "common/wire/stream_connection.h"

namespace dfs::wire {

struct ChainTarget {
  uint64_t block = 0;
  /// What every member is known to have taken on at least; 0: a new block. Members of an open block may have
  /// taken on different ones, when a chain broke while it was being opened.
  uint64_t old_stamp = 0;
  uint64_t stamp = 0;
  uint64_t length = 0;          // committed
  std::vector<Member> members;  // in chain order, at least one
  std::string token;
  uint64_t session = 0;
  uint64_t inode = 0;
  bool is_copy = false;
  uint64_t cut_stamp = 0;  // from WritableBlock
  uint64_t cut_length = 0;
};

class ChainStream final : public std::enable_shared_from_this<ChainStream>,
                          private StreamConnection::User {
 public:
  /// on_progress: acknowledgements came or the writer has a fault; look at the writer. Never called
  /// from within a call of this object by its owner, and not after Detach(). writer must live until
  /// Detach() or the destruction of this.
  static std::shared_ptr<ChainStream> Open(Executor& executor, std::shared_ptr<StreamPool> pool,
                                           ChainWriter& writer, ChainTarget target,
                                           std::function<void()> on_progress);
  ~ChainStream() override;

  /// Sends what the writer lets go; call after every ChainWriter::Add.
  void Pump();
  /// The stream is over for its owner: a stream that ended by LAST gives its connection back, any other
  /// closes it.
  void Detach();
  /// Every member accepted: all have the stamp.
  bool open() const { return open_; }

  static constexpr int64_t kConnectTimeoutNs = 3 * kSecond;
  /// Data is sent along with the opening request only on a connection that was alive this lately.
  static constexpr int64_t kTrustIdleNs = 2 * kSecond;

 private:
  ChainStream(Executor& executor, std::shared_ptr<StreamPool> pool, ChainWriter& writer,
              ChainTarget target, std::function<void()> on_progress);
  void Connect(bool fresh_only);
  void OnConnected(Result<StreamConnectionPtr> connection);
  void SendOpen();
  void OnStreamFrame(const rpc::FrameHeader& header, Buffer payload) override;
  void OnStreamClosed(const Status& why) override;
  void OnStreamWritable() override { Pump(); }
  void OnPacket(const Buffer& payload);
  void ArmTimer();
  void OnTimer();
  void Progress();

  Executor& executor_;
  std::shared_ptr<StreamPool> pool_;
  ChainWriter* writer_;
  const ChainTarget target_;
  std::function<void()> on_progress_;
  StreamConnectionPtr connection_;
  uint64_t stream_ = 0;
  bool open_ = false;      // the first member accepted
  bool may_send_ = false;  // data may follow
  bool reused_ = false;    // a kept connection that has not answered yet
  bool data_sent_ = false;
  bool last_sent_ = false;
  bool last_chance_ = false;  // the time-out passed; one more look at the socket before the blame
  bool pumping_ = false;
  Executor::TimerId timer_ = 0;
};

}  // namespace dfs::wire
