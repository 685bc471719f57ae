#include "datanode/recovery/recovery.h"

#include <algorithm>
#include <map>
#include <utility>

#include "common/base/check.h"
#include "common/base/logging.h"
#include "datanode/transfer/remote_reader.h"
#include "dfs_types.h"

namespace dfs::dn {
namespace {

/// Chunks that differ and lie this close together are read in one go.
constexpr uint64_t kJoinChunks = 16;

}  // namespace

/// Makes one replica equal to its source, cuts it, and finalizes it.
class FinishJob : public std::enable_shared_from_this<FinishJob> {
 public:
  using Done = UniqueFunction<void(Result<idl::FinishRecoveryReply>)>;
  FinishJob(BlockStore& store, rpc::Network& network, std::string host_id,
            const idl::FinishRecoveryRequest& request, Done done)
      : store_(store),
        network_(network),
        host_id_(std::move(host_id)),
        request_(request),
        length_(static_cast<uint64_t>(request.length)),
        done_(std::move(done)) {}

  void Start() {
    if (Status began = Begin(); !began) return Finish(began);
    if (recovered_before_) return Finish(Status::Ok());
    if (!request_.__isset.source ||
        request_.source.datanode == static_cast<int64_t>(store_.id().value)) {
      return Finish(Seal(/*as_source=*/true));
    }
    if (length_ == 0) return Finish(Seal(false));
    FetchSums();
  }
  void Cancel() {
    if (const auto reader = reader_.lock()) reader->Cancel();
    Finish(Status(Code::kCancelled, "the datanode is stopping"));
  }

 private:
  Status Begin() {
    if (request_.block <= 0 || request_.recovery_stamp <= 0 || request_.length < 0) {
      return Status(Code::kInvalidArgument, "finish_recovery: fields out of bounds");
    }
    DFS_ASSIGN_OR_RETURN(replica_, store_.Find(BlockId(static_cast<uint64_t>(request_.block))));
    const Stamp stamp(static_cast<uint64_t>(request_.recovery_stamp));
    auto ticket = replica_->RecoveryTicket(stamp);
    if (!ticket && ticket.error().Is(Code::kAlreadyExists)) {
      recovered_before_ = true;
      if (replica_->info().length != length_) {
        return Status(Code::kConflict, "this recovery ended here with another length");
      }
      return Status::Ok();
    }
    if (!ticket) return ticket.error();
    ticket_ = *ticket;
    return Status::Ok();
  }

  void FetchSums() {
    Read(
        0, length_, true,
        [this](uint64_t offset, const Buffer&, std::vector<uint64_t> sums) -> Status {
          if (offset / kChunkSize != sums_.size())
            return Status(Code::kProtocol, "sums out of order");
          sums_.insert(sums_.end(), sums.begin(), sums.end());
          return Status::Ok();
        },
        [this](Status read) {
          if (!read) return Finish(read.WithContext("sums of the source"));
          if (Status compared = Compare(); !compared) return Finish(compared);
          CopyNext();
        });
  }

  /// Own bytes, not own sums, are held against the source's: a torn chunk's sum may well fit.
  Status Compare() {
    if (sums_.size() != ChunkCount(length_)) {
      return Status(Code::kConflict, "the source is shorter than the length agreed upon");
    }
    const uint64_t own_length = replica_->info().length;
    if (own_length > length_) DFS_RETURN_IF_ERROR(replica_->Truncate(ticket_, length_));
    DFS_ASSIGN_OR_RETURN(const auto own, replica_->ActualSums(0, sums_.size()));
    for (uint64_t chunk = 0; chunk < sums_.size(); chunk++) {
      if (chunk < own.size() && own[chunk] == sums_[chunk]) continue;
      if (!differing_.empty() && chunk <= differing_.rbegin()->second + kJoinChunks) {
        differing_.rbegin()->second = chunk;
      } else {
        differing_[chunk] = chunk;
      }
    }
    // Those that fit need their sums stored: a torn chunk may fit the source but not its own sum.
    DFS_ASSIGN_OR_RETURN(const auto stored, replica_->ReadSums(0, sums_.size()));
    for (uint64_t chunk = 0; chunk < std::min(own.size(), sums_.size()); chunk++) {
      if (own[chunk] == sums_[chunk] && stored[chunk] != sums_[chunk])
        differing_.emplace(chunk, chunk);
    }
    return Status::Ok();
  }

  void CopyNext() {
    if (differing_.empty()) {
      Status cut;
      if (replica_->info().length > length_) cut = replica_->Truncate(ticket_, length_);
      return Finish(cut.ok() ? Seal(false) : cut);
    }
    const auto [first, last] = *differing_.begin();
    differing_.erase(differing_.begin());
    const uint64_t offset = first * kChunkSize;
    Read(
        offset, std::min(length_, (last + 1) * kChunkSize) - offset, false,
        [this](uint64_t at, const Buffer& data, std::vector<uint64_t> sums) -> Status {
          copied_ += data.size();
          return replica_->ReplaceChunks(ticket_, at, data.view(), sums.data(), sums.size());
        },
        [this](Status read) {
          if (!read) return Finish(read.WithContext("bytes of the source"));
          CopyNext();
        });
  }

  void Read(uint64_t offset, uint64_t length, bool sums_only, RemoteReader::OnData on_data,
            UniqueFunction<void(Status)> done) {
    RemoteRange range;
    range.block = static_cast<uint64_t>(request_.block);
    range.stamp = static_cast<uint64_t>(request_.recovery_stamp);
    range.offset = offset;
    range.length = length;
    range.token = request_.token;
    range.sums_only = sums_only;
    // The reader keeps this job alive until it has said done.
    reader_ = RemoteReader::Start(network_, request_.source, host_id_, std::move(range),
                                  std::move(on_data),
                                  [self = shared_from_this(), done = std::move(done)](Status read) {
                                    if (self->done_) done(std::move(read));
                                  });
  }

  Status Seal(bool as_source) {
    if (as_source) {
      if (replica_->info().length < length_) {
        return Status(Code::kConflict, "the source is shorter than the length agreed upon");
      }
      // Bytes that a crash left half written are made the truth here; what no write explains is not.
      DFS_RETURN_IF_ERROR(replica_->ResumTornChunks(ticket_));
      if (replica_->info().length > length_) {
        DFS_RETURN_IF_ERROR(replica_->Truncate(ticket_, length_));
      }
    }
    if (replica_->info().length != length_) {
      return Status(Code::kConflict, "not as long as the length agreed upon");
    }
    DFS_RETURN_IF_ERROR(replica_->FinishRecovery(ticket_));
    store_.Recovered(replica_);
    return Status::Ok();
  }

  void Finish(const Status& why) {
    if (!done_) return;
    Done done = std::move(done_);
    done_ = nullptr;
    if (!why) {
      LogWarning("block {}: recovery under stamp {}: {}", request_.block, request_.recovery_stamp,
                 why.ToString());
      if (why.Is(Code::kCorrupt) && replica_) store_.ReportCorrupt(replica_, why);
      return done(why);
    }
    LogInfo("block {}: recovered at stamp {}, length {}, {} bytes copied", request_.block,
            request_.recovery_stamp, length_, copied_);
    idl::FinishRecoveryReply reply;
    reply.length = request_.length;
    reply.stamp = request_.recovery_stamp;
    done(std::move(reply));
  }

  BlockStore& store_;
  rpc::Network& network_;
  const std::string host_id_;
  const idl::FinishRecoveryRequest request_;
  const uint64_t length_;
  Done done_;
  ReplicaPtr replica_;
  WriteTicket ticket_;
  bool recovered_before_ = false;
  std::vector<uint64_t> sums_;
  std::map<uint64_t, uint64_t> differing_;  // first to last chunk
  uint64_t copied_ = 0;
  std::weak_ptr<RemoteReader> reader_;
};

struct ReplicaRecovery::Shared {
  BlockStore& store;
  rpc::Network& network;
  std::string host_id;
  std::map<uint64_t, std::weak_ptr<FinishJob>> jobs;  // by block
  bool stopped = false;
};

ReplicaRecovery::ReplicaRecovery(BlockStore& store, rpc::Network& network, std::string host_id)
    : shared_(std::make_shared<Shared>(Shared{store, network, std::move(host_id), {}, false})) {}

ReplicaRecovery::~ReplicaRecovery() {
  Stop();
}

Result<idl::InitRecoveryReply> ReplicaRecovery::InitRecovery(
    const idl::InitRecoveryRequest& request) {
  if (request.block <= 0 || request.recovery_stamp <= 0) {
    return Status(Code::kInvalidArgument, "init_recovery: fields out of bounds");
  }
  idl::InitRecoveryReply reply;
  const BlockId block(static_cast<uint64_t>(request.block));
  const Stamp stamp(static_cast<uint64_t>(request.recovery_stamp));
  // While a block is open membership decides, whatever stamp a member's file shows: the stamps that
  // the request accepts are the namenode's to judge, by the answer.
  Result<Replica::RecoveryView> view = Status(Code::kNotFound, "not here");
  // Once more if a copy took its place in between.
  for (int attempt = 0; attempt < 2 && !view && view.error().Is(Code::kNotFound); attempt++) {
    auto replica = shared_->store.Find(block);
    if (replica) {
      view = (*replica)->InitRecovery(stamp);
    } else {
      view = replica.error();
    }
  }
  if (!view && view.error().Is(Code::kNotFound)) return reply;  // found = false
  if (!view) return view.error();
  reply.found = true;
  reply.stamp = static_cast<int64_t>(view->stamp.value);
  reply.length = static_cast<int64_t>(view->length);
  reply.state = static_cast<int32_t>(view->state_before);
  reply.synced_length = static_cast<int64_t>(view->synced_length);
  LogInfo("block {}: fenced by recovery stamp {}; was {}, stamp {}, length {}", request.block,
          request.recovery_stamp, StateName(view->state_before), view->stamp.value, view->length);
  return reply;
}

void ReplicaRecovery::FinishRecovery(const idl::FinishRecoveryRequest& request,
                                     UniqueFunction<void(Result<idl::FinishRecoveryReply>)> done) {
  if (shared_->stopped) return done(Status(Code::kUnavailable, "the datanode is stopping"));
  auto job = std::make_shared<FinishJob>(shared_->store, shared_->network, shared_->host_id,
                                         request, std::move(done));
  std::erase_if(shared_->jobs, [](const auto& entry) { return entry.second.expired(); });
  shared_->jobs[static_cast<uint64_t>(request.block)] = job;
  job->Start();
}

void ReplicaRecovery::Stop() {
  shared_->stopped = true;
  auto jobs = std::exchange(shared_->jobs, {});
  for (auto& [block, weak] : jobs) {
    if (auto job = weak.lock()) job->Cancel();
  }
}

}  // namespace dfs::dn
