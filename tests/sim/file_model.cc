#include "tests/sim/file_model.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "common/base/check.h"

namespace dfs::sim {

namespace {

uint64_t Mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdull;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ull;
  return x ^ (x >> 33);
}

}  // namespace

// 8 words: file and unit, write, six that follow from them. Zeros are write 0.
std::string FileModel::UnitBytes(uint64_t unit, const Version& version) const {
  std::string bytes(kUnit, '\0');
  if (Absent(version)) return bytes;
  uint64_t words[kUnit / 8];
  words[0] = id_ << 32 | unit;
  words[1] = version.write;
  for (size_t i = 2; i < kUnit / 8; ++i) words[i] = Mix(words[0] * 31 + words[1] * 1'000'003 + i);
  std::memcpy(bytes.data(), words, kUnit);
  return bytes;
}

std::string FileModel::BeginWrite(uint64_t offset, uint64_t size, uint64_t loss_epoch) {
  DFS_CHECK(offset % kUnit == 0 && size % kUnit == 0 && size > 0);
  const uint32_t write = next_write_++;
  ++clock_;
  while (units_.size() * kUnit < offset) {
    units_.emplace_back();
    units_.back().versions.push_back({0});
  }
  for (uint64_t gap = live_units_; gap < offset / kUnit; ++gap) {
    units_[gap].versions.push_back({write, UINT64_MAX, /*absent=*/true, loss_epoch});
    units_[gap].flushed_write = units_[gap].seen_write = 0;
  }
  std::string bytes;
  bytes.reserve(size);
  for (uint64_t unit = offset / kUnit; unit < (offset + size) / kUnit; ++unit) {
    if (unit == units_.size()) {
      units_.emplace_back();
      units_.back().versions.push_back({0});
    }
    units_[unit].versions.push_back({write, UINT64_MAX, false, loss_epoch});
    bytes += UnitBytes(unit, {write});
  }
  live_units_ = std::max(live_units_, (offset + size) / kUnit);
  return bytes;
}

uint32_t FileModel::BeginTruncate(uint64_t size) {
  DFS_CHECK(size % kUnit == 0);
  const uint32_t number = next_write_++;
  const uint64_t units = size / kUnit;
  ++clock_;
  while (units_.size() < units) {
    units_.emplace_back();
    units_.back().versions.push_back({0});
  }
  for (uint64_t i = std::min(units, live_units_); i < units_.size(); ++i) {
    units_[i].versions.push_back({number, UINT64_MAX, /*absent=*/true});
    units_[i].flushed_write = units_[i].seen_write = 0;
  }
  const uint64_t certain = CertainSize(units);
  synced_units_ = std::min(synced_units_, certain);
  flushed_units_ = std::min(flushed_units_, units);
  for (auto& [since, visible] : visible_sizes_) visible = std::min(visible, certain);
  live_units_ = units;
  return number;
}

void FileModel::TruncateDone(uint32_t number) {
  ++clock_;
  for (Unit& unit : units_) {
    const bool cut = std::any_of(unit.versions.begin(), unit.versions.end(),
                                 [&](const Version& v) { return v.write == number; });
    if (!cut) continue;
    for (Version& v : unit.versions) {
      if (v.write < number) v.gone_at = std::min(v.gone_at, clock_);
    }
  }
}

std::string FileModel::OpenedAt(uint64_t size, uint64_t loss_epoch) {
  ++clock_;
  const uint64_t least = std::max(LeastSize(clock_, loss_epoch), synced_size());
  if (size < least) {
    return fmt::format("file {} opens with {} bytes, acknowledged length is {}", id_, size, least);
  }
  if (size > max_size()) {
    return fmt::format("file {} opens with {} bytes, at most {} were written", id_, size,
                       max_size());
  }
  live_units_ = (size + kUnit - 1) / kUnit;
  for (uint64_t i = live_units_; i < units_.size(); ++i) {
    for (Version& v : units_[i].versions) v.gone_at = std::min(v.gone_at, clock_);
    units_[i].versions.push_back({0});
    units_[i].flushed_write = units_[i].seen_write = 0;
  }
  return "";
}

void FileModel::SyncDone(uint64_t after, uint64_t up_to) {
  ++clock_;
  for (uint64_t i = 0; i < units_.size(); ++i) {
    auto& versions = units_[i].versions;
    // The newest one that the sync covers takes away everything older.
    size_t keep = versions.size();
    while (keep > 0 && (versions[keep - 1].write > up_to || versions[keep - 1].write <= after))
      --keep;
    if (keep == 0) continue;
    if (!Absent(versions[keep - 1])) synced_units_ = std::max(synced_units_, i + 1);
    for (size_t k = 0; k + 1 < keep; ++k) {
      versions[k].gone_at = std::min(versions[k].gone_at, clock_);
    }
    // Readers that began long ago are the only ones that care for these.
    if (versions.size() > 16) {
      std::erase_if(versions, [&](const Version& v) { return v.gone_at + 1000 < clock_; });
    }
  }
  visible_sizes_.emplace_back(clock_, synced_units_);
}

void FileModel::FlushDone(uint64_t after, uint64_t up_to, uint64_t loss_epoch) {
  ++clock_;
  uint64_t last = 0;
  for (uint64_t i = 0; i < units_.size(); ++i) {
    Unit& unit = units_[i];
    uint32_t newest = 0;
    bool absent = false;
    for (const Version& v : unit.versions) {
      if (v.write <= after || v.write > up_to || v.write < newest) continue;
      newest = v.write;
      absent = v.absent;
    }
    if (newest == 0) continue;
    if (!absent) last = i + 1;
    if (newest == unit.flushed_write && unit.flushed_epoch == loss_epoch) continue;
    unit.flushed_write = newest;
    unit.flushed_epoch = loss_epoch;
    unit.flushed_at = clock_;
  }
  if (last == 0) return;
  if (synced_units_ <= last) visible_sizes_.emplace_back(clock_, synced_units_);
  flushed_units_ = flushed_epoch_ == loss_epoch ? std::max(flushed_units_, last) : last;
  flushed_epoch_ = loss_epoch;
  flushed_at_ = clock_;
}

bool FileModel::MustExist(uint64_t offset, uint64_t size) const {
  for (uint64_t i = offset / kUnit; i < units_.size() && i * kUnit < offset + size; ++i) {
    bool may_be_absent = false;
    for (const Version& v : units_[i].versions) {
      may_be_absent |= Absent(v) && v.gone_at > clock_;
    }
    if (!may_be_absent) return true;
  }
  return false;
}

uint64_t FileModel::LeastSize(uint64_t since, uint64_t loss_epoch) const {
  uint64_t least = 0;
  for (const auto& [at, units] : visible_sizes_) {
    if (at <= since) least = std::max(least, units * kUnit);
  }
  if (flushed_at_ != 0 && flushed_at_ <= since && flushed_epoch_ == loss_epoch) {
    least = std::max(least, flushed_units_ * kUnit);
  }
  return least;
}

uint64_t FileModel::CertainSize(uint64_t units) const {
  bool unsynced = false;
  for (uint64_t i = units; i > 0; --i) {
    if (MustExist((i - 1) * kUnit, kUnit)) return unsynced ? i : units;
    for (const Version& v : units_[i - 1].versions) unsynced |= !Absent(v) && v.gone_at > clock_;
  }
  return unsynced ? 0 : units;
}

std::string FileModel::Check(uint64_t offset, std::string_view data, bool at_end, uint64_t since,
                             uint64_t loss_epoch) const {
  DFS_CHECK(offset % kUnit == 0);
  const uint64_t end = offset + data.size();
  const uint64_t least = LeastSize(since, loss_epoch);
  if (at_end && end < least) {
    return fmt::format("file {} ends at {}, acknowledged length is {}", id_, end, least);
  }
  if (end > max_size()) {
    return fmt::format("file {} has {} bytes, at most {} were written", id_, end, max_size());
  }
  for (uint64_t at = offset; at < end; at += kUnit) {
    const uint64_t unit = at / kUnit;
    const std::string_view got = data.substr(at - offset, kUnit);
    const Unit& model = units_[unit];
    const bool flushed_holds =
        model.flushed_write > 0 && model.flushed_epoch == loss_epoch && model.flushed_at <= since;
    const bool seen_holds =
        model.seen_write > 0 && model.seen_epoch == loss_epoch && model.seen_at <= since;
    std::string allowed;
    bool fits = false;
    for (const Version& v : model.versions) {
      if (v.gone_at <= since) continue;
      if (flushed_holds && v.write < model.flushed_write) continue;
      if (seen_holds && v.write < model.seen_write) continue;
      const std::string expected = UnitBytes(unit, v);
      if (std::string_view(expected).substr(0, got.size()) == got) {
        fits = true;
        break;
      }
      allowed += fmt::format(" {}", v.write);
    }
    if (fits) continue;
    uint64_t words[2] = {};
    std::memcpy(words, got.data(), std::min<size_t>(got.size(), sizeof(words)));
    return fmt::format(
        "file {} unit {} (offset {}) shows file {} unit {} write {}, allowed writes:{}", id_, unit,
        at, words[0] >> 32, words[0] & 0xffffffff, words[1], allowed);
  }
  return "";
}

void FileModel::Saw(uint64_t offset, std::string_view data, uint64_t loss_epoch) {
  ++clock_;
  for (uint64_t at = offset; at + kUnit <= offset + data.size(); at += kUnit) {
    uint64_t words[2];
    std::memcpy(words, data.data() + (at - offset), sizeof(words));
    Unit& unit = units_[at / kUnit];
    const auto seen =
        std::find_if(unit.versions.begin(), unit.versions.end(), [&](const Version& v) {
          return !Absent(v) && v.write == words[1] && v.epoch == loss_epoch;
        });
    if (seen == unit.versions.end() || seen->gone_at <= clock_) continue;
    if (unit.seen_epoch == loss_epoch && unit.seen_write >= seen->write) continue;
    unit.seen_write = seen->write;
    unit.seen_epoch = loss_epoch;
    unit.seen_at = clock_;
  }
}

}  // namespace dfs::sim
