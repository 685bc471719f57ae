#include "common/wire/stream_connection.h"

#include <fmt/format.h>

namespace dfs::wire {

StreamConnection::StreamConnection(rpc::ConnectionPtr connection, std::string key)
    : connection_(std::move(connection)), key_(std::move(key)) {
  connection_->Start(this);
}

StreamConnection::~StreamConnection() {
  Close();
}

void StreamConnection::Close() {
  user_ = nullptr;
  if (closed_) return;
  closed_ = true;
  connection_->Close();
}

void StreamConnection::OnFrame(const rpc::FrameHeader& header, Buffer payload) {
  if (user_ == nullptr) {
    Close();
    return;
  }
  user_->OnStreamFrame(header, std::move(payload));
}

void StreamConnection::OnClosed(const Status& why) {
  closed_ = true;
  User* user = user_;
  user_ = nullptr;
  if (user != nullptr) user->OnStreamClosed(why);
}

void StreamConnection::OnWritable() {
  if (user_ != nullptr) user_->OnStreamWritable();
}

std::shared_ptr<StreamPool> StreamPool::Create(rpc::Network& network, std::string local_host_id) {
  return std::shared_ptr<StreamPool>(new StreamPool(network, std::move(local_host_id)));
}

StreamPool::StreamPool(rpc::Network& network, std::string local_host_id)
    : network_(network), local_host_id_(std::move(local_host_id)) {}

StreamPool::~StreamPool() = default;

bool StreamPool::IsLocal(const Member& member) const {
  return !local_host_id_.empty() && member.host_id == local_host_id_;
}

void StreamPool::DropOld(std::deque<StreamConnectionPtr>* idle) {
  const int64_t now = network_.executor().clock().BootNs();
  while (!idle->empty() &&
         (idle->front()->closed() || now - idle->front()->idle_since_ns > kMaxIdleNs)) {
    idle->pop_front();
  }
  while (!idle->empty() && idle->back()->closed()) idle->pop_back();
}

void StreamPool::Get(const Member& member, int64_t timeout_ns, int64_t max_idle_ns, GetDone done) {
  if (closed_) {
    done(Status(Code::kClosed, "the client was closed"));
    return;
  }
  const bool by_unix = IsLocal(member) && !member.unix_address.empty();
  const std::string& key = by_unix ? member.unix_address : member.tcp_address;
  if (auto it = idle_.find(key); it != idle_.end()) {
    DropOld(&it->second);
    const int64_t now = network_.executor().clock().BootNs();
    if (!it->second.empty() && now - it->second.back()->idle_since_ns <= max_idle_ns) {
      // The youngest: it is the least likely to have been closed by the other side.
      StreamConnectionPtr connection = std::move(it->second.back());
      it->second.pop_back();
      done(std::move(connection));
      return;
    }
    if (it->second.empty()) idle_.erase(it);
  }
  Connect(member, by_unix, timeout_ns, std::move(done));
}

void StreamPool::Connect(const Member& member, bool by_unix, int64_t timeout_ns, GetDone done) {
  const std::string& text = by_unix ? member.unix_address : member.tcp_address;
  Result<rpc::Address> address = rpc::Address::Parse(text);
  if (!address) {
    done(address.error().WithContext(fmt::format("datanode {:016x}", member.datanode)));
    return;
  }
  rpc::ConnectOptions options;
  options.timeout_ns = timeout_ns;
  network_.Connect(*address, options,
                   [weak = weak_from_this(), member, by_unix, timeout_ns, text,
                    done = std::move(done)](Result<rpc::ConnectionPtr> connection) mutable {
                     auto self = weak.lock();
                     if (!self || self->closed_) {
                       done(Status(Code::kClosed, "the client was closed"));
                     } else if (connection) {
                       done(std::make_shared<StreamConnection>(std::move(*connection), text));
                     } else if (by_unix && !member.tcp_address.empty() &&
                                !connection.error().Is(Code::kTimedOut)) {
                       // Another container of this host may not see the socket's path.
                       self->Connect(member, false, timeout_ns, std::move(done));
                     } else {
                       done(connection.error());
                     }
                   });
}

void StreamPool::Release(StreamConnectionPtr connection) {
  if (connection == nullptr || connection->closed()) return;
  connection->SetUser(nullptr);
  connection->connection().PauseReading(false);
  if (closed_) return;
  std::deque<StreamConnectionPtr>& idle = idle_[connection->key()];
  DropOld(&idle);
  if (idle.size() >= kMaxIdlePerMember) idle.pop_front();
  connection->idle_since_ns = network_.executor().clock().BootNs();
  idle.push_back(std::move(connection));
}

void StreamPool::CloseAll() {
  closed_ = true;
  idle_.clear();
}

}  // namespace dfs::wire
