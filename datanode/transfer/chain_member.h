// ChainMember: the receiving side of a write chain as a pure state machine. It is told what
// happened and says when a packet may be acknowledged; it has no socket, disk, clock or thread.
//
// Rules (docs/wire.md, design section 6): packets come in order of seq from 1; a packet is
// forwarded before it is stored; it is acknowledged, in order, when it is stored here (and on disk,
// when SYNC) and the next member has acknowledged it; an error names the member at fault and is the
// last acknowledgement.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/wire/packet.h"

namespace dfs::dn {

class ChainMember {
 public:
  struct Config {
    DatanodeId self;
    DatanodeId next;  // 0: this is the tail
    Stamp stamp;
  };
  struct Ack {
    uint64_t seq = 0;
    uint64_t length = 0;  // that every member from here on has
    Code code = Code::kOk;
    DatanodeId at_fault;  // with an error
    bool last = false;    // the stream has ended well
  };

  explicit ChainMember(const Config& config) : config_(config) {}

  /// A data packet came. Ok: forward it (ForwardFlags), store it, then tell OnStored. An error ends
  /// the stream; take the acknowledgement and send it.
  Status OnPacket(const wire::PacketHeader& header);
  /// Flags to forward the packet with.
  static uint16_t ForwardFlags(const wire::PacketHeader& header);
  /// The packet is in memory here, the replica's length is as given. In order of seq.
  void OnStored(uint64_t seq, uint64_t length);
  /// Everything stored up to seq is on disk here.
  void OnSynced(uint64_t seq);
  /// This member cannot go on.
  void OnLocalError(const Status& why);
  /// The next member acknowledged everything up to seq, or failed.
  void OnNextAck(uint64_t seq, Code code, DatanodeId at_fault);
  /// The connection to the next member is gone, did not come about, or it is silent for too long.
  void OnNextLost(const Status& why);

  /// The highest stored seq that wants an fsync it has not had; 0: none.
  uint64_t sync_wanted() const;
  /// A SYNC packet is unacknowledged: somebody may be waiting for a disk.
  bool sync_under_way() const;
  /// What to send upstream now, if anything. After an error nothing follows.
  std::optional<Ack> TakeAck();

  bool failed() const { return failed_.has_value(); }
  /// All packets up to and including LAST were acknowledged.
  bool finished() const { return finished_; }
  uint64_t received() const { return received_; }
  uint64_t stored() const { return stored_; }
  /// Packets forwarded that the next member has not acknowledged; 0 for a tail.
  uint64_t awaited_from_next() const {
    return config_.next.valid() && next_acked_ < received_ ? received_ - next_acked_ : 0;
  }

 private:
  struct Entry {
    uint64_t seq;
    uint64_t length = 0;
    bool sync;
    bool last;
  };
  void Fail(Code code, DatanodeId at_fault);

  const Config config_;
  std::deque<Entry> unacked_;
  uint64_t received_ = 0;
  uint64_t stored_ = 0;
  uint64_t synced_ = 0;
  uint64_t next_acked_ = 0;
  uint64_t acked_ = 0;
  uint64_t length_ = 0;
  std::optional<Ack> failed_;
  bool failure_taken_ = false;
  bool last_received_ = false;
  bool finished_ = false;
};

}  // namespace dfs::dn
