#include "common/base/defects.h"

#include "common/base/check.h"

namespace dfs {

#ifndef DFS_NO_DEFECTS
bool g_defects[static_cast<int>(Defect::kCount)] = {};
#endif

void SetDefect(Defect d, bool on) {
#ifdef DFS_NO_DEFECTS
  (void)d;
  DFS_CHECK(!on, "this build has no defect switches");
#else
  DFS_CHECK(d < Defect::kCount);
  g_defects[static_cast<int>(d)] = on;
#endif
}

const char* DefectName(Defect d) {
  switch (d) {
    case Defect::kVoteNotSynced:
      return "vote_not_synced";
    case Defect::kCommitOldTermByCounting:
      return "commit_old_term_by_counting";
    case Defect::kCommitBeyondVerified:
      return "commit_beyond_verified";
    case Defect::kTruncateWithoutConflict:
      return "truncate_without_conflict";
    case Defect::kAckBeforeLogSync:
      return "ack_before_log_sync";
    case Defect::kLeaseWithoutQuorum:
      return "lease_without_quorum";
    case Defect::kReplyNotStored:
      return "reply_not_stored";
    case Defect::kLogCutBeforeFlush:
      return "log_cut_before_flush";
    case Defect::kAppliedIndexNotInBatch:
      return "applied_index_not_in_batch";
    case Defect::kSnapshotKeepsOldLog:
      return "snapshot_keeps_old_log";
    case Defect::kStaleReplicaServed:
      return "stale_replica_served";
    case Defect::kExclusionNotCommitted:
      return "exclusion_not_committed";
    case Defect::kOpenNotCompareAndSet:
      return "open_not_compare_and_set";
    case Defect::kRecoveryWithoutFence:
      return "recovery_without_fence";
    case Defect::kRecoveryOnSilence:
      return "recovery_on_silence";
    case Defect::kNoWriteIntent:
      return "no_write_intent";
    case Defect::kAckBeforeAllMembers:
      return "ack_before_all_members";
    case Defect::kSyncNotForwarded:
      return "sync_not_forwarded";
    case Defect::kStaleIncarnationAccepted:
      return "stale_incarnation_accepted";
    case Defect::kStaleTermCommandAccepted:
      return "stale_term_command_accepted";
    case Defect::kReopenedBeforeCopied:
      return "reopened_before_copied";
    case Defect::kCount:
      break;
  }
  return "unknown";
}

}  // namespace dfs
