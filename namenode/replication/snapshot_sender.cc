#include "namenode/replication/snapshot_sender.h"

#include <algorithm>

#include "common/base/checksum.h"
#include "common/base/logging.h"

namespace dfs::nn {

namespace {
constexpr int64_t kFlushPollNs = 20 * kMillisecond;
constexpr int kMaxFlushPolls = 100;
}  // namespace

SnapshotSender::SnapshotSender(Env& env, Applier& applier, PeerLinks& links, Executor& executor,
                               Options options, std::string directory, NodeId to, Term term,
                               raft::Configuration configuration, uint64_t transfer, Done done)
    : env_(env),
      applier_(applier),
      links_(links),
      executor_(executor),
      options_(options),
      directory_(std::move(directory)),
      to_(to),
      term_(term),
      transfer_(transfer),
      done_(std::move(done)) {
  meta_.configuration = std::move(configuration);
}

SnapshotSender::~SnapshotSender() {
  alive_.reset();
  file_.reset();
  if (!env_.Exists(directory_)) return;
  if (Status s = env_.RemoveTree(directory_); !s) {
    LogWarning("removing {}: {}", directory_, s.ToString());
  }
}

/// The bulk of the state is flushed in the background first, so that the checkpoint itself is quick.
void SnapshotSender::Start() {
  flush_wanted_ = applier_.applied().index;
  if (Status s = applier_.StartFlush(); !s) {
    executor_.Post([this, alive = std::weak_ptr<bool>(alive_), s] {
      if (alive.lock()) Finish(s);
    });
    return;
  }
  executor_.Post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.lock()) WaitForFlush();
  });
}

void SnapshotSender::WaitForFlush() {
  if (applier_.flushed().index >= flush_wanted_ || ++flush_polls_ > kMaxFlushPolls) {
    return MakeCheckpoint();
  }
  executor_.RunAfter(kFlushPollNs, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.lock()) WaitForFlush();
  });
}

void SnapshotSender::MakeCheckpoint() {
  if (Status s = OpenCheckpoint(); !s) return Finish(s);
  SendBegin();
}

Status SnapshotSender::OpenCheckpoint() {
  if (env_.Exists(directory_)) DFS_RETURN_IF_ERROR(env_.RemoveTree(directory_));
  DFS_ASSIGN_OR_RETURN(LogPosition position, applier_.CreateCheckpoint(directory_));
  meta_.index = position.index;
  meta_.term = position.term;
  DFS_ASSIGN_OR_RETURN(std::vector<std::string> names, env_.List(directory_));
  std::sort(names.begin(), names.end());
  for (std::string& name : names) {
    DFS_ASSIGN_OR_RETURN(uint64_t size, env_.FileSize(directory_ + "/" + name));
    files_.push_back({std::move(name), size});
  }
  hashes_.assign(files_.size(), 0);
  return Status();
}

void SnapshotSender::SendBegin() {
  SnapshotRequest request;
  request.op = SnapshotOp::kBegin;
  request.meta = meta_;
  request.files = files_;
  Call(request);
}

Status SnapshotSender::ReadChunk(SnapshotRequest* request, std::string* data) {
  if (!file_) {
    DFS_ASSIGN_OR_RETURN(
        file_, env_.Open(directory_ + "/" + files_[file_index_].name, Env::OpenMode::kReadOnly));
  }
  uint64_t left = files_[file_index_].size - offset_;
  data->resize(std::min<uint64_t>(left, options_.chunk_bytes));
  DFS_ASSIGN_OR_RETURN(size_t n, file_->ReadAt(offset_, data->data(), data->size()));
  if (n != data->size()) return Status(Code::kCorrupt, "a checkpoint file is too short");
  hashes_[file_index_] = Hash64(*data, hashes_[file_index_]);
  request->op = SnapshotOp::kChunk;
  request->file = file_index_;
  request->offset = offset_;
  request->data = *data;
  offset_ += data->size();
  return Status();
}

void SnapshotSender::SendNext() {
  while (file_index_ < files_.size() && offset_ == files_[file_index_].size) {
    file_.reset();
    offset_ = 0;
    ++file_index_;
  }
  SnapshotRequest request;
  std::string data;
  if (file_index_ < files_.size()) {
    if (Status s = ReadChunk(&request, &data); !s) return Finish(s);
  } else {
    request.op = SnapshotOp::kFinish;
    request.hashes = hashes_;
    finishing_ = true;
  }
  Call(request);
}

void SnapshotSender::Call(const SnapshotRequest& request) {
  SnapshotRequest sent = request;
  sent.transfer = transfer_;
  sent.term = term_;
  links_.CallSnapshot(to_, EncodeSnapshotRequest(sent), options_.timeout_ns,
                      [this, alive = std::weak_ptr<bool>(alive_)](Result<rpc::Reply> reply) {
                        if (alive.lock()) OnReply(reply);
                      });
}

void SnapshotSender::OnReply(const Result<rpc::Reply>& reply) {
  if (!reply) return Finish(reply.error());
  if (finishing_) return Finish(Status());
  SendNext();
}

void SnapshotSender::Finish(const Status& status) {
  Done done = std::move(done_);
  done_ = nullptr;
  if (done) done(meta_.index, status);  // may destroy this
}

}  // namespace dfs::nn
