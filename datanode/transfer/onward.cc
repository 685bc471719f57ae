#include "datanode/transfer/onward.h"

#include <utility>

#include "common/idl/methods.h"
#include "common/rpc/peer.h"

namespace dfs::dn {

Onward::Onward(rpc::ConnectionPtr connection) : connection_(std::move(connection)) {
  connection_->Start(this);
}

Onward::~Onward() {
  if (connection_) connection_->Close();
}

void Onward::Open(Buffer request, Events events) {
  events_ = std::move(events);
  busy_ = true;
  stream_++;
  if (!connection_) return;
  rpc::FrameHeader header;
  header.type = rpc::FrameType::kRequest;
  header.method = idl::kOpenWriteStream;
  header.request_id = stream_;
  connection_->Send(header, std::move(request));
}

void Onward::Send(std::vector<Buffer> parts) {
  if (!connection_) return;
  rpc::FrameHeader header;
  header.type = rpc::FrameType::kPacket;
  header.request_id = stream_;
  connection_->Send(header, std::move(parts));
}

void Onward::Release() {
  busy_ = false;
  events_ = Events();
}

void Onward::Close() {
  events_ = Events();
  busy_ = false;
  if (connection_) {
    connection_->Close();
    connection_ = nullptr;
  }
}

void Onward::OnFrame(const rpc::FrameHeader& header, Buffer payload) {
  const auto self = shared_from_this();  // an event may drop the last reference
  if (!busy_ || header.request_id != stream_) return;
  // Copied, since an event may replace them.
  if (header.type == rpc::FrameType::kReply) {
    if (auto f = events_.on_reply) f(std::move(payload));
  } else if (header.type == rpc::FrameType::kError) {
    if (auto f = events_.on_reply) f(rpc::DecodeError(payload.view()));
  } else if (header.type == rpc::FrameType::kPacket) {
    auto packet = wire::ParsePacket(payload);
    if (!packet || packet->header.kind != wire::PacketKind::kAck) {
      auto f = events_.on_closed;
      Close();
      if (f) f(packet ? Status(Code::kProtocol, "not an ack") : packet.error());
      return;
    }
    if (auto f = events_.on_ack) f(packet->header);
  }
}

void Onward::OnClosed(const Status& why) {
  const auto self = shared_from_this();
  auto f = std::move(events_.on_closed);
  events_ = Events();
  busy_ = false;
  // Released by its own executor, after this last call.
  std::shared_ptr<rpc::Connection> last(std::move(connection_));
  last->executor().Post([last] {});
  if (f) f(why);
}

void Onward::OnWritable() {
  const auto self = shared_from_this();
  if (auto f = events_.on_writable) f();
}

OnwardPool::~OnwardPool() {
  *alive_ = false;
  for (auto& [address, onward] : kept_) onward->Close();
}

void OnwardPool::Get(const rpc::Address& address, int64_t timeout_ns, bool fresh, Ready ready) {
  const std::string name = address.ToString();
  auto it = kept_.find(name);
  if (it != kept_.end()) {
    if (!fresh && !it->second->closed() && !it->second->busy()) {
      ready(it->second);
      return;
    }
    if (it->second->closed()) kept_.erase(it);
  }
  rpc::ConnectOptions options;
  options.timeout_ns = timeout_ns;
  network_.Connect(address, options,
                   [this, alive = std::weak_ptr<bool>(alive_), name,
                    ready = std::move(ready)](Result<rpc::ConnectionPtr> connection) mutable {
                     if (!connection) return ready(connection.error());
                     auto onward = std::make_shared<Onward>(std::move(*connection));
                     if (alive.expired()) return onward->Close();
                     if (kept_.size() >= kMaxKept) {
                       for (auto old = kept_.begin(); old != kept_.end(); ++old) {
                         if (old->second->busy()) continue;
                         old->second->Close();
                         kept_.erase(old);
                         break;
                       }
                     }
                     kept_[name] = onward;
                     ready(std::move(onward));
                   });
}

}  // namespace dfs::dn
