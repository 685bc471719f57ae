// Raft's messages and their encoding (common/base/codec.h). Messages may be lost, doubled, delayed
// and reordered; every one carries its sender and the sender's term.
#pragma once

#include <string>

#include "common/base/codec.h"
#include "common/base/status.h"
#include "common/raft/types.h"

namespace dfs::raft {

enum class MessageType : uint8_t {
  kPreVote = 1,       // "would you vote for me in `term`?" changes nothing at the voter
  kPreVoteReply = 2,  // granted: the term asked for; refused: the voter's term
  kVote = 3,
  kVoteReply = 4,
  kAppend = 5,
  kAppendReply = 6,
  kHeartbeat = 7,
  kHeartbeatReply = 8,
  kInstallSnapshot =
      9,            // the follower's driver has received and verified this snapshot of the sender
  kReadIndex = 10,  // a follower asks the leader for a read index
  kReadIndexReply = 11,
};
const char* MessageTypeName(MessageType type);

struct Message {
  MessageType type = MessageType::kHeartbeat;
  NodeId from;
  NodeId to;
  Term term = 0;
  /// kPreVote, kVote: the candidate's last entry. kAppend: the entry before the first one sent.
  /// kAppendReply: the last entry that is durable and known to match, or, when refused, the `index`
  /// of the append. kReadIndexReply: the read index.
  LogIndex index = 0;
  Term log_term = 0;
  /// kAppend, kHeartbeat: the leader's commit index as far as this follower may take it.
  LogIndex commit = 0;
  /// kAppendReply, refused: the last entry of the follower that may match, (hint, log_term).
  LogIndex hint = 0;
  /// kAppend, kHeartbeat: when the leader sent it, by its own clock, strictly increasing. The
  /// replies echo it.
  int64_t stamp = 0;
  /// kReadIndex and its reply: names the request at the asker.
  uint64_t context = 0;
  bool reject = false;
  /// kVote: leadership transfer; bypasses the recency rule. Reserved, never set so far.
  bool force = false;
  std::vector<Entry> entries;  // kAppend
  SnapshotMeta snapshot;       // kInstallSnapshot
};

/// Entries of one message together, and one entry alone, may not be larger.
inline constexpr size_t kMaxEntryBytes = 8u << 20;
inline constexpr size_t kMaxMessageEntries = 65536;

Buffer EncodeMessage(const Message& message);
/// Bounded: kProtocol on anything malformed. Entries' data share the input's memory.
Result<Message> DecodeMessage(const Buffer& in);

void EncodeConfiguration(const Configuration& configuration, std::string* out);
/// Fails the decoder when malformed (unsorted, more than 64 members).
Configuration DecodeConfiguration(Decoder* in);

}  // namespace dfs::raft
