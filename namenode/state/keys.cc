#include "namenode/state/keys.h"

#include "common/base/checksum.h"
#include "common/base/codec.h"

namespace dfs::nn {
namespace {

std::string Key(Tag tag, size_t reserve = 0) {
  std::string key;
  if (reserve > 15) key.reserve(reserve);
  key.push_back(static_cast<char>(tag));
  return key;
}

std::string Key1(Tag tag, uint64_t a) {
  std::string key = Key(tag);
  AppendBigEndian64(&key, a);
  return key;
}

std::string Key2(Tag tag, uint64_t a, uint64_t b, std::string_view tail = {}) {
  std::string key = Key(tag, 17 + tail.size());
  AppendBigEndian64(&key, a);
  AppendBigEndian64(&key, b);
  key.append(tail);
  return key;
}

}  // namespace

uint64_t NameHash(InodeId directory, std::string_view name) {
  uint64_t seed = directory.value * 0x9E3779B97F4A7C15ull + 0x632BE59BD9B4E019ull;
  uint64_t hash = Hash64(name, seed) & kMaxNameHash;
  return hash < kFirstNameHash ? hash + kFirstNameHash : hash;
}

std::string BlockKey(BlockId block) {
  return Key1(Tag::kBlock, block.value);
}
std::string DatanodeKey(DatanodeId datanode) {
  return Key1(Tag::kDatanode, datanode.value);
}
std::string DentryPrefix(InodeId directory) {
  return Key1(Tag::kDentry, directory.value);
}
std::string DentryPrefix(InodeId directory, uint64_t hash) {
  return Key2(Tag::kDentry, directory.value, hash);
}
std::string DentryKey(InodeId directory, std::string_view name) {
  return Key2(Tag::kDentry, directory.value, NameHash(directory, name), name);
}
std::string ShortenedKey(InodeId inode, uint64_t slot) {
  return Key2(Tag::kShortened, inode.value, slot);
}
std::string TodoKey(InodeId inode) {
  return Key1(Tag::kTodo, inode.value);
}
std::string InodeKey(InodeId inode) {
  return Key1(Tag::kInode, inode.value);
}
std::string LinkPrefix(InodeId inode) {
  return Key1(Tag::kLink, inode.value);
}
std::string LinkKey(InodeId inode, InodeId parent, std::string_view name) {
  return Key2(Tag::kLink, inode.value, parent.value, name);
}
std::string MetaKey(std::string_view name) {
  std::string key = Key(Tag::kMeta);
  key.append(name);
  return key;
}
std::string SessionKey(SessionId session) {
  return Key1(Tag::kSession, session.value);
}
std::string ReplyKey(SessionId session, uint64_t sequence) {
  return Key2(Tag::kSession, session.value, sequence);
}
std::string NonceKey(uint64_t nonce) {
  return Key2(Tag::kSession, 0, nonce);
}
std::string OrphanPrefix(InodeId inode) {
  return Key1(Tag::kOrphan, inode.value);
}
std::string OrphanKey(InodeId inode, SessionId session) {
  return Key2(Tag::kOrphan, inode.value, session.value);
}
std::string SessionOrphanPrefix(SessionId session) {
  return Key1(Tag::kSessionOrphan, session.value);
}
std::string SessionOrphanKey(SessionId session, InodeId inode) {
  return Key2(Tag::kSessionOrphan, session.value, inode.value);
}
std::string SlotPrefix(InodeId inode) {
  return Key1(Tag::kSlot, inode.value);
}
std::string SlotKey(InodeId inode, uint64_t slot) {
  return Key2(Tag::kSlot, inode.value, slot);
}
std::string UsageKey(InodeId directory) {
  return Key1(Tag::kUsage, directory.value);
}
std::string OpenBlockPrefix(SessionId session) {
  return Key1(Tag::kOpenBlock, session.value);
}
std::string OpenBlockKey(SessionId session, BlockId block) {
  return Key2(Tag::kOpenBlock, session.value, block.value);
}
std::string XattrPrefix(InodeId inode) {
  return Key1(Tag::kXattr, inode.value);
}
std::string XattrKey(InodeId inode, std::string_view name) {
  std::string key = Key1(Tag::kXattr, inode.value);
  key.append(name);
  return key;
}
std::string TagPrefix(Tag tag) {
  return Key(tag);
}

uint64_t KeyNumber(std::string_view key, size_t position) {
  return key.size() < position + 8 ? 0 : ReadBigEndian64(key.data() + position);
}

std::string_view AppliedKey() {
  return "Mapplied";
}
std::string_view CountersKey() {
  return "Mcounters";
}

}  // namespace dfs::nn
