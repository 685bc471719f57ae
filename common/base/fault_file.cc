#include "common/base/fault_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace dfs::fault_internal {

uint64_t FileData::allocated() const {
  return std::max(page_count_ * kPage, reserved_);
}

uint64_t FileData::AllocatedAfterWrite(uint64_t offset, uint64_t size) const {
  uint64_t fresh = 0;
  if (size > 0) {
    for (uint64_t i = offset / kPage; i <= (offset + size - 1) / kPage; ++i) {
      if (i >= pages_.size() || !pages_[i]) ++fresh;
    }
  }
  return std::max((page_count_ + fresh) * kPage, reserved_);
}

size_t FileData::Read(uint64_t offset, char* data, size_t size) const {
  if (offset >= size_) return 0;
  size = static_cast<size_t>(std::min<uint64_t>(size, size_ - offset));
  for (size_t done = 0; done < size;) {
    const uint64_t index = (offset + done) / kPage;
    const uint64_t within = (offset + done) % kPage;
    const size_t n = static_cast<size_t>(std::min<uint64_t>(size - done, kPage - within));
    if (index < pages_.size() && pages_[index]) {
      std::memcpy(data + done, pages_[index]->data() + within, n);
    } else {
      std::memset(data + done, 0, n);
    }
    done += n;
  }
  return size;
}

void FileData::SetPage(uint64_t index, PagePtr page) {
  if (index >= pages_.size()) {
    if (!page) return;
    pages_.resize(index + 1);
  }
  if (pages_[index]) --page_count_;
  if (page) ++page_count_;
  pages_[index] = std::move(page);
}

void FileData::SaveUndo(uint64_t index, bool copy) {
  auto [it, fresh] = undo_.try_emplace(index);
  if (!fresh) {
    it->second.lost = false;  // written again: the next sync covers it
    return;
  }
  if (index >= pages_.size() || !pages_[index]) return;
  if (copy) {
    it->second.page = std::make_unique<Page>(*pages_[index]);
  } else {
    it->second.page = std::move(pages_[index]);
    --page_count_;
  }
}

FileData::Page& FileData::Writable(uint64_t index) {
  SaveUndo(index, true);
  if (index >= pages_.size() || !pages_[index]) SetPage(index, std::make_unique<Page>(Page{}));
  return *pages_[index];
}

void FileData::Write(uint64_t offset, std::string_view data, Random* random,
                     uint64_t writeback_chance) {
  if (data.empty()) return;
  const uint64_t end = offset + data.size();
  while (!data.empty()) {
    const uint64_t index = offset / kPage;
    const uint64_t within = offset % kPage;
    const size_t n = static_cast<size_t>(std::min<uint64_t>(data.size(), kPage - within));
    if (random != nullptr && undo_.contains(index) && random->OneIn(writeback_chance)) {
      Undo& undo = undo_[index];
      undo.page =
          index < pages_.size() && pages_[index] ? std::make_unique<Page>(*pages_[index]) : nullptr;
    }
    std::memcpy(Writable(index).data() + within, data.data(), n);
    data.remove_prefix(n);
    offset += n;
  }
  if (end > size_) size_ = end;
  size_lost_ = false;
}

void FileData::Truncate(uint64_t size) {
  size_lost_ = false;
  reserved_ = std::min(reserved_, size);
  if (size < size_) {
    const uint64_t keep = (size + kPage - 1) / kPage;
    for (uint64_t i = keep; i < pages_.size(); ++i) {
      if (pages_[i]) SaveUndo(i, false);
      SetPage(i, nullptr);
    }
    if (pages_.size() > keep) pages_.resize(keep);
    // What grows back beyond the new end reads as zeros.
    if (size % kPage != 0 && size / kPage < pages_.size() && pages_[size / kPage]) {
      Page& last = Writable(size / kPage);
      std::memset(last.data() + size % kPage, 0, kPage - size % kPage);
    }
  }
  size_ = size;
}

void FileData::Reserve(uint64_t size) {
  reserved_ = std::max(reserved_, size);
}

void FileData::Sync() {
  std::erase_if(undo_, [](const auto& entry) { return !entry.second.lost; });
  if (!size_lost_) durable_size_ = size_;
}

void FileData::LoseDirty() {
  for (auto& [index, undo] : undo_) undo.lost = true;
  size_lost_ = size_ != durable_size_;
}

// Leaves some sectors of the disk's page in *now: a prefix of the new ones, or any.
void FileData::Tear(Random& random, PagePtr* now, const PagePtr& disk) {
  constexpr uint64_t kSectors = kPage / kSector;
  const bool prefix = random.OneIn(2);
  const uint64_t mask = prefix ? (uint64_t{1} << (1 + random.Uniform(kSectors - 1))) - 1
                               : random.Uniform(uint64_t{1} << kSectors);
  if (!*now) *now = std::make_unique<Page>(Page{});
  for (uint64_t s = 0; s < kSectors; ++s) {
    if (mask >> s & 1) continue;  // this sector was written back
    char* to = (*now)->data() + s * kSector;
    if (disk) {
      std::memcpy(to, disk->data() + s * kSector, kSector);
    } else {
      std::memset(to, 0, kSector);
    }
  }
}

uint64_t FileData::Crash(Random& random, bool keep) {
  uint64_t torn = 0;
  const uint64_t keep_percent = keep ? 25 * random.Uniform(5) : 0;
  for (auto& [index, undo] : undo_) {
    if (undo.lost || !random.Chance(keep_percent, 100)) {
      SetPage(index, std::move(undo.page));
    } else if (random.OneIn(4)) {
      PagePtr now =
          index < pages_.size() && pages_[index] ? std::make_unique<Page>(*pages_[index]) : nullptr;
      Tear(random, &now, undo.page);
      SetPage(index, std::move(now));
      ++torn;
    }
  }
  undo_.clear();
  if (size_ != durable_size_) {
    const bool keep_size = !size_lost_ && random.Chance(keep_percent, 100);
    if (!keep_size) {
      size_ = durable_size_;
    } else if (size_ > durable_size_ && random.OneIn(2)) {
      size_ = static_cast<uint64_t>(
          random.Between(static_cast<int64_t>(durable_size_), static_cast<int64_t>(size_)));
    }
  }
  size_lost_ = false;
  reserved_ = 0;
  Truncate(size_);  // nothing is left beyond the end
  const uint64_t keep_pages = (size_ + kPage - 1) / kPage;
  for (uint64_t i = keep_pages; i < pages_.size(); ++i) SetPage(i, nullptr);
  if (pages_.size() > keep_pages) pages_.resize(keep_pages);
  if (const uint64_t within = size_ % kPage; within != 0 && size_ / kPage < pages_.size()) {
    if (PagePtr& last = pages_[size_ / kPage])
      std::memset(last->data() + within, 0, kPage - within);
  }
  undo_.clear();
  durable_size_ = size_;
  return torn;
}

void FileData::FlipBit(uint64_t offset, int bit) {
  const uint64_t index = offset / kPage;
  const auto flip = [&](PagePtr* page) {
    if (!*page) *page = std::make_unique<Page>(Page{});
    (**page)[offset % kPage] = static_cast<char>((**page)[offset % kPage] ^ (1 << (bit & 7)));
  };
  if (auto it = undo_.find(index); it != undo_.end()) flip(&it->second.page);
  PagePtr now = index < pages_.size() ? std::move(pages_[index]) : nullptr;
  if (now) --page_count_;
  flip(&now);
  SetPage(index, std::move(now));
}

}  // namespace dfs::fault_internal
