#include "namenode/state/records.h"

#include "namenode/state/archive.h"

namespace dfs::nn {
namespace {

constexpr uint8_t kInodeVersion = 1;
constexpr uint8_t kDentryVersion = 1;
constexpr uint8_t kUsageVersion = 1;
constexpr uint8_t kSlotVersion = 1;
constexpr uint8_t kBlockVersion = 1;
constexpr uint8_t kSessionVersion = 1;
constexpr uint8_t kCachingSessionVersion = 2;  // of one that caches
constexpr uint8_t kTodoVersion = 1;
constexpr uint8_t kShortenedVersion = 1;
constexpr uint8_t kCountersVersion = 1;
constexpr uint8_t kAppliedVersion = 1;

Status Malformed(const char* what) {
  return Status(Code::kCorrupt, std::string("malformed ") + what + " record");
}

uint64_t ZigZag(int64_t v) {
  return (static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63);
}
int64_t UnZigZag(uint64_t v) {
  return static_cast<int64_t>((v >> 1) ^ (~(v & 1) + 1));
}

/// a - b without signed overflow.
int64_t Difference(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}
int64_t Sum(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

FileType DecodeType(Decoder& in) {
  uint8_t type = in.U8();
  if (type == 0 || type > static_cast<uint8_t>(FileType::kBlockDevice)) in.Fail();
  return static_cast<FileType>(type);
}

template <class T>
std::string EncodeFields(uint8_t version, T fields) {
  std::string out;
  out.push_back(static_cast<char>(version));
  ArchiveWriter writer(&out);
  fields(writer);
  return out;
}

template <class T>
bool DecodeFields(uint8_t version, std::string_view value, T fields) {
  ArchiveReader reader(value);
  if (reader.decoder().U8() != version) return false;
  fields(reader);
  return reader.done();
}

template <class A, class B>
void BlockFields(A& a, B& b) {
  a(b.inode, b.slot, b.stamp, b.length, b.state, b.replication, b.references, b.writer,
    b.writer_incarnation, b.recovery_stamp, b.members, b.cut_stamp, b.cut_length);
}

template <class A, class S>
void SessionFields(A& a, S& s) {
  a(s.secret, s.incarnation, s.nonce, s.first_outstanding, s.highest_sequence, s.open_blocks, s.uid,
    s.opened_ns, s.client_name);
}

template <class A, class S>
void ShortenedFields(A& a, S& s) {
  a(s.block, s.old_length, s.new_length, s.when_ns);
}

template <class A, class C>
void CounterFields(A& a, C& c) {
  a(c.next_inode, c.next_block, c.next_stamp, c.next_session, c.blocks, c.sessions, c.feature_level,
    c.initialized, c.cluster_id);
}

}  // namespace

// Head first (type, nlink, parent), so that a walk up the tree decodes no more than it needs.
void EncodeInodeAttr(const InodeAttr& a, Encoder& out) {
  out.U8(static_cast<uint8_t>(a.type));
  out.Varint(a.nlink);
  out.Varint(a.parent.value);
  out.Varint(a.mode);
  out.Varint(a.uid);
  out.Varint(a.gid);
  out.Varint(a.size);
  out.Varint(a.allocated_bytes);
  out.I64(a.ctime_ns);
  out.Varint(ZigZag(Difference(a.mtime_ns, a.ctime_ns)));
  out.Varint(ZigZag(Difference(a.atime_ns, a.ctime_ns)));
  out.Varint(a.rdev);
  out.Varint(a.block_size);
  out.Varint(a.replication);
  out.Varint(a.data_version);
  out.Varint(a.entries);
  out.Varint(a.block_count);
  out.Varint(a.xattr_count);
  out.Varint(a.xattr_bytes);
  out.U8(static_cast<uint8_t>((a.has_inline ? 1 : 0) | (a.shortened ? 2 : 0)));
}

void DecodeInodeAttr(Decoder& in, InodeAttr* a) {
  a->type = DecodeType(in);
  auto u32 = [&in] {
    uint64_t v = in.Varint();
    if (v > UINT32_MAX) in.Fail();
    return static_cast<uint32_t>(v);
  };
  a->nlink = u32();
  a->parent = InodeId(in.Varint());
  a->mode = u32();
  a->uid = u32();
  a->gid = u32();
  a->size = in.Varint();
  a->allocated_bytes = in.Varint();
  a->ctime_ns = in.I64();
  a->mtime_ns = Sum(a->ctime_ns, UnZigZag(in.Varint()));
  a->atime_ns = Sum(a->ctime_ns, UnZigZag(in.Varint()));
  a->rdev = in.Varint();
  a->block_size = in.Varint();
  a->replication = u32();
  a->data_version = in.Varint();
  a->entries = in.Varint();
  a->block_count = in.Varint();
  a->xattr_count = u32();
  a->xattr_bytes = in.Varint();
  uint8_t flags = in.U8();
  if (flags > 3) in.Fail();
  a->has_inline = (flags & 1) != 0;
  a->shortened = (flags & 2) != 0;
}

std::string EncodeInode(const Inode& inode) {
  std::string out;
  out.reserve(80 + inode.name.size() + inode.inline_data.size());
  Encoder e(&out);
  e.U8(kInodeVersion);
  EncodeInodeAttr(inode, e);
  e.Bytes(inode.name);
  e.Bytes(inode.inline_data);
  return out;
}

Result<Inode> DecodeInode(InodeId id, std::string_view value) {
  Decoder in(value);
  Inode inode;
  if (in.U8() != kInodeVersion) return Malformed("inode");
  inode.id = id;
  DecodeInodeAttr(in, &inode);
  inode.name = std::string(in.Bytes());
  inode.inline_data = std::string(in.Bytes());
  if (!in.done()) return Malformed("inode");
  return inode;
}

Result<InodeHead> DecodeInodeHead(std::string_view value) {
  Decoder in(value);
  if (in.U8() != kInodeVersion) return Malformed("inode");
  InodeHead head;
  head.type = DecodeType(in);
  head.nlink = static_cast<uint32_t>(in.Varint());
  head.parent = InodeId(in.Varint());
  if (!in.ok()) return Malformed("inode");
  return head;
}

std::string EncodeDentry(const Dentry& dentry) {
  std::string out;
  Encoder e(&out);
  e.U8(kDentryVersion);
  e.U8(static_cast<uint8_t>(dentry.type));
  e.Varint(dentry.inode.value);
  return out;
}

Result<Dentry> DecodeDentry(std::string_view value) {
  Decoder in(value);
  Dentry dentry;
  if (in.U8() != kDentryVersion) return Malformed("directory entry");
  dentry.type = DecodeType(in);
  dentry.inode = InodeId(in.Varint());
  if (!in.done()) return Malformed("directory entry");
  return dentry;
}

std::string EncodeUsage(const Usage& usage) {
  std::string out;
  Encoder e(&out);
  e.U8(kUsageVersion);
  e.Varint(ZigZag(usage.files));
  e.Varint(ZigZag(usage.directories));
  e.Varint(ZigZag(usage.bytes));
  return out;
}

Result<Usage> DecodeUsage(std::string_view value) {
  Decoder in(value);
  Usage usage;
  if (in.U8() != kUsageVersion) return Malformed("usage");
  usage.files = UnZigZag(in.Varint());
  usage.directories = UnZigZag(in.Varint());
  usage.bytes = UnZigZag(in.Varint());
  if (!in.done()) return Malformed("usage");
  return usage;
}

std::string EncodeSlot(const SlotRecord& slot) {
  return EncodeFields(kSlotVersion, [&](auto& a) { a(slot.block); });
}

Result<SlotRecord> DecodeSlot(std::string_view value) {
  SlotRecord slot;
  if (!DecodeFields(kSlotVersion, value, [&](auto& a) { a(slot.block); })) return Malformed("slot");
  return slot;
}

std::string EncodeBlock(const BlockRecord& block) {
  return EncodeFields(kBlockVersion, [&](auto& a) { BlockFields(a, block); });
}

Result<BlockRecord> DecodeBlock(std::string_view value) {
  BlockRecord block;
  if (!DecodeFields(kBlockVersion, value, [&](auto& a) { BlockFields(a, block); }))
    return Malformed("block");
  if (block.state < BlockState::kOpen || block.state > BlockState::kRecovering)
    return Malformed("block");
  return block;
}

std::string EncodeSession(const Session& session) {
  // Others as they were, for members of a lower feature level.
  const uint8_t version = session.caches ? kCachingSessionVersion : kSessionVersion;
  return EncodeFields(version, [&](auto& a) { SessionFields(a, session); });
}

Result<Session> DecodeSession(SessionId id, std::string_view value) {
  Session session;
  session.caches = !value.empty() && static_cast<uint8_t>(value[0]) == kCachingSessionVersion;
  const uint8_t version = session.caches ? kCachingSessionVersion : kSessionVersion;
  if (!DecodeFields(version, value, [&](auto& a) { SessionFields(a, session); }))
    return Malformed("session");
  session.id = id;
  return session;
}

std::string EncodeTodo(const Todo& todo) {
  return EncodeFields(kTodoVersion, [&](auto& a) { a(todo.kind); });
}

Result<Todo> DecodeTodo(InodeId inode, std::string_view value) {
  Todo todo;
  if (!DecodeFields(kTodoVersion, value, [&](auto& a) { a(todo.kind); }) ||
      (todo.kind != TodoKind::kDirectory && todo.kind != TodoKind::kFile))
    return Malformed("to-do");
  todo.inode = inode;
  return todo;
}

std::string EncodeShortened(const ShortenedBlock& shortened) {
  return EncodeFields(kShortenedVersion, [&](auto& a) { ShortenedFields(a, shortened); });
}

Result<ShortenedBlock> DecodeShortened(InodeId inode, uint64_t slot, std::string_view value) {
  ShortenedBlock shortened;
  if (!DecodeFields(kShortenedVersion, value, [&](auto& a) { ShortenedFields(a, shortened); }))
    return Malformed("shortened block");
  shortened.inode = inode;
  shortened.slot = slot;
  return shortened;
}

std::string EncodeCounters(const Counters& counters) {
  return EncodeFields(kCountersVersion, [&](auto& a) { CounterFields(a, counters); });
}

Result<Counters> DecodeCounters(std::string_view value) {
  Counters counters;
  if (!DecodeFields(kCountersVersion, value, [&](auto& a) { CounterFields(a, counters); }))
    return Malformed("counters");
  return counters;
}

std::string EncodeApplied(const AppliedMark& mark) {
  std::string out;
  Encoder e(&out);
  e.U8(kAppliedVersion);
  e.U64(mark.index);
  e.U64(mark.term);
  e.U64(mark.state_hash);
  return out;
}

Result<AppliedMark> DecodeApplied(std::string_view value) {
  Decoder in(value);
  AppliedMark mark;
  if (in.U8() != kAppliedVersion) return Malformed("applied mark");
  mark.index = in.U64();
  mark.term = in.U64();
  mark.state_hash = in.U64();
  if (!in.done()) return Malformed("applied mark");
  return mark;
}

Status CheckName(std::string_view name) {
  if (name.empty()) return Status(Code::kNotFound, "empty name");
  if (name.size() > kMaxNameBytes)
    return Status(Code::kNameTooLong,
                  "a name may have 255 bytes, not " + std::to_string(name.size()));
  if (name == "." || name == "..") return Status(Code::kInvalidArgument, "name is . or ..");
  if (name.find('/') != std::string_view::npos || name.find('\0') != std::string_view::npos)
    return Status(Code::kInvalidArgument, "a name may not contain '/' or a zero byte");
  return Status::Ok();
}

}  // namespace dfs::nn
