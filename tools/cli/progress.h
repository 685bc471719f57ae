// Progress of a copy on a terminal's stderr: one line, redrawn at most ten times a second; nothing when
// stderr is no terminal. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

namespace dfs::cli {

class Progress {
 public:
  Progress(std::string title, bool enabled);
  ~Progress();

  void AddTotal(uint64_t files, uint64_t bytes);
  void AddBytes(uint64_t bytes);
  void AddFile();
  uint64_t bytes() const { return bytes_; }
  uint64_t files() const { return files_; }
  int64_t elapsed_ns() const;
  /// Takes the line away.
  void Finish();

 private:
  void Draw();
  const std::string title_;
  const bool enabled_;
  const int64_t started_ns_;
  std::atomic<uint64_t> total_files_{0};
  std::atomic<uint64_t> total_bytes_{0};
  std::atomic<uint64_t> files_{0};
  std::atomic<uint64_t> bytes_{0};
  std::atomic<int64_t> next_draw_ns_;
  std::mutex drawing_;
};

/// Clears a progress line that is on the screen, so that a message can take its place.
void ClearProgressLine();

}  // namespace dfs::cli
