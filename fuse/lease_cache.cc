#include "fuse/lease_cache.h"

#include <utility>

#include "dfs_types.h"

namespace dfs::fuse {

LeaseCache::LeaseCache(size_t max_leases, size_t max_names)
    : max_leases_(max_leases), max_names_(max_names) {}

LeaseCache::~LeaseCache() = default;

// ---- Leases -------------------------------------------------------------------------------------

LeaseCache::Node* LeaseCache::Find(uint64_t inode) {
  auto it = nodes_.find(inode);
  if (it == nodes_.end()) return nullptr;
  used_.splice(used_.begin(), used_, it->second);
  return &*it->second;
}

const LeaseCache::Node* LeaseCache::Find(uint64_t inode) const {
  auto it = nodes_.find(inode);
  return it == nodes_.end() ? nullptr : &*it->second;
}

void LeaseCache::Hold(uint64_t inode) {
  if (Find(inode) != nullptr) return;
  used_.emplace_front().inode = inode;
  nodes_[inode] = used_.begin();
  MakeRoom();
}

void LeaseCache::HoldWrite(uint64_t inode) {
  Hold(inode);
  Find(inode)->write = true;
}

bool LeaseCache::HoldsWrite(uint64_t inode) const {
  const Node* node = Find(inode);
  return node != nullptr && node->write;
}

void LeaseCache::EndWrite(uint64_t inode) {
  if (Node* node = Find(inode)) node->write = false;
}

void LeaseCache::Drop(uint64_t inode) {
  auto it = nodes_.find(inode);
  if (it == nodes_.end()) return;
  names_ -= it->second->names.size();
  used_.erase(it->second);
  nodes_.erase(it);
}

void LeaseCache::Clear() {
  nodes_.clear();
  used_.clear();
  names_ = 0;
  evicted_.clear();
}

/// A write lease stays: giving it up takes telling what was written.
void LeaseCache::MakeRoom() {
  auto last = used_.end();
  while ((nodes_.size() > max_leases_ || names_ > max_names_) && last != used_.begin()) {
    --last;
    if (last->write || last == used_.begin()) continue;
    const uint64_t inode = last->inode;
    ++last;
    Drop(inode);
    evicted_.push_back(inode);
  }
  // One directory with more names than all may have together.
  if (names_ > max_names_) {
    evicted_.push_back(used_.front().inode);
    Drop(used_.front().inode);
  }
}

std::vector<uint64_t> LeaseCache::TakeEvicted() {
  return std::exchange(evicted_, {});
}

void LeaseCache::List(std::vector<int64_t>* read, std::vector<int64_t>* write) const {
  for (const Node& node : used_) {
    (node.write ? write : read)->push_back(static_cast<int64_t>(node.inode));
  }
}

// ---- Attributes ---------------------------------------------------------------------------------

const idl::Attr* LeaseCache::FindAttr(uint64_t inode) {
  Node* node = Find(inode);
  return node == nullptr ? nullptr : node->attr.get();
}

void LeaseCache::PutAttr(const idl::Attr& attr) {
  Node* node = Find(static_cast<uint64_t>(attr.inode));
  if (node == nullptr) return;
  if (node->attr == nullptr) {
    node->attr = std::make_unique<idl::Attr>(attr);
  } else {
    *node->attr = attr;
  }
}

void LeaseCache::DropAttr(uint64_t inode) {
  if (Node* node = Find(inode)) node->attr.reset();
}

// ---- Names --------------------------------------------------------------------------------------

std::optional<uint64_t> LeaseCache::FindName(uint64_t directory, const std::string& name) {
  Node* node = Find(directory);
  if (node == nullptr) return std::nullopt;
  auto it = node->names.find(name);
  if (it == node->names.end()) return node->complete ? std::optional(kAbsent) : std::nullopt;
  return it->second;
}

void LeaseCache::SetComplete(uint64_t directory) {
  if (Node* node = Find(directory)) node->complete = true;
}

void LeaseCache::PutName(uint64_t directory, const std::string& name, uint64_t inode) {
  Node* node = Find(directory);
  if (node == nullptr) return;
  if (node->names.insert_or_assign(name, inode).second) {
    ++names_;
    MakeRoom();
  }
}

bool LeaseCache::DropName(uint64_t directory, const std::string& name) {
  Node* node = Find(directory);
  if (node == nullptr) return false;
  const size_t erased = node->names.erase(name);
  names_ -= erased;
  return std::exchange(node->complete, false) || erased > 0;
}

bool LeaseCache::HasNames(uint64_t directory) const {
  const Node* node = Find(directory);
  return node != nullptr && (node->complete || !node->names.empty());
}

// ---- Pages --------------------------------------------------------------------------------------

bool LeaseCache::pages(uint64_t inode) const {
  const Node* node = Find(inode);
  return node != nullptr && node->pages;
}

void LeaseCache::SetPages(uint64_t inode) {
  if (Node* node = Find(inode)) node->pages = true;
}

}  // namespace dfs::fuse
