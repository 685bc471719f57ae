// Exerciser: random operations on one file of any file system, each against a model in memory: reads, writes, appends,
// truncations, mappings, holes, renames, reopening. The file may be reached by several directories (mounts of one
// cluster): one is the active side, which changes the file, until it hands over to another; what it has synced, every
// side must see.
//
// The operations follow from the seed alone. Thread-compatible.
#pragma once

#include <cstdint>
#include <deque>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/random.h"

namespace dfs::fsx {

struct ExerciserOptions {
  std::vector<std::string> directories;
  std::string name = "fsx";
  uint64_t seed = 1;
  uint64_t max_size = 2u << 20;
  uint64_t max_length = 128u << 10;  // of one operation
  bool maps = true;
};

/// What the file system did and the model did not, or an operation that failed.
class Difference : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Exerciser {
 public:
  /// Makes the file anew.
  explicit Exerciser(ExerciserOptions options);
  ~Exerciser();
  Exerciser(const Exerciser&) = delete;
  Exerciser& operator=(const Exerciser&) = delete;

  /// One operation; throws Difference.
  void Step();
  /// Closes everything and compares the whole file by every side.
  void Finish();
  /// The last operations, the newest last.
  const std::deque<std::string>& history() const { return history_; }
  uint64_t steps() const { return steps_; }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Side {
    std::string directory;
    int fd = -1;         // for reading and writing, of the active side only
    int append_fd = -1;  // of the active side only
    int read_fd = -1;    // stays open across hand-overs
  };
  struct Range {
    uint64_t offset = 0;
    uint64_t length = 0;
  };

  void Write();
  void Append();
  void Read();
  void Truncate();
  void MapRead();
  void MapWrite();
  void MapPrivate();
  void Sync();
  void Reopen();
  void Rename();
  void Fallocate();
  void PunchHole();
  void SeekHoles();
  void CopyRange();
  void CheckSize();
  void LookFromElsewhere();
  void HandOver();

  Side& active() { return sides_[active_]; }
  std::string PathOf(const Side& side) const { return side.directory + "/" + name_; }
  void OpenActive(bool create);
  void CloseActive();
  Range RangeWithin(uint64_t limit);
  std::string RandomBytes(uint64_t length);
  void Note(std::string text);
  void Put(uint64_t offset, std::string_view data);
  void Compare(std::string_view got, uint64_t offset, const char* how);
  void CheckSizeOf(int fd, const std::string& path);
  void ReadAndCompare(int fd, Range range, const char* how);
  [[noreturn]] void Fail(const std::string& what);
  [[noreturn]] void FailCall(const char* call);

  const ExerciserOptions options_;
  Random random_;
  std::string name_;
  std::vector<Side> sides_;
  size_t active_ = 0;
  std::string model_;
  uint64_t limit_ = 0;  // of sizes, for a while: small files are another matter than big ones
  bool can_allocate_ = true;
  bool can_punch_ = true;
  std::deque<std::string> history_;
  uint64_t steps_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace dfs::fsx
