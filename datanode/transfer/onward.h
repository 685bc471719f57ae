// Onward: the connection to the next member of a chain. One stream at a time; kept between streams, since
// making a connection costs more than a small block. Confined to its executor.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/rpc/transport.h"
#include "common/wire/packet.h"

namespace dfs::dn {

class Onward : private rpc::Connection::Handler, public std::enable_shared_from_this<Onward> {
 public:
  /// What the current stream hears of. None is called from within Open or Send, except on_closed when the
  /// connection broke under a Send.
  struct Events {
    std::function<void(Result<Buffer>)> on_reply;  // to the open
    std::function<void(const wire::PacketHeader&)> on_ack;
    std::function<void(const Status&)> on_closed;
    std::function<void()> on_writable;
  };

  explicit Onward(rpc::ConnectionPtr connection);
  ~Onward() override;

  /// Begins a stream: sends the open request.
  void Open(Buffer request, Events events);
  void Send(std::vector<Buffer> parts);
  /// The stream has ended well; what still comes of it is ignored.
  void Release();
  void Close();
  bool closed() const { return connection_ == nullptr; }
  bool busy() const { return busy_; }
  /// It has carried a stream before, so the other side may have gone without our knowing yet.
  bool used() const { return stream_ > 1; }
  bool writable() const {
    return connection_ == nullptr || connection_->queued_bytes() < connection_->send_window();
  }

 private:
  friend class OnwardPool;
  void OnFrame(const rpc::FrameHeader& header, Buffer payload) override;
  void OnClosed(const Status& why) override;
  void OnWritable() override;

  rpc::ConnectionPtr connection_;
  Events events_;
  uint64_t stream_ = 0;
  bool busy_ = false;
};

/// The onward connections of one connection's streams.
class OnwardPool {
 public:
  explicit OnwardPool(rpc::Network& network) : network_(network) {}
  ~OnwardPool();
  using Ready = UniqueFunction<void(Result<std::shared_ptr<Onward>>)>;
  /// A kept idle connection (then ready is called at once), unless fresh; or a new one.
  void Get(const rpc::Address& address, int64_t timeout_ns, bool fresh, Ready ready);

 private:
  static constexpr size_t kMaxKept = 4;
  rpc::Network& network_;
  std::map<std::string, std::shared_ptr<Onward>> kept_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dfs::dn
