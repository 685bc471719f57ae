// Child processes that outlive us, named so that a recycled pid is never mistaken for one of ours.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/status.h"

namespace dfs::dev {

/// A pid together with the time the process started (clock ticks since boot): unique until reboot.
struct ProcessId {
  int pid = 0;
  uint64_t start_ticks = 0;
};

enum class ProcessState { kGone, kRunning, kPaused };

/// A zombie counts as gone; our own is reaped on the way.
ProcessState StateOf(ProcessId id);
/// kNotFound when it is gone. Free of races: the signal goes to exactly this process.
Status SendSignal(ProcessId id, int signal);
/// False when it is still there after the time-out.
bool WaitUntilGone(ProcessId id, int64_t timeout_ns);

struct SpawnRequest {
  std::vector<std::string> argv;
  std::string stdout_path;  // truncated
  std::string stderr_path;  // appended
};
/// Starts a process in a session of its own, with no open files but 0, 1 and 2.
Result<ProcessId> Spawn(const SpawnRequest& request);
/// Waits for a child of ours; its exit code, 128+n when a signal killed it.
Result<int> WaitForExit(ProcessId id);

/// Resident memory and CPU time from /proc; zero when it is gone.
struct ProcessUsage {
  uint64_t resident_bytes = 0;
  double cpu_seconds = 0;
};
ProcessUsage UsageOf(ProcessId id);

/// The directory of the running program, where its siblings are.
std::string ProgramDirectory();

}  // namespace dfs::dev
