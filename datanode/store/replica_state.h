// The states of a replica and what leads from one to another: one pure function, one table
// (docs/blocks.md). Whatever the table does not name is refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace dfs::dn {

/// Numbers as in reports and sidecars.
enum class ReplicaState : uint8_t {
  kNone = 0,       // not here
  kFinalized = 1,  // closed; in memory at once, on disk within seconds
  kRbw = 2,        // being written
  kRwr =
      3,  // was being written when the datanode stopped, or its disk failed it: waits for recovery
  kRur = 4,        // under recovery, fenced by a recovery stamp
  kTemporary = 5,  // a copy being made by re-replication
};

enum class ReplicaEvent : uint8_t {
  kCreate,          // a writer's new block
  kCreateCopy,      // re-replication's target
  kOpenForWrite,    // a writer comes (back) under a new stamp
  kWrite,           // bytes, or a cut, under the current fence
  kFinalize,        // the writer's last packet, or the copy is complete
  kInitRecovery,    // fenced by a recovery stamp
  kFinishRecovery,  // made equal to the others, cut, synced
  kIoError,         // bytes and sums may disagree now
  kRestart,         // the datanode starts
  kDelete,
};

/// Nothing when the event is not allowed in that state.
std::optional<ReplicaState> Next(ReplicaState state, ReplicaEvent event);

std::string_view StateName(ReplicaState state);
std::string_view EventName(ReplicaEvent event);

}  // namespace dfs::dn
