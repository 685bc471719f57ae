#include "namenode/replication/snapshot_receiver.h"

#include "common/base/checksum.h"
#include "common/base/logging.h"

namespace dfs::nn {

void SnapshotReceiver::Discard() {
  active_ = false;
  open_.reset();
  files_.clear();
  if (!env_.Exists(directory_)) return;
  if (Status s = env_.RemoveTree(directory_); !s) {
    LogWarning("removing {}: {}", directory_, s.ToString());
  }
}

Result<std::optional<SnapshotReceiver::Complete>> SnapshotReceiver::Handle(
    NodeId from, const SnapshotRequest& request) {
  Status done;
  if (request.op == SnapshotOp::kBegin) {
    done = Begin(from, request);
  } else if (!active_ || from != from_ || request.transfer != transfer_) {
    // Of an earlier transfer: it must not disturb the present one.
    return Status(Code::kStaleTerm, "this snapshot transfer is over");
  } else {
    done = request.op == SnapshotOp::kChunk ? Chunk(request) : Finish(request);
  }
  if (!done) {
    Discard();
    return done.WithContext("receiving a snapshot");
  }
  if (request.op != SnapshotOp::kFinish) return std::optional<Complete>();
  active_ = false;
  return std::optional<Complete>(Complete{from_, term_, meta_});
}

Status SnapshotReceiver::Begin(NodeId from, const SnapshotRequest& request) {
  Discard();
  DFS_RETURN_IF_ERROR(env_.CreateDir(directory_));
  active_ = true;
  from_ = from;
  transfer_ = request.transfer;
  term_ = request.term;
  meta_ = request.meta;
  for (const SnapshotFile& file : request.files) files_.push_back({file, 0, 0});
  return files_.empty() ? Status() : OpenNext(0);
}

Status SnapshotReceiver::OpenNext(uint32_t index) {
  open_index_ = index;
  DFS_ASSIGN_OR_RETURN(open_, env_.Open(directory_ + "/" + files_[index].file.name,
                                        Env::OpenMode::kCreateExclusive));
  return Status();
}

Status SnapshotReceiver::CloseFile() {
  if (!open_) return Status();
  DFS_RETURN_IF_ERROR(open_->Sync());
  open_.reset();
  return Status();
}

Status SnapshotReceiver::Chunk(const SnapshotRequest& r) {
  while (open_index_ < r.file) {  // empty files have no chunks
    if (files_[open_index_].written != files_[open_index_].file.size) {
      return Status(Code::kProtocol, "a snapshot file is incomplete");
    }
    DFS_RETURN_IF_ERROR(CloseFile());
    if (open_index_ + 1 >= files_.size()) return Status(Code::kProtocol, "no such snapshot file");
    DFS_RETURN_IF_ERROR(OpenNext(open_index_ + 1));
  }
  if (r.file != open_index_ || !open_ || r.file >= files_.size()) {
    return Status(Code::kProtocol, "snapshot files out of order");
  }
  FileState& f = files_[r.file];
  if (r.offset != f.written || r.data.size() > f.file.size - f.written || r.data.empty()) {
    return Status(Code::kProtocol, "snapshot chunks out of order");
  }
  DFS_RETURN_IF_ERROR(open_->WriteAt(r.offset, r.data));
  open_->StartWriteback(r.offset, r.data.size());
  f.hash = Hash64(r.data, f.hash);
  f.written += r.data.size();
  return Status();
}

Status SnapshotReceiver::Finish(const SnapshotRequest& r) {
  while (!files_.empty()) {
    DFS_RETURN_IF_ERROR(CloseFile());
    if (open_index_ + 1 >= files_.size()) break;
    DFS_RETURN_IF_ERROR(OpenNext(open_index_ + 1));
  }
  if (r.hashes.size() != files_.size()) return Status(Code::kProtocol, "snapshot hashes missing");
  for (size_t i = 0; i < files_.size(); ++i) {
    const FileState& f = files_[i];
    if (f.written != f.file.size) return Status(Code::kProtocol, "a snapshot file is incomplete");
    if (f.hash != r.hashes[i]) {
      return Status(Code::kCorrupt, "snapshot file " + f.file.name + " has a wrong hash");
    }
  }
  return env_.SyncDir(directory_);
}

}  // namespace dfs::nn
