// What all commands have: a type and a header (commands.h).
#pragma once

#include <cstdint>

#include "common/auth/credentials.h"
#include "common/base/ids.h"

namespace dfs::nn {

/// Numbers stay: they are in logs.
enum class CommandType : uint16_t {
  kOpenSession = 1,
  kResumeSession = 2,
  kExpireSession = 3,
  kCloseSession = 4,
  kMkdir = 10,
  kCreate = 11,
  kSymlink = 12,
  kLink = 13,
  kUnlink = 14,
  kRmdir = 15,
  kRemoveTree = 16,
  kReclaim = 17,
  kRename = 18,
  kSetAttr = 19,
  kSetXattr = 20,
  kRemoveXattr = 21,
  kCloseOrphan = 22,
  kOpenBlock = 30,
  kExcludeMembers = 31,
  kCommitLength = 32,
  kCloseBlock = 33,
  kWriteInline = 34,
  kReleaseBlocks = 35,
  kBeginBlockRecovery = 40,
  kExcludeFromRecovery = 41,
  kFinishBlockRecovery = 42,
  kSetMeta = 50,
  kSetDatanode = 51,
  kLock = 60,
  kUnlock = 61,
};

/// session 0: nobody's. Then there is no exactly-once (internal commands and plain Thrift clients),
/// and what needs a session is refused.
struct CommandHeader {
  SessionId session;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;           // from 1, of this session
  uint64_t first_outstanding = 0;  // the client will not ask again for anything below
  int64_t now_ns = 0;              // the leader's wall clock
  Credentials caller;
};

}  // namespace dfs::nn
