#include "common/base/defects.h"

#include <cstring>

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
    case Defect::kGrowthNotCompared:
      return "growth_not_compared";
    case Defect::kLeaseNoGrace:
      return "lease_no_grace";
    case Defect::kLeaseGrantedDuringChange:
      return "lease_granted_during_change";
    case Defect::kLeaseNotRecalled:
      return "lease_not_recalled";
    case Defect::kLeaseRecallNotAwaited:
      return "lease_recall_not_awaited";
    case Defect::kLeaseWriterNotAsked:
      return "lease_writer_not_asked";
    case Defect::kLeaseTermIgnored:
      return "lease_term_ignored";
    case Defect::kLeaseRecallIgnored:
      return "lease_recall_ignored";
    case Defect::kLeaseOldGrantKept:
      return "lease_old_grant_kept";
    case Defect::kLeaseOwnChangeNotRecalled:
      return "lease_own_change_not_recalled";
    case Defect::kLeaseRenamedNameKept:
      return "lease_renamed_name_kept";
    case Defect::kLeaseKernelNotTold:
      return "lease_kernel_not_told";
    case Defect::kMountInlineStaleTail:
      return "mount_inline_stale_tail";
    case Defect::kMountGapNotZero:
      return "mount_gap_not_zero";
    case Defect::kMountBlockBoundaryLost:
      return "mount_block_boundary_lost";
    case Defect::kMountReadBesideWriter:
      return "mount_read_beside_writer";
    case Defect::kMountNoOverlay:
      return "mount_no_overlay";
    case Defect::kMountSyncDoesNothing:
      return "mount_sync_does_nothing";
    case Defect::kMountCloseDoesNotFlush:
      return "mount_close_does_not_flush";
    case Defect::kMountPagesStay:
      return "mount_pages_stay";
    case Defect::kMountTimeStandsStill:
      return "mount_time_stands_still";
    case Defect::kMountGrowForgotten:
      return "mount_grow_forgotten";
    case Defect::kMountPlacesStay:
      return "mount_places_stay";
    case Defect::kCount:
      break;
  }
  return "unknown";
}

bool SetDefectByName(const char* name) {
  for (int i = 0; i < static_cast<int>(Defect::kCount); ++i) {
    const auto defect = static_cast<Defect>(i);
    if (std::strcmp(name, DefectName(defect)) != 0) continue;
    SetDefect(defect, true);
    return true;
  }
  return false;
}

}  // namespace dfs
