#include "common/rpc/peer.h"

#include <algorithm>
#include <utility>

#include "common/base/logging.h"
#include "common/idl/codec.h"
#include "dfs_types.h"

namespace dfs::rpc {

namespace {
constexpr int kOverloadRetryMs = 50;

bool IsKnownCode(int code) {
  return code > 0 && code <= UINT16_MAX &&
         CodeName(static_cast<Code>(code)) != CodeName(static_cast<Code>(UINT16_MAX));
}
}  // namespace

// ---- Errors ----

Buffer EncodeError(const Status& error) {
  idl::DfsError e;
  e.__set_code(static_cast<int32_t>(error.code()));
  e.__set_message(error.message());
  e.__set_posix_errno(error.posix_errno());
  e.__set_retry_after_ms(error.retry_after_ms());
  e.__set_leader_hint(error.leader_hint());
  return idl::Encode(e);
}

Status DecodeError(std::string_view payload) {
  idl::DfsError e;
  DFS_RETURN_IF_ERROR(idl::Decode(payload, &e));
  // A later version may have codes that this one does not know.
  Code code = IsKnownCode(e.code) ? static_cast<Code>(e.code) : Code::kInternal;
  Status status(code, std::move(e.message));
  if (e.retry_after_ms > 0) status = status.WithRetryAfter(e.retry_after_ms);
  if (!e.leader_hint.empty()) status = status.WithLeaderHint(std::move(e.leader_hint));
  return status;
}

// ---- Answering ----

class RpcPeer::ResponderImpl final : public Responder {
 public:
  ResponderImpl(std::weak_ptr<RpcPeer> peer, uint64_t request_id, size_t request_bytes)
      : peer_(std::move(peer)), request_id_(request_id), request_bytes_(request_bytes) {}
  ~ResponderImpl() override {
    if (!answered_) Fail(Status(Code::kInternal, "the request was dropped without an answer"));
  }

  void Send(Buffer payload, uint64_t applied_index) override {
    if (payload.size() > kMaxPayload) {
      Fail(Status(Code::kInternal, "the reply is too large"));
      return;
    }
    Answer(FrameType::kReply, std::move(payload), applied_index);
  }
  void Fail(const Status& error) override {
    Status sent = error.ok() ? Status(Code::kInternal, "failed without an error") : error;
    Answer(FrameType::kError, EncodeError(sent), 0);
  }

 private:
  void Answer(FrameType type, Buffer payload, uint64_t applied_index) {
    if (std::exchange(answered_, true)) return;
    std::shared_ptr<RpcPeer> peer = peer_.lock();
    if (peer == nullptr || peer->closed_) return;
    --peer->incoming_in_flight_;
    peer->incoming_bytes_ -= request_bytes_;
    FrameHeader header;
    header.type = type;
    header.request_id = request_id_;
    header.applied_index = applied_index;
    peer->connection_->Send(header, std::move(payload));
  }

  std::weak_ptr<RpcPeer> peer_;
  uint64_t request_id_;
  size_t request_bytes_;
  bool answered_ = false;
};

// ---- RpcPeer ----

std::shared_ptr<RpcPeer> RpcPeer::Create(ConnectionPtr connection, RequestHandler* handler) {
  std::shared_ptr<RpcPeer> peer(new RpcPeer(std::move(connection), handler));
  peer->connection_->Start(peer.get());
  return peer;
}

RpcPeer::RpcPeer(ConnectionPtr connection, RequestHandler* handler)
    : connection_(std::move(connection)),
      handler_(handler),
      clock_(connection_->executor().clock()) {}

RpcPeer::~RpcPeer() {
  if (!closed_) {
    closed_ = true;
    connection_->Close();
    FailAll(Status(Code::kClosed, "connection was closed"));
  }
}

void RpcPeer::Close() {
  if (closed_) return;
  closed_ = true;
  std::shared_ptr<RpcPeer> self = shared_from_this();
  connection_->Close();
  FailAll(Status(Code::kClosed, "connection was closed"));
}

void RpcPeer::Call(Method method, Buffer request, int64_t timeout_ns, ReplyCallback done,
                   uint64_t min_applied_index) {
  Status refused;
  if (closed_) {
    refused = Status(Code::kClosed, "connection is closed");
  } else if (pending_.size() >= kMaxInFlight) {
    refused =
        Status(Code::kOverloaded, "too many calls in flight").WithRetryAfter(kOverloadRetryMs);
  } else if (request.size() > kMaxPayload) {
    refused = Status(Code::kInvalidArgument, "the request is too large");
  } else if (identity().plain_thrift) {
    refused = Status(Code::kNotSupported, "a plain Thrift client takes no requests");
  }
  if (!refused.ok()) {
    // As every other answer it comes later: callers need not expect to be called back from within
    // Call().
    connection_->executor().Post([done = std::move(done), refused]() mutable { done(refused); });
    return;
  }
  FrameHeader header;
  header.type = FrameType::kRequest;
  header.method = method;
  header.request_id = next_request_id_++;
  header.applied_index = min_applied_index;
  Pending pending;
  pending.done = std::move(done);
  if (timeout_ns > 0) {
    header.timeout_ms = static_cast<uint32_t>(
        std::clamp<int64_t>((timeout_ns + kMillisecond - 1) / kMillisecond, 1, UINT32_MAX));
    int64_t now_ns = clock_.BootNs();
    pending.deadline_ns = timeout_ns > INT64_MAX - now_ns ? INT64_MAX : now_ns + timeout_ns;
    ArmDeadlines(pending.deadline_ns);
  }
  pending_.emplace(header.request_id, std::move(pending));
  connection_->Send(header, std::move(request));
}

void RpcPeer::OneWay(Method method, Buffer message) {
  if (closed_ || message.size() > kMaxPayload) return;
  FrameHeader header;
  header.type = FrameType::kOneWay;
  header.method = method;
  connection_->Send(header, std::move(message));
}

void RpcPeer::SendPacket(uint64_t stream, uint32_t flags, std::vector<Buffer> parts) {
  if (closed_) return;
  FrameHeader header;
  header.type = FrameType::kPacket;
  header.request_id = stream;
  header.flags = flags;
  connection_->Send(header, std::move(parts));
}

// One timer a connection, set to the earliest deadline it has seen. Most calls end long before
// theirs, so when it fires it usually finds a later one and is set to that: a call costs no timer
// of its own.
void RpcPeer::ArmDeadlines(int64_t deadline_ns) {
  if (timer_ != 0 && timer_deadline_ns_ <= deadline_ns) return;
  Executor& executor = connection_->executor();
  executor.Cancel(timer_);
  timer_deadline_ns_ = deadline_ns;
  timer_ = executor.RunAfter(deadline_ns - clock_.BootNs(), [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->ExpireCalls();
  });
}

void RpcPeer::ExpireCalls() {
  timer_ = 0;
  int64_t now_ns = clock_.BootNs();
  int64_t next_ns = INT64_MAX;
  std::vector<uint64_t> expired;
  for (const auto& [id, call] : pending_) {
    if (call.deadline_ns == 0) continue;
    if (call.deadline_ns <= now_ns) {
      expired.push_back(id);
    } else {
      next_ns = std::min(next_ns, call.deadline_ns);
    }
  }
  if (next_ns != INT64_MAX) ArmDeadlines(next_ns);
  std::sort(expired.begin(),
            expired.end());  // not in the hash table's order, which differs between libraries
  for (uint64_t id : expired) {
    FinishCall(id, Status(Code::kTimedOut, "no answer from " + identity().address + " in time"));
  }
}

void RpcPeer::OnFrame(const FrameHeader& header, Buffer payload) {
  std::shared_ptr<RpcPeer> self =
      shared_from_this();  // callbacks may drop the last other reference
  switch (header.type) {
    case FrameType::kReply: {
      Reply reply;
      reply.payload = std::move(payload);
      reply.applied_index = header.applied_index;
      FinishCall(header.request_id, std::move(reply));
      return;
    }
    case FrameType::kError: {
      Status error = DecodeError(payload.view());
      FinishCall(header.request_id,
                 error.ok() ? Status(Code::kProtocol, "error without a code") : error);
      return;
    }
    case FrameType::kRequest:
    case FrameType::kOneWay:
      HandleIncoming(header, std::move(payload));
      return;
    case FrameType::kPacket:
      if (handler_ != nullptr) handler_->HandlePacket(*this, header, std::move(payload));
      return;
  }
}

void RpcPeer::HandleIncoming(const FrameHeader& header, Buffer payload) {
  ResponderPtr responder;
  if (header.type == FrameType::kRequest) {
    size_t bytes = payload.size();
    ++incoming_in_flight_;
    incoming_bytes_ += bytes;
    responder = std::make_unique<ResponderImpl>(weak_from_this(), header.request_id, bytes);
    if (incoming_in_flight_ > kMaxInFlight || incoming_bytes_ > kMaxIncomingBytes) {
      responder->Fail(Status(Code::kOverloaded, "too many requests in flight")
                          .WithRetryAfter(kOverloadRetryMs));
      return;
    }
    if (handler_ == nullptr) {
      responder->Fail(Status(Code::kNotSupported, "this side takes no requests"));
      return;
    }
  }
  if (handler_ == nullptr) return;
  CallContext context;
  context.peer = &identity();
  context.connection = weak_from_this();
  if (header.timeout_ms != 0)
    context.deadline_ns = clock_.BootNs() + header.timeout_ms * kMillisecond;
  context.min_applied_index = header.applied_index;
  handler_->HandleRequest(header.method, std::move(payload), context, std::move(responder));
}

void RpcPeer::FinishCall(uint64_t request_id, Result<Reply> result) {
  auto it = pending_.find(request_id);
  if (it == pending_.end()) return;  // it came after its deadline
  ReplyCallback done = std::move(it->second.done);
  pending_.erase(it);
  done(std::move(result));
}

void RpcPeer::FailAll(const Status& why) {
  connection_->executor().Cancel(std::exchange(timer_, 0));
  std::unordered_map<uint64_t, Pending> failed;
  failed.swap(pending_);
  std::vector<uint64_t> ids;
  for (const auto& entry : failed) ids.push_back(entry.first);
  std::sort(ids.begin(), ids.end());
  for (uint64_t id : ids) failed[id].done(why);
}

void RpcPeer::OnClosed(const Status& why) {
  if (closed_) return;
  closed_ = true;
  std::shared_ptr<RpcPeer> self = shared_from_this();
  Status reason = why;
  FailAll(Status(Code::kClosed, reason.message()));
  if (handler_ != nullptr) handler_->HandleDisconnect(*this, reason);
  if (on_closed) {
    std::function<void(const Status&)> call = std::move(on_closed);
    on_closed = nullptr;
    call(reason);
  }
}

void RpcPeer::OnWritable() {
  std::shared_ptr<RpcPeer> self = shared_from_this();
  if (on_writable) {
    std::function<void()> call = on_writable;  // it may replace itself
    call();
  }
}

}  // namespace dfs::rpc
