#include "datanode/transfer/stream_server.h"

#include <mutex>
#include <set>
#include <utility>

#include "common/auth/block_token.h"
#include "common/base/logging.h"
#include "common/idl/codec.h"
#include "common/idl/methods.h"
#include "common/rpc/peer.h"
#include "datanode/transfer/onward.h"
#include "datanode/transfer/read_stream.h"
#include "datanode/transfer/write_stream.h"
#include "dfs_types.h"

namespace dfs::dn {

Status CheckStreamToken(const StreamContext& context, const std::string& token, uint64_t block,
                        uint64_t stamp, bool write) {
  // Without a cluster key nothing is signed, and a token adds nothing.
  if (context.token_key.empty() && token.empty()) return Status::Ok();
  DFS_ASSIGN_OR_RETURN(
      const BlockToken verified,
      VerifyToken(token, context.token_key, context.clock.WallNs() / kMillisecond));
  return CheckToken(verified, BlockId(block), Stamp(stamp),
                    write ? BlockToken::Mode::kWrite : BlockToken::Mode::kRead);
}

/// One connection of the block port and the stream on it.
class StreamSession : public rpc::Connection::Handler,
                      public StreamIo,
                      public std::enable_shared_from_this<StreamSession> {
 public:
  StreamSession(StreamContext& context, std::shared_ptr<BlockStreamServer::Sessions> sessions,
                rpc::ConnectionPtr connection, rpc::Network& network)
      : context_(context),
        sessions_(std::move(sessions)),
        connection_(std::move(connection)),
        onward_(network) {}
  ~StreamSession() override { Shut(); }

  void Start() { connection_->Start(this); }
  void Shut() {
    if (stream_) std::exchange(stream_, nullptr)->Abort();
    if (connection_) {
      connection_->Close();
      connection_ = nullptr;
    }
  }

  // ---- StreamIo
  void Reply(uint64_t stream, Buffer payload) override {
    Send(rpc::FrameType::kReply, stream, {std::move(payload)});
  }
  void ReplyWithFile(uint64_t stream, Buffer payload, std::shared_ptr<File> file) override {
    if (!connection_) return;
    rpc::FrameHeader header;
    header.type = rpc::FrameType::kReply;
    header.request_id = stream;
    connection_->SendWithFile(header, std::move(payload), std::move(file));
  }
  bool passes_files() const override { return connection_ && connection_->passes_files(); }
  void ReplyError(uint64_t stream, const Status& error) override {
    Send(rpc::FrameType::kError, stream, {rpc::EncodeError(error)});
  }
  void SendPacket(uint64_t stream, std::vector<Buffer> parts) override {
    Send(rpc::FrameType::kPacket, stream, std::move(parts));
  }
  bool writable() const override {
    return connection_ && connection_->queued_bytes() < connection_->send_window();
  }
  void PauseReading(bool paused) override {
    if (connection_) connection_->PauseReading(paused);
  }
  Executor& executor() override { return connection_->executor(); }
  OnwardPool& onward() override { return onward_; }

 private:
  void Send(rpc::FrameType type, uint64_t stream, std::vector<Buffer> parts) {
    if (!connection_) return;
    rpc::FrameHeader header;
    header.type = type;
    header.request_id = stream;
    connection_->Send(header, std::move(parts));
  }

  void OnFrame(const rpc::FrameHeader& header, Buffer payload) override {
    const auto self = shared_from_this();
    switch (header.type) {
      case rpc::FrameType::kRequest:
        return OnRequest(header, payload);
      case rpc::FrameType::kPacket:
        return OnPacket(header, payload);
      default:
        return Refuse("a frame that does not belong on a block stream");
    }
  }

  void OnRequest(const rpc::FrameHeader& header, const Buffer& payload) {
    if (stream_) std::exchange(stream_, nullptr)->Abort();
    stream_id_ = header.request_id;
    if (sessions_->stopped()) {
      return ReplyError(header.request_id, Status(Code::kUnavailable, "the datanode is stopping"));
    }
    if (header.method == idl::kOpenWriteStream) {
      idl::OpenWriteStreamRequest request;
      if (Status ok = idl::Decode(payload.view(), &request); !ok) {
        return ReplyError(header.request_id, ok);
      }
      auto stream = std::make_shared<WriteStream>(context_, *this, header.request_id);
      stream_ = stream;
      stream->Open(request);
    } else if (header.method == idl::kOpenReadStream) {
      idl::OpenReadStreamRequest request;
      if (Status ok = idl::Decode(payload.view(), &request); !ok) {
        return ReplyError(header.request_id, ok);
      }
      auto stream = std::make_shared<ReadStream>(context_, *this, header.request_id);
      stream_ = stream;
      stream->Open(request);
    } else {
      ReplyError(header.request_id,
                 Status(Code::kNotSupported, "the block port knows open_write and open_read only"));
    }
    DropFinished();
  }

  void OnPacket(const rpc::FrameHeader& header, const Buffer& payload) {
    // What was under way when its stream ended.
    if (!stream_ || header.request_id != stream_id_) return;
    auto packet = wire::ParsePacket(payload);
    if (!packet) return Refuse(packet.error().message());
    const auto stream = stream_;
    stream->OnPacket(*packet, payload);
    DropFinished();
  }

  void OnWritable() override {
    const auto self = shared_from_this();
    if (const auto stream = stream_) stream->OnWritable();
    DropFinished();
  }

  void DropFinished() {
    if (stream_ && stream_->done()) stream_ = nullptr;
  }

  void OnClosed(const Status& why) override {
    (void)why;
    const auto self = shared_from_this();
    if (stream_) std::exchange(stream_, nullptr)->Abort();
    sessions_->Remove(self);
    // Released after this last call, by its own executor.
    Executor& executor = connection_->executor();
    executor.Post([self] {});
  }

  void Refuse(const std::string& why) {
    LogWarning("block port: {}: {}", connection_ ? connection_->peer().address : "", why);
    const auto self = shared_from_this();
    sessions_->Remove(self);
    Executor& executor = connection_->executor();
    Shut();
    executor.Post([self] {});
  }

  StreamContext& context_;
  const std::shared_ptr<BlockStreamServer::Sessions> sessions_;
  rpc::ConnectionPtr connection_;
  OnwardPool onward_;
  std::shared_ptr<Stream> stream_;
  uint64_t stream_id_ = 0;
};

BlockStreamServer::BlockStreamServer(StreamContext& context)
    : context_(context), sessions_(std::make_shared<Sessions>()) {}

BlockStreamServer::~BlockStreamServer() {
  Stop();
  for (const auto& session : sessions_->TakeAll()) session->Shut();
}

void BlockStreamServer::Accept(rpc::ConnectionPtr connection, rpc::Network& network) {
  auto session =
      std::make_shared<StreamSession>(context_, sessions_, std::move(connection), network);
  sessions_->Add(session);
  session->Start();
}

void BlockStreamServer::Stop() {
  sessions_->Stop();
}

void BlockStreamServer::Sessions::Add(std::shared_ptr<StreamSession> session) {
  std::lock_guard<std::mutex> hold(mutex_);
  sessions_.insert(std::move(session));
}

void BlockStreamServer::Sessions::Remove(const std::shared_ptr<StreamSession>& session) {
  std::lock_guard<std::mutex> hold(mutex_);
  sessions_.erase(session);
}

std::set<std::shared_ptr<StreamSession>> BlockStreamServer::Sessions::TakeAll() {
  std::lock_guard<std::mutex> hold(mutex_);
  return std::exchange(sessions_, {});
}

}  // namespace dfs::dn
