// WriteStream: a chain member's stream, between the connection before it, the disk, and the next member.
// The decisions are ChainMember's. Confined to the connection's executor.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/idl/idl_fwd.h"
#include "datanode/transfer/chain_member.h"
#include "datanode/transfer/onward.h"
#include "datanode/transfer/stream_io.h"

namespace dfs::dn {

class WriteStream : public Stream, public std::enable_shared_from_this<WriteStream> {
 public:
  WriteStream(StreamContext& context, StreamIo& io, uint64_t stream);
  ~WriteStream() override;

  void Open(const idl::OpenWriteStreamRequest& request);
  void OnPacket(const wire::Packet& packet, const Buffer& payload) override;
  void Abort() override;
  bool done() const override { return state_ == State::kDone; }

 private:
  enum class State { kOpening, kConnecting, kOpen, kDone };

  Status OpenReplica(const idl::OpenWriteStreamRequest& request);
  void OpenNext(const idl::OpenWriteStreamRequest& request);
  void NextConnected(Result<std::shared_ptr<Onward>> onward);
  void ConnectNext(bool fresh);
  void NextReplied(Result<Buffer> reply);
  void NextClosed(const Status& why);
  void HeardFromNext();
  Onward::Events NextEvents();
  void SendOpenReply(std::vector<int64_t> members);
  void Handle(const wire::Packet& packet, const Buffer& payload);
  void Forward(const wire::Packet& packet, const Buffer& payload);
  void Store(const wire::Packet& packet);
  void ScheduleSync();
  void SyncNow();
  void Pump();
  void SendAck(const ChainMember::Ack& ack);
  void ArmNextTimer();
  void CheckNext();
  void Fail(const Status& why);
  void End(bool well);

  StreamContext& context_;
  StreamIo* io_;  // null once aborted
  const uint64_t stream_;
  uint64_t stamp_ = 0;
  State state_ = State::kOpening;
  OpenedReplica open_;
  bool is_copy_ = false;
  bool last_stored_ = false;
  bool finalized_ = false;
  std::unique_ptr<ChainMember> chain_;
  std::shared_ptr<Onward> next_;
  bool has_next_ = false;
  bool replied_ = false;
  rpc::Address next_address_;
  std::string next_name_;
  Buffer next_request_;
  /// What was forwarded before the next member said a word: sent again if a kept connection turns
  /// out to have been dead.
  std::vector<std::vector<Buffer>> unheard_;
  bool next_heard_ = false;
  std::deque<std::pair<wire::Packet, Buffer>>
      waiting_;  // came before the next member was connected
  bool paused_ = false;
  bool sync_scheduled_ = false;
  Executor::TimerId next_timer_ = 0;
  int64_t next_timeout_ns_ = 0;
  int64_t next_progress_ns_ = 0;  // when the next member last owed us nothing, or acknowledged
  bool next_warned_ = false;
};

}  // namespace dfs::dn
