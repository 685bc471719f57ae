#include "datanode/store/scanner.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "common/base/logging.h"
#include "datanode/store/scan_log.h"

namespace dfs::dn {
namespace {

constexpr uint64_t kPieceBytes = 1u << 20;
/// What finding and opening the files of a replica counts for, in bytes of reading.
constexpr uint64_t kOpenBytes = 64u << 10;
constexpr int64_t kBusyFactor = 4;
/// So long its bytes, just held against their sums, are left to those who want to read them.
constexpr int64_t kNewAfterNs = int64_t{24} * 3600 * kSecond;
constexpr int64_t kMaxRefreshNs = int64_t{3600} * kSecond;
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
/// The log is made anew when it has more than twice as many records as there are replicas, and these.
constexpr uint64_t kSlackRecords = 4096;
/// Replicas that are passed over in one step, because they are open or known to be corrupt.
constexpr int kPassedOver = 1000;

}  // namespace

/// One volume: what is on it, in the order of when it is due.
class Scanner::VolumeScan {
 public:
  VolumeScan(Scanner& scanner, Env& env, const VolumeInfo& volume, const std::string& cluster_id)
      : scanner_(scanner),
        storage_id_(volume.storage_id),
        log_(env, volume.path, {cluster_id, scanner.store_.id(), volume.storage_id}) {
    for (const VerifiedAt& v : log_.Load()) entries_.push_back({v.block, v.wall_s, true});
  }

  void Refresh(const std::vector<ReplicaInfo>& replicas, int64_t wall_s);
  /// When it wants to be called again (BootNs).
  int64_t Step(int64_t now_ns, int64_t wall_s, bool busy);
  void AddTo(ScannerStats* stats) const;

 private:
  struct Entry {
    BlockId block;
    int64_t wall_s = 0;  // when it was verified, or when it was first seen; 0: before this process
    bool verified = false;
  };

  int64_t DueAt(const Entry& entry) const;
  bool Pick(int64_t wall_s);
  void Done(int64_t wall_s);
  Status Keep(const VerifiedAt& verified);
  void LogFailed(const Status& why);
  int64_t Cost(uint64_t bytes) const;

  Scanner& scanner_;
  const uint64_t storage_id_;
  ScanLog log_;
  bool log_failed_ = false;
  bool seen_ = false;             // what was here when the scanner began
  std::vector<Entry> entries_;    // in the order of the blocks
  std::vector<uint32_t> order_;   // of entries_, the one that is due first in front
  size_t next_ = 0;               // in order_
  ReplicaPtr current_;            // which is being verified
  std::shared_ptr<const void> pin_;  // its files
  Stamp stamp_;
  uint64_t offset_ = 0;
  int64_t next_ns_ = 0;
};

int64_t Scanner::VolumeScan::DueAt(const Entry& entry) const {
  const int64_t period_s = scanner_.options_.period_ns / kSecond;
  if (entry.verified) return entry.wall_s + period_s;
  if (entry.wall_s == 0) return 0;
  return entry.wall_s + std::min(period_s, kNewAfterNs / kSecond);
}

void Scanner::VolumeScan::Refresh(const std::vector<ReplicaInfo>& replicas, int64_t wall_s) {
  std::vector<Entry> now;
  auto known = entries_.begin();
  for (const ReplicaInfo& info : replicas) {  // in the order of the blocks
    if (info.storage_id != storage_id_) continue;
    while (known != entries_.end() && known->block < info.block) ++known;
    Entry entry{info.block, seen_ ? wall_s : 0, false};
    if (known != entries_.end() && known->block == info.block) {
      entry = *known;
      entry.wall_s = std::min(entry.wall_s, wall_s);  // the clock may have been set back
    }
    now.push_back(entry);
  }
  seen_ = true;
  entries_ = std::move(now);
  order_.resize(entries_.size());
  std::iota(order_.begin(), order_.end(), 0u);
  std::stable_sort(order_.begin(), order_.end(), [this](uint32_t a, uint32_t b) {
    return DueAt(entries_[a]) < DueAt(entries_[b]);
  });
  next_ = 0;
  if (log_failed_) return;
  if (Status synced = log_.Sync(); !synced) LogFailed(synced);
}

/// The next one that is due and can be verified.
bool Scanner::VolumeScan::Pick(int64_t wall_s) {
  for (int n = 0; n < kPassedOver && next_ < order_.size(); ++n) {
    const Entry& entry = entries_[order_[next_]];
    if (DueAt(entry) > wall_s) return false;
    ++next_;
    auto found = scanner_.store_.Find(entry.block);
    if (!found) continue;
    const ReplicaInfo info = (*found)->info();
    // What is open is verified when it is closed again, and what is corrupt is known to be.
    if (info.state != ReplicaState::kFinalized || !info.on_disk || info.corrupt) continue;
    current_ = std::move(*found);
    stamp_ = info.stamp;
    offset_ = 0;
    return true;
  }
  return false;
}

int64_t Scanner::VolumeScan::Cost(uint64_t bytes) const {
  const double ns = static_cast<double>(bytes) * 1e9 /
                    static_cast<double>(scanner_.options_.bytes_per_second);
  return static_cast<int64_t>(std::min(ns, 3600e9));
}

int64_t Scanner::VolumeScan::Step(int64_t now_ns, int64_t wall_s, bool busy) {
  if (now_ns < next_ns_) return next_ns_;
  uint64_t cost = 0;
  if (!current_) {
    if (!Pick(wall_s)) {
      // A second is what due times are counted in.
      next_ns_ = now_ns + kSecond;
      return next_ns_;
    }
    cost = kOpenBytes;
    if (auto pin = current_->Pin(); pin.ok()) pin_ = std::move(*pin);
  }
  const uint64_t piece =
      std::clamp<uint64_t>(scanner_.options_.bytes_per_second / 4, kOpenBytes, kPieceBytes) /
      kChunkSize * kChunkSize;
  auto verified = current_->Scrub(stamp_, offset_, piece);
  if (verified.ok()) {
    offset_ += *verified;
    cost += *verified;
    std::lock_guard<std::mutex> hold(scanner_.mutex_);
    scanner_.stats_.verified_bytes += *verified;
  } else {
    cost += piece;
  }
  if (!verified || *verified < piece) {
    if (verified.ok()) {
      Done(wall_s);
    } else if (!verified.error().Is(Code::kStaleStamp)) {
      scanner_.store_.ReportUnreadable(current_, verified.error().WithContext("scanner"));
      std::lock_guard<std::mutex> hold(scanner_.mutex_);
      scanner_.stats_.corrupt_replicas += current_->info().corrupt ? 1 : 0;
    }
    current_ = nullptr;
    pin_ = nullptr;
  }
  next_ns_ = now_ns + std::max(kMillisecond, Cost(cost) * (busy ? kBusyFactor : 1));
  return next_ns_;
}

void Scanner::VolumeScan::Done(int64_t wall_s) {
  {
    std::lock_guard<std::mutex> hold(scanner_.mutex_);
    ++scanner_.stats_.verified_replicas;
  }
  const BlockId block = current_->block();
  auto entry = std::lower_bound(entries_.begin(), entries_.end(), block,
                                [](const Entry& e, BlockId b) { return e.block < b; });
  if (entry == entries_.end() || entry->block != block) return;
  entry->wall_s = wall_s;
  entry->verified = true;
  if (log_failed_) return;
  if (Status kept = Keep({block, wall_s}); !kept) LogFailed(kept);
}

Status Scanner::VolumeScan::Keep(const VerifiedAt& verified) {
  if (log_.records() <= 2 * entries_.size() + kSlackRecords) return log_.Append(verified);
  std::vector<VerifiedAt> all;
  for (const Entry& e : entries_) {
    if (e.verified) all.push_back({e.block, e.wall_s});
  }
  return log_.Rewrite(all);
}

void Scanner::VolumeScan::LogFailed(const Status& why) {
  log_failed_ = true;
  LogWarning("what was verified is forgotten at a restart: {}", why.ToString());
}

void Scanner::VolumeScan::AddTo(ScannerStats* stats) const {
  for (const Entry& entry : entries_) {
    if (!entry.verified) {
      ++stats->never_verified;
    } else if (stats->oldest_verified_wall_s == 0 ||
               entry.wall_s < stats->oldest_verified_wall_s) {
      stats->oldest_verified_wall_s = entry.wall_s;
    }
  }
}

Scanner::Scanner(BlockStore& store, Env& env, const Clock& clock, const std::string& cluster_id,
                 ScannerOptions options, std::function<bool()> busy)
    : store_(store), clock_(clock), options_(options), busy_(std::move(busy)) {
  stats_.on = options_.bytes_per_second > 0;
  if (!stats_.on) return;
  for (const VolumeInfo& volume : store_.Volumes()) {
    if (volume.failed) continue;
    volumes_.push_back(std::make_unique<VolumeScan>(*this, env, volume, cluster_id));
  }
}

Scanner::~Scanner() = default;

void Scanner::Refresh() {
  const int64_t wall_s = clock_.WallNs() / kSecond;
  // Those of a volume that has failed are not among them.
  const std::vector<ReplicaInfo> replicas = store_.List();
  ScannerStats now;
  for (const auto& volume : volumes_) {
    volume->Refresh(replicas, wall_s);
    volume->AddTo(&now);
  }
  std::lock_guard<std::mutex> hold(mutex_);
  stats_.never_verified = now.never_verified;
  stats_.oldest_verified_wall_s = now.oldest_verified_wall_s;
}

int64_t Scanner::Step() {
  if (volumes_.empty()) return kNever;
  const int64_t now_ns = clock_.BootNs();
  if (now_ns >= refresh_at_ns_) {
    Refresh();
    refresh_at_ns_ = now_ns + std::clamp(options_.period_ns / 500, kSecond, kMaxRefreshNs);
  }
  int64_t next_ns = refresh_at_ns_;
  const bool busy = busy_();
  for (const auto& volume : volumes_) {
    next_ns = std::min(next_ns, volume->Step(now_ns, clock_.WallNs() / kSecond, busy));
  }
  return next_ns;
}

ScannerStats Scanner::stats() const {
  std::lock_guard<std::mutex> hold(mutex_);
  return stats_;
}

}  // namespace dfs::dn
