#include "common/raft/message.h"

#include "common/raft/quorum.h"

namespace dfs::raft {

namespace {

constexpr uint8_t kFlagReject = 1;
constexpr uint8_t kFlagForce = 2;
constexpr uint8_t kFlagSnapshot = 4;
constexpr uint8_t kKnownFlags = kFlagReject | kFlagForce | kFlagSnapshot;

void EncodeIds(const std::vector<NodeId>& ids, Encoder* e) {
  e->Varint(ids.size());
  for (NodeId id : ids) e->Id(id);
}

std::vector<NodeId> DecodeIds(Decoder* d) {
  size_t n = d->Count(sizeof(NodeId::rep));
  if (n > kMaxMembers) d->Fail();
  std::vector<NodeId> ids;
  for (size_t i = 0; i < n && d->ok(); ++i) {
    NodeId id = d->Id<NodeId>();
    if (!id.valid() || (!ids.empty() && !(ids.back() < id))) d->Fail();
    ids.push_back(id);
  }
  return ids;
}

}  // namespace

const char* MessageTypeName(MessageType type) {
  switch (type) {
    case MessageType::kPreVote:
      return "pre-vote";
    case MessageType::kPreVoteReply:
      return "pre-vote-reply";
    case MessageType::kVote:
      return "vote";
    case MessageType::kVoteReply:
      return "vote-reply";
    case MessageType::kAppend:
      return "append";
    case MessageType::kAppendReply:
      return "append-reply";
    case MessageType::kHeartbeat:
      return "heartbeat";
    case MessageType::kHeartbeatReply:
      return "heartbeat-reply";
    case MessageType::kInstallSnapshot:
      return "install-snapshot";
    case MessageType::kReadIndex:
      return "read-index";
    case MessageType::kReadIndexReply:
      return "read-index-reply";
  }
  return "?";
}

void EncodeConfiguration(const Configuration& configuration, std::string* out) {
  Encoder e(out);
  EncodeIds(configuration.voters, &e);
  EncodeIds(configuration.old_voters, &e);
  EncodeIds(configuration.learners, &e);
}

Configuration DecodeConfiguration(Decoder* in) {
  Configuration c;
  c.voters = DecodeIds(in);
  c.old_voters = DecodeIds(in);
  c.learners = DecodeIds(in);
  return c;
}

Buffer EncodeMessage(const Message& m) {
  size_t size = 128;
  for (const Entry& entry : m.entries) size += entry.data.size() + 16;
  std::string out;
  out.reserve(size);
  Encoder e(&out);
  e.U8(static_cast<uint8_t>(m.type));
  bool has_snapshot = m.type == MessageType::kInstallSnapshot;
  e.U8(static_cast<uint8_t>((m.reject ? kFlagReject : 0) | (m.force ? kFlagForce : 0) |
                            (has_snapshot ? kFlagSnapshot : 0)));
  e.Id(m.from);
  e.Id(m.to);
  e.Varint(m.term);
  e.Varint(m.index);
  e.Varint(m.log_term);
  e.Varint(m.commit);
  e.Varint(m.hint);
  e.I64(m.stamp);
  e.Varint(m.context);
  e.Varint(m.entries.size());
  for (const Entry& entry : m.entries) {  // the indexes follow from m.index
    e.Varint(entry.term);
    e.U8(static_cast<uint8_t>(entry.type));
    e.Bytes(entry.data.view());
  }
  if (has_snapshot) {
    e.Varint(m.snapshot.index);
    e.Varint(m.snapshot.term);
    EncodeConfiguration(m.snapshot.configuration, &out);
  }
  return Buffer(std::move(out));
}

Result<Message> DecodeMessage(const Buffer& in) {
  Decoder d(in.view());
  Message m;
  uint8_t type = d.U8();
  uint8_t flags = d.U8();
  if (type < static_cast<uint8_t>(MessageType::kPreVote) ||
      type > static_cast<uint8_t>(MessageType::kReadIndexReply) || (flags & ~kKnownFlags) != 0) {
    return Status(Code::kProtocol, "unknown Raft message");
  }
  m.type = static_cast<MessageType>(type);
  m.reject = (flags & kFlagReject) != 0;
  m.force = (flags & kFlagForce) != 0;
  m.from = d.Id<NodeId>();
  m.to = d.Id<NodeId>();
  m.term = d.Varint();
  m.index = d.Varint();
  m.log_term = d.Varint();
  m.commit = d.Varint();
  m.hint = d.Varint();
  m.stamp = d.I64();
  m.context = d.Varint();
  size_t count = d.Count(3);
  if (count > kMaxMessageEntries || (count > 0 && m.type != MessageType::kAppend)) d.Fail();
  if (d.ok()) m.entries.reserve(count);
  for (size_t i = 0; i < count && d.ok(); ++i) {
    Entry entry;
    entry.term = d.Varint();
    entry.index = m.index + 1 + i;
    uint8_t entry_type = d.U8();
    std::string_view data = d.Bytes();
    if (entry_type < static_cast<uint8_t>(EntryType::kNoop) ||
        entry_type > static_cast<uint8_t>(EntryType::kConfiguration) ||
        data.size() > kMaxEntryBytes) {
      d.Fail();
    }
    if (!d.ok()) break;
    entry.type = static_cast<EntryType>(entry_type);
    if (!data.empty()) entry.data = in.Slice(data.data() - in.data(), data.size());
    m.entries.push_back(std::move(entry));
  }
  if ((flags & kFlagSnapshot) != 0) {
    m.snapshot.index = d.Varint();
    m.snapshot.term = d.Varint();
    m.snapshot.configuration = DecodeConfiguration(&d);
  }
  if (!d.done() || !m.from.valid() || !m.to.valid() || m.index + count < m.index) {
    return Status(Code::kProtocol, "malformed Raft message");
  }
  return m;
}

}  // namespace dfs::raft
