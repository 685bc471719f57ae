// Writing and reading; recovery is in log_recovery.cc.
#include "namenode/replication/log_storage.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/check.h"
#include "namenode/replication/log_format.h"

namespace dfs::nn {

namespace {
using namespace log_format;

constexpr uint64_t kMaxBatchBytes = 16u << 20;
constexpr uint64_t kExtentBytes = 32u << 10;
constexpr uint64_t kZerosOfFirstSegment = 8u << 20;
constexpr uint64_t kZeroChunk = 1u << 20;
}  // namespace

LogStorage::LogStorage(Env& env, std::string directory, Owner owner, LogStorageOptions options,
                       Random random)
    : env_(env),
      directory_(std::move(directory)),
      owner_(std::move(owner)),
      options_(options),
      random_(random) {
  DFS_CHECK(options_.segment_bytes % kPage == 0 && options_.segment_bytes >= 4 * kPage);
}

LogStorage::~LogStorage() = default;

std::string LogStorage::SegmentPath(uint64_t number) const {
  return directory_ + fmt::format("/{:016x}.log", number);
}

// --- hard state ---

/// Both copies are synced before the state counts as saved: whichever of them is found damaged later, the
/// other one holds the newest state that was promised to anybody.
Status LogStorage::SaveHardState(const raft::HardState& state) {
  std::string page = EncodeHardStateSlot({hard_state_sequence_ + 1, state}, owner_.cluster_id,
                                         owner_.node_id, owner_.storage_id);
  ++hard_state_sequence_;
  for (uint64_t slot = 0; slot < 2; ++slot) {
    DFS_RETURN_IF_ERROR(hard_state_file_->WriteAt(slot * kPage, page));
    DFS_RETURN_IF_ERROR(hard_state_file_->Sync());
    ++syncs_;
  }
  return Status();
}

// --- batches ---

Status LogStorage::Write(const std::vector<const raft::PersistRequest*>& requests) {
  if (failed_.ok()) failed_ = WriteRequests(requests);
  return failed_;
}

Status LogStorage::WriteRequests(const std::vector<const raft::PersistRequest*>& requests) {
  const raft::HardState* newest = nullptr;
  bool reset = false;
  for (const raft::PersistRequest* request : requests) {
    if (request->hard_state) newest = &*request->hard_state;
    reset = reset || request->reset;
  }
  // Before any entry of its term. Ahead of earlier requests' entries it does no harm: nothing that
  // depends on these was said yet.
  if (newest != nullptr) DFS_RETURN_IF_ERROR(SaveHardState(*newest));
  for (const raft::PersistRequest* request : requests) DFS_RETURN_IF_ERROR(AddRequest(*request));
  if (!batch_.empty()) DFS_RETURN_IF_ERROR(WriteBatch());
  if (!reset) return Status();
  while (segments_.size() > 1) DFS_RETURN_IF_ERROR(RetireFront());
  return Status();
}

Status LogStorage::WriteMark() {
  if (marked_ || !failed_.ok()) return failed_;
  failed_ = AddRecord(0);
  if (failed_.ok()) failed_ = WriteBatch();
  marked_ = true;
  return failed_;
}

Status LogStorage::AddRequest(const raft::PersistRequest& request) {
  std::string& out = batch_;
  if (request.reset) {
    DFS_RETURN_IF_ERROR(AddRecord(kRecordHeader));
    const Segment& s = *segments_.back();
    AppendRecord(
        {RecordType::kReset, raft::EntryType::kNoop, request.reset->term, request.reset->index, {}},
        s.nonce, s.end + out.size(), &out);
    last_index_ = request.reset->index;
    last_term_ = request.reset->term;
    IndexTruncate(0);
  }
  if (request.truncate_from != 0 && request.truncate_from <= last_index_) {
    Term before = request.truncate_term;
    DFS_RETURN_IF_ERROR(AddRecord(kRecordHeader));
    const Segment& s = *segments_.back();
    AppendRecord({RecordType::kTruncate, raft::EntryType::kNoop, before, request.truncate_from, {}},
                 s.nonce, s.end + out.size(), &out);
    last_index_ = request.truncate_from - 1;
    last_term_ = before;
    IndexTruncate(request.truncate_from);
  }
  for (const raft::Entry& entry : request.entries) {
    DFS_CHECK(entry.index == last_index_ + 1, "entry {} after {}", entry.index, last_index_);
    bool first_of_batch = batch_.empty();
    uint64_t bytes = kRecordHeader + entry.data.size();
    DFS_RETURN_IF_ERROR(AddRecord(bytes));
    first_of_batch = first_of_batch || out.size() == kBatchHeader;
    const SegmentPtr& s = segments_.back();
    uint64_t offset = s->end + out.size();
    AppendRecord({RecordType::kEntry, entry.type, entry.term, entry.index, entry.data.view()},
                 s->nonce, offset, &out);
    last_index_ = entry.index;
    last_term_ = entry.term;
    IndexEntry(s, entry.index, offset, offset + bytes, first_of_batch);
  }
  return Status();
}

/// Makes room for a record of that many bytes in the batch; begins a batch, or a segment, when needed.
Status LogStorage::AddRecord(uint64_t bytes) {
  uint64_t size = (batch_.empty() ? kBatchHeader : batch_.size()) + bytes;
  auto left = [this] { return segments_.back()->size - segments_.back()->end; };
  if (!batch_.empty() && (RoundUp(size) > left() || size > kMaxBatchBytes)) {
    DFS_RETURN_IF_ERROR(WriteBatch());
    size = kBatchHeader + bytes;
  }
  if (RoundUp(size) > left()) DFS_RETURN_IF_ERROR(StartSegment(size));
  if (batch_.empty()) ReserveBatchHeader(&batch_);
  return Status();
}

Status LogStorage::WriteBatch() {
  Segment& s = *segments_.back();
  FillBatchHeader(next_batch_, s.nonce, s.end, &batch_);
  batch_.resize(RoundUp(batch_.size()), '\0');
  DFS_RETURN_IF_ERROR(s.file->WriteAt(s.end, batch_));
  DFS_RETURN_IF_ERROR(s.file->Sync());
  ++syncs_;
  ++batches_;
  bytes_written_ += batch_.size();
  {
    std::lock_guard lock(mutex_);
    s.end += batch_.size();
  }
  ++next_batch_;
  marked_ = false;
  batch_.clear();
  return Status();
}

// --- segments ---

Status LogStorage::MakeFile(const std::string& path, uint64_t size, uint64_t zero_bytes) {
  DFS_ASSIGN_OR_RETURN(std::unique_ptr<File> file, env_.Open(path, Env::OpenMode::kTruncate));
  DFS_RETURN_IF_ERROR(file->Allocate(size, /*keep_size=*/false));
  std::string zeros(std::min(zero_bytes, kZeroChunk), '\0');
  for (uint64_t at = 0; at < zero_bytes; at += zeros.size()) {
    DFS_RETURN_IF_ERROR(
        file->WriteAt(at, std::string_view(zeros).substr(0, std::min(zeros.size(), size - at))));
    file->StartWriteback(at, zeros.size());
  }
  ++segments_made_;
  return file->Sync();
}

Result<std::string> LogStorage::TakeSpare() {
  {
    std::lock_guard lock(mutex_);
    if (!spares_.empty()) {
      std::string path = std::move(spares_.back());
      spares_.pop_back();
      ++segments_recycled_;
      return path;
    }
  }
  std::string path = directory_ + "/new";
  uint64_t zeros =
      options_.write_zeros ? std::min(kZerosOfFirstSegment, options_.segment_bytes) : 0;
  DFS_RETURN_IF_ERROR(MakeFile(path, options_.segment_bytes, zeros));
  return path;
}

/// The header is durable before the segment gets its name, and the name before its first batch: a segment
/// with a bad header has lost data.
Status LogStorage::StartSegment(uint64_t min_bytes) {
  auto segment = std::make_shared<Segment>();
  std::string path;
  segment->size = options_.segment_bytes;
  if (kPage + RoundUp(min_bytes) > options_.segment_bytes) {
    segment->size = kPage + RoundUp(min_bytes);
    path = directory_ + "/new";
    DFS_RETURN_IF_ERROR(MakeFile(path, segment->size, 0));
  } else {
    DFS_ASSIGN_OR_RETURN(path, TakeSpare());
  }
  segment->number = segments_.empty() ? 1 : segments_.back()->number + 1;
  segment->nonce = random_.Next();
  segment->base = segments_.empty() ? 0 : segments_.back()->base + segments_.back()->end;
  segment->end = kPage;
  segment->first_batch = next_batch_;
  segment->start_index = last_index_;
  segment->start_term = last_term_;
  DFS_ASSIGN_OR_RETURN(segment->file, env_.Open(path, Env::OpenMode::kReadWrite));
  SegmentHeader h;
  h.cluster_id = owner_.cluster_id;
  h.node_id = owner_.node_id;
  h.storage_id = owner_.storage_id;
  h.number = segment->number;
  h.nonce = segment->nonce;
  h.size = segment->size;
  h.first_batch = segment->first_batch;
  h.last_index = segment->start_index;
  h.last_term = segment->start_term;
  DFS_RETURN_IF_ERROR(segment->file->WriteAt(0, EncodeSegmentHeader(h)));
  DFS_RETURN_IF_ERROR(segment->file->Sync());
  ++syncs_;
  DFS_RETURN_IF_ERROR(env_.Rename(path, SegmentPath(segment->number)));
  DFS_RETURN_IF_ERROR(env_.SyncDir(directory_));
  ++syncs_;
  std::lock_guard lock(mutex_);
  segments_.push_back(std::move(segment));
  return Status();
}

/// One at a time, each durable before the next: segments never disappear out of order, so a gap in their
/// numbers is a loss.
Status LogStorage::RetireFront() {
  SegmentPtr front = segments_.front();
  bool keep = false;
  std::string spare;
  {
    std::lock_guard lock(mutex_);
    keep = front->size == options_.segment_bytes && spares_.size() < options_.max_spare_segments;
    if (keep) spare = directory_ + fmt::format("/spare-{}", next_spare_++);
    segments_.pop_front();
    while (!extents_.empty() && extents_.front().segment == front) extents_.pop_front();
  }
  std::string path = SegmentPath(front->number);
  DFS_RETURN_IF_ERROR(keep ? env_.Rename(path, spare) : env_.Remove(path));
  DFS_RETURN_IF_ERROR(env_.SyncDir(directory_));
  ++syncs_;
  if (keep) {
    std::lock_guard lock(mutex_);
    spares_.push_back(spare);
  }
  return Status();
}

Status LogStorage::TruncatePrefix(LogIndex index) {
  // Everything in a segment is below the log's last entry when the next segment was begun.
  while (segments_.size() > 1 && segments_[1]->start_index <= index) {
    DFS_RETURN_IF_ERROR(RetireFront());
  }
  return Status();
}

bool LogStorage::NeedsSpare() const {
  std::lock_guard lock(mutex_);
  return !making_spare_ && spares_.empty() && !segments_.empty() &&
         segments_.back()->end * 4 > segments_.back()->size;
}

Status LogStorage::MakeSpare() {
  std::string path;
  {
    std::lock_guard lock(mutex_);
    if (making_spare_ || !spares_.empty()) return Status();
    making_spare_ = true;
    path = directory_ + fmt::format("/spare-{}", next_spare_++);
  }
  Status made =
      MakeFile(path, options_.segment_bytes, options_.write_zeros ? options_.segment_bytes : 0);
  std::lock_guard lock(mutex_);
  making_spare_ = false;
  if (made) spares_.push_back(path);
  return made;
}

// --- index ---

void LogStorage::IndexTruncate(LogIndex from) {
  std::lock_guard lock(mutex_);
  if (from == 0) extents_.clear();
  while (!extents_.empty() && extents_.back().first >= from) extents_.pop_back();
  if (!extents_.empty()) extents_.back().last = std::min(extents_.back().last, from - 1);
  no_merge_ = true;  // dropped records lie behind the last extent
}

void LogStorage::IndexEntry(const SegmentPtr& segment, LogIndex index, uint64_t offset,
                            uint64_t end, bool first_of_batch) {
  std::lock_guard lock(mutex_);
  if (!extents_.empty() && !no_merge_) {
    Extent& last = extents_.back();
    uint64_t expected = first_of_batch ? RoundUp(last.end) + kBatchHeader : last.end;
    if (last.segment == segment && last.last + 1 == index && offset == expected &&
        end - last.offset <= kExtentBytes) {
      last.last = index;
      last.end = end;
      return;
    }
  }
  no_merge_ = false;
  extents_.push_back({index, index, segment, offset, end});
}

Status LogStorage::Read(LogIndex from, LogIndex to, size_t max_bytes,
                        std::vector<raft::Entry>* out) {
  size_t bytes = 0;
  bool first = true;
  while (from <= to && (first || bytes < max_bytes)) {
    Extent extent;
    {
      std::lock_guard lock(mutex_);
      auto after = std::upper_bound(extents_.begin(), extents_.end(), from,
                                    [](LogIndex i, const Extent& e) { return i < e.first; });
      if (after == extents_.begin() || std::prev(after)->last < from) {
        return Status(Code::kNotFound, fmt::format("log entry {} is not stored", from));
      }
      extent = *std::prev(after);
    }
    std::string raw(extent.end - extent.offset, '\0');
    DFS_ASSIGN_OR_RETURN(size_t n,
                         extent.segment->file->ReadAt(extent.offset, raw.data(), raw.size()));
    Buffer region(raw.substr(0, n));
    LogIndex limit = std::min(to, extent.last);
    for (uint64_t at = 0; at < region.size() && from <= limit;) {
      Record record;
      uint64_t offset = extent.offset + at;
      if (!ParseRecord(region.view().substr(at), extent.segment->nonce, offset, &record)) {
        if (offset % kPage == 0) break;
        at = RoundUp(offset) - extent.offset;  // the padding behind a batch
        continue;
      }
      at += kRecordHeader + record.payload.size();
      if (record.type != RecordType::kEntry || record.index != from) continue;
      raft::Entry entry;
      entry.term = record.term;
      entry.index = record.index;
      entry.type = record.entry_type;
      size_t size = record.payload.size();
      if (size > 0) entry.data = region.Slice(at - size, size);
      if (!first && bytes + entry.bytes() > max_bytes) return Status();
      bytes += entry.bytes();
      first = false;
      out->push_back(std::move(entry));
      ++from;
    }
    if (from <= limit) {
      return Status(Code::kCorrupt, fmt::format("log entry {} in segment {} is damaged", from,
                                                extent.segment->number));
    }
  }
  return Status();
}

uint64_t LogStorage::BytesFrom(LogIndex index) const {
  std::lock_guard lock(mutex_);
  if (segments_.empty()) return 0;
  auto after = std::upper_bound(extents_.begin(), extents_.end(), index,
                                [](LogIndex i, const Extent& e) { return i < e.first; });
  const Extent* e = after != extents_.begin() ? &*std::prev(after)
                    : extents_.empty()        ? nullptr
                                              : &extents_.front();
  uint64_t end = segments_.back()->base + segments_.back()->end;
  return e == nullptr ? 0 : end - std::min(end, e->segment->base + e->offset);
}

LogIndex LogStorage::IndexKeeping(uint64_t bytes) const {
  std::lock_guard lock(mutex_);
  if (segments_.empty()) return 0;
  uint64_t end = segments_.back()->base + segments_.back()->end;
  if (end < bytes) return 0;
  auto after = std::upper_bound(
      extents_.begin(), extents_.end(), end - bytes,
      [](uint64_t at, const Extent& e) { return at < e.segment->base + e.offset; });
  return after == extents_.begin() ? 0 : std::prev(after)->first - 1;
}

LogStorageMetrics LogStorage::metrics() const {
  return {syncs_, batches_, bytes_written_, segments_made_, segments_recycled_, torn_tails_cut_};
}

}  // namespace dfs::nn
