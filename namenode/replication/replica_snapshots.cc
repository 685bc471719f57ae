// Flushing the state, cutting the log behind it, and snapshots to and from other members.
#include <algorithm>

#include "common/base/defects.h"
#include "common/base/logging.h"
#include "namenode/replication/replica_impl.h"

namespace dfs::nn {

namespace {
constexpr int64_t kFlushPollNs = 50 * kMillisecond;
constexpr uint64_t kPollsToAskAgain = 10;
}  // namespace

// --- the log follows what the state store has made durable (protocols 9.1) ---

void Replica::Impl::FlushIfDue() {
  if (flushing || (bytes_since_flush < options.flush_after_bytes &&
                   commands_since_flush < options.flush_after_commands)) {
    return;
  }
  if (Status s = applier.StartFlush(); !s) return Fatal(s.WithContext("flushing the state"));
  bytes_since_flush = 0;
  commands_since_flush = 0;
  flushing = true;
  flush_wanted = applied.index;
  if (DefectOn(Defect::kLogCutBeforeFlush)) TruncateLog();
  PollFlush();
}

void Replica::Impl::PollFlush() {
  executor.RunAfter(kFlushPollNs, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self || self->stopped) return;
    LogPosition before = self->flushed;
    LogPosition now = self->applier.flushed();
    if (now.index > before.index) {
      self->flushed = now;
      self->TruncateLog();
    }
    if (self->flushed.index < self->flush_wanted) {
      // Perhaps a flush was under way when ours was asked for, and covered less.
      if (++self->flush_polls % kPollsToAskAgain == 0) {
        if (Status s = self->applier.StartFlush(); !s) return self->Fatal(s);
      }
      return self->PollFlush();
    }
    self->flushing = false;
    self->FlushIfDue();
  });
}

void Replica::Impl::TruncateLog() {
  LogIndex cut = DefectOn(Defect::kLogCutBeforeFlush) ? applied.index : flushed.index;
  cut = std::min(cut, storage->IndexKeeping(options.keep_log_bytes));
  cut = std::min({cut, applied.index, core->durable_index()});
  for (const auto& [id, sender] : senders) {
    // What a follower will need behind its snapshot (and while that is being made, all of it).
    cut = std::min(cut, sender->index());
  }
  if (cut < core->first_index()) return;
  core->CompactTo(cut);
  writer->TruncatePrefix(cut);
  ++metrics.log_truncations;
}

// --- sending ---

void Replica::Impl::StartSnapshot(NodeId to) {
  if (!links->established(to)) {
    // Not from within the core's output.
    return Later(
        [this](NodeId id) {
          core->OnSnapshotSent(id, 0, false);
          Schedule();
        },
        to);
  }
  SnapshotSender::Options sender_options;
  sender_options.chunk_bytes = options.snapshot_chunk_bytes;
  sender_options.timeout_ns = options.snapshot_timeout_ns;
  auto sender = std::make_unique<SnapshotSender>(
      env, applier, *links, executor, sender_options, directory.send_path(to), to, core->term(),
      core->configuration(), random.Next(),
      [this, to](LogIndex index, const Status& status) { OnSnapshotDone(to, index, status); });
  SnapshotSender* started = sender.get();
  senders[to] = std::move(sender);  // replaces, and so cancels, an earlier one
  LogInfo("sending a snapshot to namenode {}", to.value);
  started->Start();
}

void Replica::Impl::OnSnapshotDone(NodeId to, LogIndex index, const Status& status) {
  if (status) {
    ++metrics.snapshots_sent;
  } else {
    ++metrics.snapshots_abandoned;
    LogWarning("snapshot to namenode {}: {}", to.value, status.ToString());
  }
  senders.erase(to);
  if (!running()) return;
  core->OnSnapshotSent(to, index, status.ok());
  Schedule();
}

/// A transfer that takes so long that the log behind it grows without end is given up.
void Replica::Impl::CheckTransfers() {
  for (auto it = senders.begin(); it != senders.end();) {
    LogIndex index = it->second->index();
    NodeId to = it->first;
    bool over = it->second->term() != core->term() || !core->is_leader();
    bool too_long = index != 0 && storage->BytesFrom(index) >
                                      options.abandon_snapshot_bytes + options.keep_log_bytes;
    if (!over && !too_long) {
      ++it;
      continue;
    }
    it = senders.erase(it);
    if (over) continue;
    ++metrics.snapshots_abandoned;
    LogWarning("snapshot to namenode {} given up: too much log has gathered behind it", to.value);
    core->OnSnapshotSent(to, index, false);
  }
}

// --- receiving ---

void Replica::Impl::OnSnapshotRequest(NodeId from, Buffer request, rpc::ResponderPtr responder) {
  if (!running()) return responder->Fail(Status(Code::kUnavailable, "not running"));
  auto decoded = DecodeSnapshotRequest(request.view());
  if (!decoded) return responder->Fail(decoded.error());
  if (decoded->term < core->term() || core->is_leader()) {
    return responder->Fail(Status(Code::kStaleTerm, "not from the leader of this term"));
  }
  auto result = receiver->Handle(from, *decoded);
  if (!result) {
    LogWarning("snapshot from namenode {}: {}", from.value, result.error().ToString());
    // Its own disk failing is this member's end; everything else is the transfer's.
    if (result.error().Is(Code::kIoError)) Fatal(result.error());
    return responder->Fail(result.error());
  }
  if (*result) {
    raft::Message m;
    m.type = raft::MessageType::kInstallSnapshot;
    m.from = from;
    m.to = directory.node_id();
    m.term = (*result)->term;
    m.snapshot = (*result)->meta;
    core->Step(std::move(m), Now());
    Drive();  // installs it, when the core wants it
    if (stopped) return;
    receiver->Discard();
    Schedule();
  }
  responder->Send(Buffer(), applied.index);
}

/// A switch: the state first, then the log (PersistRequest::reset). A crash in between leaves a state that
/// the log does not lead to, which Recover() puts right.
void Replica::Impl::Install(const raft::SnapshotMeta& meta) {
  Status s = applier.InstallCheckpoint(receiver->directory());
  if (!s) return Fatal(s.WithContext("installing a snapshot"));
  applied = applier.applied();
  if (applied.index != meta.index || applied.term != meta.term) {
    return Fatal(Status(Code::kCorrupt, "the snapshot is not what the leader said it is"));
  }
  flushed = applied;
  bytes_since_flush = 0;
  commands_since_flush = 0;
  ++metrics.snapshots_installed;
  LogInfo("installed a snapshot at entry {}", applied.index);
  ServeWaitingReads();
}

}  // namespace dfs::nn
