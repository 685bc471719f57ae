// TimerHeap: tasks by deadline, with cancellation in O(log n) and no allocation but the task's own.
// Thread-compatible.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/task.h"

namespace dfs::rpc {

class TimerHeap {
 public:
  /// Never 0. Ids are not used again for 2^32 timers of the same slot.
  uint64_t Add(int64_t deadline_ns, Task task);
  /// False when the timer has run or was cancelled. The task is destroyed.
  bool Cancel(uint64_t id);
  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }
  /// Only when not empty.
  int64_t next_deadline_ns() const { return slots_[heap_[0]].deadline_ns; }
  /// Takes the earliest task; timers with the same deadline come in the order they were added.
  Task PopFirst();

 private:
  struct Slot {
    int64_t deadline_ns = 0;
    uint64_t order = 0;
    uint32_t generation = 1;
    uint32_t heap_index = 0;
    Task task;
  };
  bool Earlier(uint32_t slot_a, uint32_t slot_b) const;
  void Place(size_t heap_index, uint32_t slot);
  void SiftUp(size_t heap_index);
  void SiftDown(size_t heap_index);
  Task Take(size_t heap_index);

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  std::vector<uint32_t> heap_;  // of slots
  uint64_t next_order_ = 0;
};

}  // namespace dfs::rpc
