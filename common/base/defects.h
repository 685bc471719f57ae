// Deliberate defects, for tests that show the simulator can fail. Each names a rule that is left out
// while it is switched on. The switches are process-wide, off by default, and only a test or dfs-sim
// ever turns one on; no configuration reaches them.
#pragma once

namespace dfs {

enum class Defect : int {
  kVoteNotSynced,            // raft-checklist 1
  kCommitOldTermByCounting,  // raft-checklist 9
  kCommitBeyondVerified,     // raft-checklist 10
  kTruncateWithoutConflict,  // raft-checklist 11
  kAckBeforeLogSync,         // raft-checklist 13: a follower acknowledges before its fsync
  kLeaseWithoutQuorum,       // protocols 2.1: lease reads without an acknowledged heartbeat
  kReplyNotStored,           // protocols 1.2
  kLogCutBeforeFlush,        // protocols 9.1
  kAppliedIndexNotInBatch,   // raft-checklist 16
  kSnapshotKeepsOldLog,      // raft-checklist 29
  kStaleReplicaServed,       // protocols 4.2: a closed block is read by location, not by stamp
  kExclusionNotCommitted,    // protocols 4.1
  kOpenNotCompareAndSet,     // protocols 4.1: open ignores the old stamp
  kRecoveryWithoutFence,     // protocols 6.1
  kRecoveryOnSilence,        // protocols 6.3: length 0 because nobody spoke
  kNoWriteIntent,            // protocols 5.2
  kAckBeforeAllMembers,      // design 6: acknowledged before every member has the packet
  kSyncNotForwarded,         // design 6: fsync answered without the members' fsync
  kStaleIncarnationAccepted, // protocols 1.3
  kStaleTermCommandAccepted, // raft-checklist 41
  kReopenedBeforeCopied,     // protocols 4.4: a writer closed its block to have it repaired, and does not wait
  kGrowthNotCompared,        // protocols 3.5: a small file grows over what another session wrote to it
  kLeaseNoGrace,             // protocols 3.4: a new leader does not wait for what sessions hold
  kLeaseGrantedDuringChange, // protocols 3.1: leases are granted on what is being changed
  kLeaseNotRecalled,         // protocols 3.1: a change does not recall
  kLeaseRecallNotAwaited,    // protocols 3.1: a change is proposed before the holders have answered
  kLeaseWriterNotAsked,      // design 5: a reader gets what the writer elsewhere has not told
  kLeaseTermIgnored,         // protocols 2.1: a mount serves from its cache when its term has run out
  kLeaseRecallIgnored,       // protocols 3.1: a mount answers a recall and goes on serving
  kLeaseOldGrantKept,        // an answer that was overtaken by a recall is cached
  kLeaseOwnChangeNotRecalled,  // protocols 3.2: what a session learns of its own change is not recalled by one that was first to ask
  kLeaseRenamedNameKept,  // the kernel keeps, under its new name, what it was allowed to keep under the old one
  kLeaseKernelNotTold,       // protocols 3.1: a recall does not reach what the kernel cached
  // The mount's, for tools/fsx.
  kMountInlineStaleTail,     // a small file cut and grown again shows its old end
  kMountGapNotZero,          // a write behind the end of a small file leaves no zeros before it
  kMountBlockBoundaryLost,   // of a write across two blocks the second part is lost
  kMountReadBesideWriter,    // reads do not see what was written and not flushed
  kMountNoOverlay,           // the size does not count what was written and not flushed
  kMountSyncDoesNothing,     // fsync answers at once
  kMountCloseDoesNotFlush,   // close answers at once, and nothing follows
  kMountPagesStay,           // the kernel keeps the pages of a file that changed
  kMountTimeStandsStill,     // writes do not change the time, so nobody elsewhere sees them
  kMountGrowForgotten,       // a truncation upwards is answered and forgotten
  kMountPlacesStay,          // a reader keeps the places of blocks of a file that changed
  kCount
};

#ifdef DFS_NO_DEFECTS
constexpr bool DefectOn(Defect) { return false; }
#else
extern bool g_defects[static_cast<int>(Defect::kCount)];
inline bool DefectOn(Defect d) { return __builtin_expect(g_defects[static_cast<int>(d)], false); }
#endif
void SetDefect(Defect d, bool on);
const char* DefectName(Defect d);
/// Turns on the defect of that name; false when there is none.
bool SetDefectByName(const char* name);

}  // namespace dfs
