#include "common/rpc/timer_heap.h"

#include <utility>

namespace dfs::rpc {

uint64_t TimerHeap::Add(int64_t deadline_ns, Task task) {
  uint32_t slot = 0;
  if (free_slots_.empty()) {
    slot = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  Slot& s = slots_[slot];
  s.deadline_ns = deadline_ns;
  s.order = next_order_++;
  s.task = std::move(task);
  heap_.push_back(slot);
  SiftUp(heap_.size() - 1);
  return static_cast<uint64_t>(slots_[slot].generation) << 32 | slot;
}

bool TimerHeap::Cancel(uint64_t id) {
  uint32_t slot = static_cast<uint32_t>(id);
  if (slot >= slots_.size() || slots_[slot].generation != static_cast<uint32_t>(id >> 32)) {
    return false;
  }
  Task dropped = Take(slots_[slot].heap_index);  // destroyed after the heap is whole again
  return true;
}

Task TimerHeap::PopFirst() {
  return Take(0);
}

bool TimerHeap::Earlier(uint32_t a, uint32_t b) const {
  const Slot& x = slots_[a];
  const Slot& y = slots_[b];
  return x.deadline_ns != y.deadline_ns ? x.deadline_ns < y.deadline_ns : x.order < y.order;
}

void TimerHeap::Place(size_t heap_index, uint32_t slot) {
  heap_[heap_index] = slot;
  slots_[slot].heap_index = static_cast<uint32_t>(heap_index);
}

void TimerHeap::SiftUp(size_t heap_index) {
  uint32_t slot = heap_[heap_index];
  while (heap_index > 0) {
    size_t parent = (heap_index - 1) / 2;
    if (!Earlier(slot, heap_[parent])) break;
    Place(heap_index, heap_[parent]);
    heap_index = parent;
  }
  Place(heap_index, slot);
}

void TimerHeap::SiftDown(size_t heap_index) {
  uint32_t slot = heap_[heap_index];
  while (true) {
    size_t child = 2 * heap_index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && Earlier(heap_[child + 1], heap_[child])) ++child;
    if (!Earlier(heap_[child], slot)) break;
    Place(heap_index, heap_[child]);
    heap_index = child;
  }
  Place(heap_index, slot);
}

Task TimerHeap::Take(size_t heap_index) {
  uint32_t slot = heap_[heap_index];
  uint32_t last = heap_.back();
  heap_.pop_back();
  if (last != slot) {
    Place(heap_index, last);
    SiftUp(heap_index);
    SiftDown(slots_[last].heap_index);
  }
  Slot& s = slots_[slot];
  if (++s.generation == 0) s.generation = 1;  // an id is never 0
  free_slots_.push_back(slot);
  return std::move(s.task);
}

}  // namespace dfs::rpc
