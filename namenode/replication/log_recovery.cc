// What LogStorage finds at start, and what it believes of it.
#include <fmt/format.h>

#include <algorithm>

#include "common/base/check.h"
#include "common/base/checksum.h"
#include "common/base/logging.h"
#include "namenode/replication/log_format.h"
#include "namenode/replication/log_storage.h"

namespace dfs::nn {

namespace {
using namespace log_format;

constexpr uint64_t kFirstSequence = 1;

Status ReadFully(const File& file, uint64_t offset, uint64_t size, std::string* out) {
  out->resize(size);
  DFS_ASSIGN_OR_RETURN(size_t n, file.ReadAt(offset, out->data(), size));
  out->resize(n);
  return Status();
}
}  // namespace

Status LogStorage::Create(Env& env, const std::string& directory, const Owner& owner) {
  DFS_RETURN_IF_ERROR(env.CreateDir(directory));
  std::string page =
      EncodeHardStateSlot({kFirstSequence, {}}, owner.cluster_id, owner.node_id, owner.storage_id);
  return env.WriteFileAtomically(directory + "/hard_state", page + page);
}

Result<RecoveredLog> LogStorage::Open() {
  RecoveredLog out;
  DFS_RETURN_IF_ERROR(LoadHardState(&out.hard_state));
  DFS_RETURN_IF_ERROR(LoadSegments(&out));
  last_index_ = out.last_index;
  last_term_ = out.runs.empty() ? out.prev_term : out.runs.back().term;
  if (segments_.empty()) {
    if (hard_state_sequence_ != kFirstSequence) {
      return Status(Code::kCorrupt, "the Raft log in " + directory_ + " has no segments");
    }
    DFS_RETURN_IF_ERROR(StartSegment(0));
  } else {
    // What was read may never have been synced, if only the process died: from now on it counts.
    DFS_RETURN_IF_ERROR(segments_.back()->file->Sync());
    ++syncs_;
  }
  if (last_term_ > out.hard_state.term) {
    return Status(Code::kCorrupt, "the Raft log is of a later term than the hard state");
  }
  return out;
}

// --- hard state ---

Status LogStorage::LoadHardState(raft::HardState* out) {
  std::string path = directory_ + "/hard_state";
  auto file = env_.Open(path, Env::OpenMode::kReadWrite);
  if (!file) {
    if (!file.error().Is(Code::kNotFound)) return file.error().WithContext(path);
    return Status(Code::kCorrupt,
                  path + " is missing: the directory is not a namenode's, or damaged");
  }
  hard_state_file_ = std::move(*file);
  std::string pages;
  DFS_RETURN_IF_ERROR(ReadFully(*hard_state_file_, 0, 2 * kPage, &pages));
  pages.resize(2 * kPage, '\0');
  Status damage;
  HardStateSlot best;
  for (uint64_t slot = 0; slot < 2; ++slot) {
    auto read = DecodeHardStateSlot(std::string_view(pages).substr(slot * kPage, kPage),
                                    owner_.cluster_id, owner_.node_id, owner_.storage_id);
    if (read && read->sequence > best.sequence) best = *read;
    if (!read && !read.error().Is(Code::kCorrupt)) return read.error().WithContext(path);
    if (!read) damage = read.error();
  }
  if (best.sequence == 0) return damage.WithContext(path);
  hard_state_sequence_ = best.sequence;
  *out = best.state;
  // Both copies are made equal again before anything rests on them.
  std::string page =
      EncodeHardStateSlot(best, owner_.cluster_id, owner_.node_id, owner_.storage_id);
  for (uint64_t slot = 0; slot < 2; ++slot) {
    if (pages.compare(slot * kPage, kPage, page) == 0) continue;
    DFS_RETURN_IF_ERROR(hard_state_file_->WriteAt(slot * kPage, page));
    DFS_RETURN_IF_ERROR(hard_state_file_->Sync());
  }
  DFS_RETURN_IF_ERROR(hard_state_file_->Sync());
  ++syncs_;
  return Status();
}

// --- segments ---

Result<LogStorage::SegmentPtr> LogStorage::OpenSegment(uint64_t number) {
  std::string path = SegmentPath(number);
  auto segment = std::make_shared<Segment>();
  DFS_ASSIGN_OR_RETURN(segment->file, env_.Open(path, Env::OpenMode::kReadWrite));
  std::string page;
  DFS_RETURN_IF_ERROR(ReadFully(*segment->file, 0, kPage, &page));
  auto header = DecodeSegmentHeader(page);
  if (!header) return header.error().WithContext(path);
  if (header->cluster_id != owner_.cluster_id) {
    return Status(Code::kWrongCluster, path + " belongs to cluster " + header->cluster_id);
  }
  if (header->node_id != owner_.node_id || header->storage_id != owner_.storage_id) {
    return Status(Code::kInvalidArgument, path + " belongs to another member");
  }
  DFS_ASSIGN_OR_RETURN(uint64_t size, segment->file->Size());
  if (header->number != number || header->size > size) {
    return Status(Code::kCorrupt, path + " does not fit its header");
  }
  segment->number = number;
  segment->nonce = header->nonce;
  segment->size = header->size;
  segment->end = kPage;
  segment->first_batch = header->first_batch;
  segment->start_index = header->last_index;
  segment->start_term = header->last_term;
  return segment;
}

Status LogStorage::LoadSegments(RecoveredLog* out) {
  DFS_ASSIGN_OR_RETURN(std::vector<std::string> names, env_.List(directory_));
  std::vector<uint64_t> numbers;
  for (const std::string& name : names) {
    std::string path = directory_ + "/" + name;
    if (name.size() == 20 && name.ends_with(".log")) {
      numbers.push_back(std::stoull(name.substr(0, 16), nullptr, 16));
    } else if (name.starts_with("spare-")) {
      auto size = env_.FileSize(path);
      next_spare_ = std::max<uint64_t>(next_spare_, strtoull(name.c_str() + 6, nullptr, 10) + 1);
      if (size && *size == options_.segment_bytes && spares_.size() < options_.max_spare_segments) {
        spares_.push_back(path);
      } else {
        DFS_RETURN_IF_ERROR(env_.Remove(path));
      }
    } else if (name == "new" || name.ends_with(".tmp")) {
      DFS_RETURN_IF_ERROR(env_.Remove(path));
    }
  }
  std::sort(numbers.begin(), numbers.end());
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (i > 0 && numbers[i] != numbers[i - 1] + 1) {
      return Status(Code::kCorrupt,
                    fmt::format("segment {} of the Raft log is missing", numbers[i - 1] + 1));
    }
    DFS_ASSIGN_OR_RETURN(SegmentPtr segment, OpenSegment(numbers[i]));
    if (i == 0) {
      next_batch_ = segment->first_batch;
      out->prev_index = out->last_index = segment->start_index;
      out->prev_term = segment->start_term;
    } else {
      segment->base = segments_.back()->base + segments_.back()->end;
    }
    if (segment->first_batch != next_batch_) {
      return Status(Code::kCorrupt,
                    fmt::format("segment {} of the Raft log ends too early: durable "
                                "entries are damaged",
                                numbers[i] - 1));
    }
    segments_.push_back(segment);
    DFS_RETURN_IF_ERROR(ScanSegment(segment, i + 1 == numbers.size(), out));
  }
  return Status();
}

/// Reads the whole batch when there is a valid one with the expected number.
bool LogStorage::ReadBatch(const Segment& segment, uint64_t offset, std::string* bytes) const {
  if (!ReadFully(*segment.file, offset, kPage, bytes)) return false;
  BatchHeader header;
  if (!ParseBatchHeader(*bytes, segment.nonce, offset, &header)) return false;
  if (header.number != next_batch_ || header.body_bytes > segment.size - offset - kBatchHeader) {
    return false;
  }
  uint64_t size = kBatchHeader + header.body_bytes;
  if (size > kPage && !ReadFully(*segment.file, offset, size, bytes)) return false;
  if (bytes->size() < size) return false;
  bytes->resize(size);
  return Hash64(std::string_view(*bytes).substr(kBatchHeader), Seed(segment.nonce, offset)) ==
         header.body_hash;
}

/// Whether any batch of this life of the segment stands behind offset.
Result<bool> LogStorage::HasLaterBatch(const Segment& segment, uint64_t offset) const {
  constexpr uint64_t kChunk = 256 * kPage;
  std::string chunk;
  for (uint64_t at = offset + kPage; at < segment.size; at += kChunk) {
    DFS_RETURN_IF_ERROR(ReadFully(*segment.file, at, std::min(kChunk, segment.size - at), &chunk));
    for (uint64_t page = 0; page < chunk.size(); page += kPage) {
      BatchHeader header;
      if (ParseBatchHeader(std::string_view(chunk).substr(page), segment.nonce, at + page,
                           &header)) {
        return true;
      }
    }
  }
  return false;
}

Status LogStorage::ScanSegment(const SegmentPtr& segment, bool last, RecoveredLog* out) {
  std::string bytes;
  uint64_t offset = kPage;
  while (offset + kPage <= segment->size && ReadBatch(*segment, offset, &bytes)) {
    DFS_RETURN_IF_ERROR(ReplayBatch(segment, bytes, offset, out));
    offset += RoundUp(bytes.size());
    ++next_batch_;
  }
  segment->end = offset;
  if (!last || offset + kPage > segment->size) return Status();  // the next one checks the number
  // A torn write, or damage to what was durable? A batch is only begun when the one before is durable.
  DFS_ASSIGN_OR_RETURN(bool later, HasLaterBatch(*segment, offset));
  if (later) {
    return Status(Code::kCorrupt,
                  fmt::format("segment {} of the Raft log is damaged at {}: durable "
                              "entries are lost",
                              segment->number, offset));
  }
  BatchHeader header;
  out->torn_tail = ParseBatchHeader(bytes, segment->nonce, offset, &header);
  if (out->torn_tail) {
    ++torn_tails_cut_;
    LogInfo("Raft log: an unfinished write at the end of segment {} is dropped", segment->number);
  }
  return Status();
}

Status LogStorage::ReplayBatch(const SegmentPtr& segment, std::string_view bytes, uint64_t offset,
                               RecoveredLog* out) {
  marked_ = bytes.size() == kBatchHeader;
  bool first = true;
  for (uint64_t at = kBatchHeader; at < bytes.size();) {
    Record record;
    if (!ParseRecord(bytes.substr(at), segment->nonce, offset + at, &record)) {
      return Status(Code::kCorrupt, fmt::format("segment {} of the Raft log: bad record at {}",
                                                segment->number, offset + at));
    }
    uint64_t begin = offset + at;
    at += kRecordHeader + record.payload.size();
    if (record.type == RecordType::kReset) {
      out->prev_index = out->last_index = record.index;
      out->prev_term = record.term;
      out->runs.clear();
      IndexTruncate(0);
    } else if (record.type == RecordType::kTruncate) {
      if (record.index > out->last_index) continue;
      out->last_index = record.index - 1;
      if (out->last_index < out->prev_index) {
        out->prev_index = out->last_index;
        out->prev_term = record.term;
      }
      while (!out->runs.empty() && out->runs.back().start >= record.index) out->runs.pop_back();
      IndexTruncate(record.index);
    } else if (record.type == RecordType::kEntry) {
      if (record.index != out->last_index + 1) {
        return Status(Code::kCorrupt, fmt::format("segment {} of the Raft log: entry {} after {}",
                                                  segment->number, record.index, out->last_index));
      }
      if (out->runs.empty() || out->runs.back().term != record.term) {
        out->runs.push_back({record.index, record.term});
      }
      out->last_index = record.index;
      IndexEntry(segment, record.index, begin, offset + at,
                 first && begin == offset + kBatchHeader);
      first = false;
    }
  }
  return Status();
}

}  // namespace dfs::nn
