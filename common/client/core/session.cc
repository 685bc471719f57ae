#include "common/client/core/session.h"

#include <algorithm>

#include "common/client/core/leases.h"
#include "common/idl/codec.h"
#include "common/idl/methods.h"
#include "dfs_types.h"

namespace dfs::client {

std::shared_ptr<Session> Session::Create(Executor& executor, std::shared_ptr<NamenodeLink> link,
                                         Random random, std::string client_name,
                                         int64_t timeout_ns) {
  return std::shared_ptr<Session>(
      new Session(executor, std::move(link), random, std::move(client_name), timeout_ns));
}

Session::Session(Executor& executor, std::shared_ptr<NamenodeLink> link, Random random,
                 std::string client_name, int64_t timeout_ns)
    : executor_(executor),
      link_(std::move(link)),
      random_(random),
      client_name_(std::move(client_name)),
      timeout_ns_(timeout_ns) {}

Session::~Session() {
  if (timer_ != 0) executor_.Cancel(timer_);
}

void Session::Ensure(IdDone done) {
  if (closed_) {
    done(Status(Code::kClosed, "the client was closed"));
  } else if (id_ != 0) {
    done(id_);
  } else {
    waiting_ids_.push_back(std::move(done));
    Open();
  }
}

void Session::Open() {
  if (opening_) return;
  opening_ = true;
  idl::OpenSessionRequest request;
  request.client_name = client_name_;
  for (int i = 0; i < 2; ++i) {
    const uint64_t word = random_.Next();
    request.secret.append(reinterpret_cast<const char*>(&word), sizeof(word));
  }
  // The nonce makes a repeated request the same session.
  request.nonce = static_cast<int64_t>(random_.Next() >> 1);
  request.caches = leases_ != nullptr && leases_->enabled();
  link_->Call(idl::kOpenSession, idl::Encode(request), executor_.clock().BootNs() + timeout_ns_,
              [weak = weak_from_this()](Result<rpc::Reply> reply) {
                if (auto self = weak.lock()) self->OnOpened(std::move(reply));
              });
}

void Session::OnOpened(Result<rpc::Reply> reply) {
  opening_ = false;
  Status status = reply.status();
  idl::OpenSessionReply opened;
  if (status.ok()) status = idl::Decode(reply->payload.view(), &opened);
  if (status.ok() && closed_) status = Status(Code::kClosed, "the client was closed");
  std::deque<IdDone> ids = std::move(waiting_ids_);
  waiting_ids_.clear();
  if (!status.ok()) {
    std::deque<Waiting> failed = std::move(waiting_);
    waiting_.clear();
    status = status.WithContext("open a session");
    for (IdDone& done : ids) done(status);
    for (Waiting& change : failed) change.done(status);
    return;
  }
  id_ = static_cast<uint64_t>(opened.session);
  incarnation_ = static_cast<uint64_t>(opened.incarnation);
  expiry_ns_ = std::max<int64_t>(opened.expiry_ms, 1000) * kMillisecond;
  next_sequence_ = 1;
  outstanding_.clear();
  ScheduleKeepAlive();
  if (leases_ != nullptr && leases_->enabled()) SendKeepAlive();  // its term begins with it
  if (observer_) observer_();
  for (IdDone& done : ids) done(id_);
  SendWaiting();
}

void Session::Submit(rpc::Method method, uint64_t scope, int64_t deadline_ns, EncodeRequest encode,
                     rpc::ReplyCallback done) {
  if (closed_) {
    done(Status(Code::kClosed, "the client was closed"));
    return;
  }
  if (scope != 0 && scope != id_) {
    done(Status(Code::kUnknownSession, "the session that opened the file has expired"));
    return;
  }
  Waiting change{method, scope, deadline_ns, std::move(encode), std::move(done)};
  if (id_ == 0) {
    waiting_.push_back(std::move(change));
    Open();
    return;
  }
  if (!waiting_.empty()) {
    waiting_.push_back(std::move(change));
    SendWaiting();
    return;
  }
  Send(std::move(change));
}

void Session::Send(Waiting change) {
  const uint64_t oldest = outstanding_.empty() ? next_sequence_ : *outstanding_.begin();
  if (next_sequence_ - oldest >= kMaxInFlight) {
    waiting_.push_front(std::move(change));
    return;
  }
  OpHeader op;
  op.session = id_;
  op.incarnation = incarnation_;
  op.sequence = next_sequence_++;
  outstanding_.insert(op.sequence);
  op.first_outstanding = *outstanding_.begin();
  link_->Call(change.method, change.encode(op), change.deadline_ns,
              [weak = weak_from_this(), session = id_, sequence = op.sequence,
               done = std::move(change.done)](Result<rpc::Reply> reply) mutable {
                auto self = weak.lock();
                if (self) {
                  self->OnReply(session, sequence, std::move(done), std::move(reply));
                } else {
                  done(std::move(reply));
                }
              });
}

void Session::OnReply(uint64_t session, uint64_t sequence, rpc::ReplyCallback done,
                      Result<rpc::Reply> reply) {
  if (session == id_) outstanding_.erase(sequence);
  if (!reply.ok() &&
      (reply.error().Is(Code::kUnknownSession) || reply.error().Is(Code::kStaleIncarnation))) {
    Lost(session, reply.error());
  }
  done(std::move(reply));
  SendWaiting();
}

void Session::SendWaiting() {
  while (id_ != 0 && !waiting_.empty()) {
    Waiting change = std::move(waiting_.front());
    waiting_.pop_front();
    if (change.scope != 0 && change.scope != id_) {
      change.done(Status(Code::kUnknownSession, "the session that opened the file has expired"));
      continue;
    }
    const size_t before = waiting_.size();
    Send(std::move(change));
    if (waiting_.size() > before) return;  // the window is full
  }
}

void Session::ScheduleKeepAlive() {
  if (timer_ != 0 || closed_ || id_ == 0) return;
  timer_ = executor_.RunAfter(kKeepAliveNs, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->timer_ = 0;
    self->SendKeepAlive();
    self->ScheduleKeepAlive();
  });
}

void Session::SendKeepAlive() {
  if (id_ == 0 || keep_alive_in_flight_) return;
  idl::KeepAliveRequest request;
  request.session = static_cast<int64_t>(id_);
  request.incarnation = static_cast<int64_t>(incarnation_);
  request.holds_state = !open_inodes_.empty();
  for (const auto& [inode, count] : open_inodes_) {
    request.open_inodes.push_back(static_cast<int64_t>(inode));
  }
  if (leases_ != nullptr) leases_->AddReturned(&request.returned);
  keep_alive_in_flight_ = true;
  keep_alive_wanted_ = false;
  const int64_t now = executor_.clock().BootNs();
  link_->Call(idl::kKeepAlive, idl::Encode(request), now + expiry_ns_,
              [weak = weak_from_this(), session = id_, now](Result<rpc::Reply> reply) {
                if (auto self = weak.lock()) self->OnKeptAlive(session, now, std::move(reply));
              });
}

void Session::OnKeptAlive(uint64_t session, int64_t sent_ns, Result<rpc::Reply> reply) {
  keep_alive_in_flight_ = false;
  idl::KeepAliveReply kept;
  if (!reply.ok()) {
    if (reply.error().Is(Code::kUnknownSession) || reply.error().Is(Code::kStaleIncarnation)) {
      Lost(session, reply.error());
    }
  } else if (leases_ != nullptr && session == id_ &&
             idl::Decode(reply->payload.view(), &kept).ok()) {
    leases_->OnKeptAlive(kept, sent_ns);
  }
  if (keep_alive_wanted_) SendKeepAlive();
}

void Session::KeepAliveNow() {
  keep_alive_wanted_ = true;
  if (!keep_alive_in_flight_) SendKeepAlive();
}

void Session::Lost(uint64_t session, const Status& why) {
  (void)why;
  if (session != id_) return;
  id_ = 0;
  outstanding_.clear();
  if (timer_ != 0) executor_.Cancel(std::exchange(timer_, 0));
  if (leases_ != nullptr) leases_->OnSessionLost();
  if (observer_) observer_();
  if (!waiting_.empty() && !closed_) Open();
}

void Session::AddOpenInode(uint64_t inode) {
  ++open_inodes_[inode];
}

bool Session::RemoveOpenInode(uint64_t inode) {
  auto it = open_inodes_.find(inode);
  if (it == open_inodes_.end()) return false;
  if (--it->second > 0) return true;
  open_inodes_.erase(it);
  return false;
}

void Session::Close() {
  if (closed_) return;
  closed_ = true;
  if (timer_ != 0) executor_.Cancel(std::exchange(timer_, 0));
  std::deque<Waiting> waiting = std::move(waiting_);
  waiting_.clear();
  const Status closed(Code::kClosed, "the client was closed");
  for (Waiting& change : waiting) change.done(closed);
  if (id_ != 0) {
    idl::CloseSessionRequest request;
    request.session = static_cast<int64_t>(id_);
    request.incarnation = static_cast<int64_t>(incarnation_);
    link_->Tell(idl::kCloseSession, idl::Encode(request));
    id_ = 0;
  }
  if (observer_) observer_();
}

}  // namespace dfs::client
