// What Apply answers: the reply, which is also stored for a retry, and the results of single commands.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "namenode/state/locks.h"
#include "namenode/state/records.h"

namespace dfs::nn {

/// What Apply answers, and what is stored for a retry. payload: one of the result structs below.
struct CommandReply {
  Code code = Code::kOk;
  std::string message;
  std::string payload;

  Status status() const { return code == Code::kOk ? Status() : Status(code, message); }
};
std::string EncodeReply(const CommandReply& reply);
Result<CommandReply> DecodeReply(std::string_view bytes);

struct AttrResult {
  InodeAttr attr;
  template <class A>
  void Fields(A& a) {
    a(attr);
  }
};
struct CreateResult {
  InodeAttr attr;
  bool created = false;
  template <class A>
  void Fields(A& a) {
    a(attr, created);
  }
};
struct SessionResult {
  SessionId session;
  uint64_t incarnation = 0;
  template <class A>
  void Fields(A& a) {
    a(session, incarnation);
  }
};
struct RemoveTreeResult {
  Usage removed;  // with the entry itself
  template <class A>
  void Fields(A& a) {
    a(removed.files, removed.directories, removed.bytes);
  }
};
struct ReclaimResult {
  bool done =
      false;  // nothing is left of this to-do (a directory's subdirectories became their own)
  uint32_t steps = 0;
  template <class A>
  void Fields(A& a) {
    a(done, steps);
  }
};
struct OpenBlockResult {
  BlockId block;
  uint64_t slot = 0;
  Stamp old_stamp;      // what members have on disk; 0: nothing, the block is new
  Stamp stamp;          // what they take on
  uint64_t length = 0;  // committed
  std::vector<DatanodeId> members;
  Stamp cut_stamp;  // see BlockRecord: cut replicas of at most this stamp to cut_length first
  uint64_t cut_length = 0;
  template <class A>
  void Fields(A& a) {
    a(block, slot, old_stamp, stamp, length, members, cut_stamp, cut_length);
  }
};

/// Of a create that was to open the first block.
struct CreateOpenResult {
  InodeAttr attr;
  bool created = false;
  bool opened = false;  // otherwise block says nothing
  OpenBlockResult block;
  template <class A>
  void Fields(A& a) {
    a(attr, created, opened, block);
  }
};

struct LockResult {
  bool granted = false;
  LogIndex token = 0;  // granted: grows from holder to holder
  Lock conflict;       // not granted: what is in the way
  template <class A>
  void Fields(A& a) {
    a(granted, token, conflict.kind, conflict.owner.session, conflict.owner.owner, conflict.start,
      conflict.end, conflict.type, conflict.pid, conflict.token);
  }
};

/// The payload of a reply as T; kCorrupt when it is not one.
template <class T>
Result<T> DecodeResult(std::string_view payload);
template <class T>
std::string EncodeResult(const T& result);

extern template Result<AttrResult> DecodeResult<AttrResult>(std::string_view);
extern template Result<CreateResult> DecodeResult<CreateResult>(std::string_view);
extern template Result<CreateOpenResult> DecodeResult<CreateOpenResult>(std::string_view);
extern template Result<SessionResult> DecodeResult<SessionResult>(std::string_view);
extern template Result<RemoveTreeResult> DecodeResult<RemoveTreeResult>(std::string_view);
extern template Result<ReclaimResult> DecodeResult<ReclaimResult>(std::string_view);
extern template Result<OpenBlockResult> DecodeResult<OpenBlockResult>(std::string_view);
extern template Result<LockResult> DecodeResult<LockResult>(std::string_view);

}  // namespace dfs::nn
