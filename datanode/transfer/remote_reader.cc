#include "datanode/transfer/remote_reader.h"

#include <utility>

#include "common/idl/codec.h"
#include "common/idl/methods.h"
#include "common/rpc/peer.h"
#include "common/wire/packet.h"
#include "dfs_types.h"

namespace dfs::dn {
namespace {

constexpr int64_t kConnectTimeoutNs = 3 * kSecond;
constexpr int64_t kSilenceNs = 10 * kSecond;

class RemoteReaderImpl : public RemoteReader, private rpc::Connection::Handler {
 public:
  RemoteReaderImpl(rpc::Network& network, RemoteRange range, OnData on_data, Done done)
      : network_(network),
        range_(std::move(range)),
        on_data_(std::move(on_data)),
        done_(std::move(done)) {}
  ~RemoteReaderImpl() override { Drop(); }

  void Begin(const Result<rpc::Address>& address) {
    const auto self = Self();
    keep_ = self;
    if (!address) {
      network_.executor().Post([self, why = address.error()] { self->Finish(why); });
      return;
    }
    rpc::ConnectOptions options;
    options.timeout_ns = kConnectTimeoutNs;
    network_.Connect(*address, options, [self](Result<rpc::ConnectionPtr> connection) {
      self->Connected(std::move(connection));
    });
  }

  void Cancel() override { Finish(Status(Code::kCancelled, "read cancelled")); }

 private:
  std::shared_ptr<RemoteReaderImpl> Self() {
    return std::static_pointer_cast<RemoteReaderImpl>(shared_from_this());
  }

  void Connected(Result<rpc::ConnectionPtr> connection) {
    if (finished_) return;
    if (!connection) return Finish(connection.error());
    connection_ = std::move(*connection);
    connection_->Start(this);
    idl::OpenReadStreamRequest request;
    request.block = static_cast<int64_t>(range_.block);
    request.stamp = static_cast<int64_t>(range_.stamp);
    request.offset = static_cast<int64_t>(range_.offset);
    request.length = static_cast<int64_t>(range_.length);
    request.token = range_.token;
    request.whole_chunks = true;
    request.sums_only = range_.sums_only;
    request.open_block = range_.open_block;
    rpc::FrameHeader header;
    header.type = rpc::FrameType::kRequest;
    header.method = idl::kOpenReadStream;
    header.request_id = 1;
    connection_->Send(header, idl::Encode(request));
    ArmTimer();
  }

  void ArmTimer() {
    timer_ = network_.executor().RunAfter(kSilenceNs, [weak = weak_from_this()] {
      auto self = std::static_pointer_cast<RemoteReaderImpl>(weak.lock());
      if (!self) return;
      self->timer_ = 0;
      if (!std::exchange(self->heard_, false)) {
        return self->Finish(Status(Code::kTimedOut, "the source is silent"));
      }
      self->ArmTimer();
    });
  }

  void OnFrame(const rpc::FrameHeader& header, Buffer payload) override {
    const auto self = Self();
    heard_ = true;
    if (header.type == rpc::FrameType::kError) return Finish(rpc::DecodeError(payload.view()));
    if (header.type == rpc::FrameType::kReply) return;
    if (header.type != rpc::FrameType::kPacket) {
      return Finish(Status(Code::kProtocol, "unexpected frame"));
    }
    auto packet = wire::ParsePacket(payload);
    if (!packet) return Finish(packet.error());
    const wire::PacketHeader& h = packet->header;
    if (h.kind == wire::PacketKind::kReadEnd) {
      return Finish(h.code == Code::kOk ? Status::Ok() : Status(h.code, "at the source"));
    }
    if (h.kind != wire::PacketKind::kReadData) {
      return Finish(Status(Code::kProtocol, "unexpected packet"));
    }
    auto sums = packet->SumVector();
    if (range_.sums_only ? !packet->data.empty() : packet->data.empty()) {
      return Finish(Status(Code::kProtocol, "sums where data was asked for, or the reverse"));
    }
    Status taken = wire::VerifyRangeSums(h.offset, packet->data.view(), sums.data(),
                                         range_.sums_only ? 0 : sums.size());
    if (taken.ok()) taken = on_data_(h.offset, packet->data, std::move(sums));
    if (!taken) Finish(taken);
  }

  void OnClosed(const Status& why) override {
    const auto self = Self();
    Finish(Status(Code::kUnavailable, "source: " + why.message()));
  }

  void Finish(const Status& why) {
    if (finished_) return;
    finished_ = true;
    // The connection may be what calls us: it goes with us, later, on the executor.
    network_.executor().Post([self = std::move(keep_)] {
      if (self) static_cast<RemoteReaderImpl&>(*self).Drop();
    });
    if (timer_ != 0) network_.executor().Cancel(std::exchange(timer_, 0));
    on_data_ = nullptr;
    if (Done done = std::move(done_)) done(why);
  }

  void Drop() {
    if (!connection_) return;
    connection_->Close();
    connection_ = nullptr;
  }

  rpc::Network& network_;
  const RemoteRange range_;
  OnData on_data_;
  Done done_;
  std::shared_ptr<RemoteReader> keep_;  // until it has finished
  rpc::ConnectionPtr connection_;
  Executor::TimerId timer_ = 0;
  bool heard_ = false;
  bool finished_ = false;
};

}  // namespace

std::shared_ptr<RemoteReader> RemoteReader::Start(rpc::Network& network,
                                                  const idl::ReplicaLocation& source,
                                                  const std::string& own_host_id, RemoteRange range,
                                                  OnData on_data, Done done) {
  auto reader = std::make_shared<RemoteReaderImpl>(network, std::move(range), std::move(on_data),
                                                   std::move(done));
  reader->Begin(AddressFrom(own_host_id, source));
  return reader;
}

Result<rpc::Address> AddressFrom(const std::string& host_id, const idl::ReplicaLocation& location) {
  if (!host_id.empty() && host_id == location.host_id && !location.unix_address.empty()) {
    auto address = rpc::Address::Parse(location.unix_address);
    if (address.ok()) return address;
  }
  return rpc::Address::Parse(location.tcp_address);
}

}  // namespace dfs::dn
