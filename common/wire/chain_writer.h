// ChainWriter: the sender's side of a write chain as a pure state machine. It cuts nothing and decides
// nothing about membership: it numbers packets, keeps them until every member acknowledged them, says what
// may be sent now (a window), and names the member at fault. Used by libdfs (BlockWriter) and by the
// datanode's replicator. No clock, no socket: see chain_stream.h for the adapter.
//
// Life: Add() packets at any time; Start() a stream; send what Next() gives; feed acknowledgements, the
// connection's end and the time. After a fault() the owner has the exclusion committed and calls Start()
// again under the new stamp: everything unacknowledged is sent again, in order, overwriting itself.
//
// Invariants: acknowledgements cover packets in order of Add(); a packet is dropped only when a stream of
// the current stamp acknowledged it; nothing is sent between a fault and the next Start().
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "common/base/buffer.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/status.h"

namespace dfs::wire {

struct ChainWriterLimits {
  uint32_t window_packets = 16;
  uint64_t window_bytes = 8u << 20;
  /// Without any sign of life from the chain while something is unacknowledged.
  int64_t ack_timeout_ns = 5 * kSecond;
  /// The same while a SYNC packet is unacknowledged: the members are waiting for their disks.
  int64_t sync_timeout_ns = 30 * kSecond;
};

/// Thread-compatible.
class ChainWriter {
 public:
  static constexpr uint32_t kMaxPacketBytes = 512u << 10;

  /// A packet's place in the order of all Add() calls, from 1; the same over all streams.
  using Ticket = uint64_t;

  struct Packet {
    uint64_t seq = 0;  // in the current stream, from 1
    uint16_t flags = 0;
    uint64_t offset = 0;
    uint64_t length = 0;  // the block is at least this long after the packet
    Buffer data;
    std::vector<uint64_t> sums;
  };

  struct Fault {
    DatanodeId member;  // who is to be excluded
    Code code = Code::kUnavailable;
    std::string why;
    bool fenced =
        false;  // a higher stamp exists: the write is over, excluding somebody does not help
  };

  /// length: of the block before the first packet.
  explicit ChainWriter(uint64_t length, ChainWriterLimits limits = {});

  /// flags: kPacketSync, kPacketLast. Empty data needs a flag. offset must not lie behind length(): gaps
  /// are the caller's to fill.
  Ticket Add(uint64_t offset, Buffer data, uint16_t flags);

  /// Forgets the packets that were not sent in this stream: for a writer that gives up.
  void DropUnsent();

  /// A stream to these members under this stamp begins (again).
  void Start(std::vector<DatanodeId> members, uint64_t stamp, int64_t now_ns);
  /// The stream is over while nothing is unacknowledged: it ended in order, or the owner has dealt with the fault.
  /// Start() begins another.
  void Pause();

  /// What may be sent now; null when the window is full, nothing waits or no stream runs.
  const Packet* Next() const;
  void OnSent(int64_t now_ns);
  void OnAck(uint64_t seq, uint64_t stamp, Code code, DatanodeId at_fault, int64_t now_ns);
  /// The connection to the first member could not be made or is gone.
  void OnBroken(const Status& why);
  /// The first member refused the stream.
  void OnRefused(const Status& why);
  /// Blames the first member when the time-out has passed.
  void OnTick(int64_t now_ns);
  /// When OnTick() would blame; 0: never.
  int64_t deadline_ns() const;

  bool streaming() const { return streaming_; }
  const std::optional<Fault>& fault() const { return fault_; }
  /// Every packet up to this one is acknowledged.
  Ticket acked() const { return acked_; }
  Ticket added() const { return acked_ + packets_.size(); }
  bool idle() const { return packets_.empty(); }
  /// Any acknowledgement, over all streams.
  bool ever_acked() const { return acked_ > 0; }
  uint64_t unacked_bytes() const { return unacked_bytes_; }
  /// The block's length with everything added.
  uint64_t length() const { return length_; }
  /// The part of it that is acknowledged.
  uint64_t acked_length() const { return acked_length_; }

 private:
  void Blame(DatanodeId member, Code code, std::string why);
  void DropAcked(uint64_t seq);

  const ChainWriterLimits limits_;
  uint64_t length_;
  uint64_t acked_length_;
  std::deque<Packet> packets_;  // unacknowledged, the first sent_ of them are under way
  size_t sent_ = 0;
  uint64_t sent_bytes_ = 0;
  uint32_t syncs_sent_ = 0;
  Ticket acked_ = 0;
  Ticket base_ = 0;  // acked_ when the stream began: seq = ticket - base_
  uint64_t unacked_bytes_ = 0;
  std::vector<DatanodeId> members_;
  uint64_t stamp_ = 0;
  bool streaming_ = false;
  int64_t last_sign_ns_ = 0;
  std::optional<Fault> fault_;
};

}  // namespace dfs::wire
