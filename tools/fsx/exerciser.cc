#include "tools/fsx/exerciser.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace dfs::fsx {
namespace {

constexpr uint64_t kPage = 4096;
constexpr size_t kHistory = 100;

/// A mapping that ends with its scope.
class Map {
 public:
  Map(int fd, uint64_t offset, uint64_t length, int protection, int flags)
      : shift_(offset % kPage), length_(length + shift_) {
    void* at = ::mmap(nullptr, length_, protection, flags, fd, static_cast<off_t>(offset - shift_));
    base_ = at == MAP_FAILED ? nullptr : static_cast<char*>(at);
  }
  ~Map() {
    if (base_ != nullptr) ::munmap(base_, length_);
  }
  Map(const Map&) = delete;
  Map& operator=(const Map&) = delete;

  bool ok() const { return base_ != nullptr; }
  char* data() { return base_ + shift_; }
  /// Up to the end of the last page: zeros behind the end of the file.
  std::string_view rest() const {
    const uint64_t end = (length_ + kPage - 1) / kPage * kPage;
    return {base_ + length_, end - length_};
  }
  int Sync() { return ::msync(base_, length_, MS_SYNC); }

 private:
  uint64_t shift_;
  uint64_t length_;
  char* base_;
};

void CloseFd(int* fd) {
  if (*fd >= 0) ::close(*fd);
  *fd = -1;
}

}  // namespace

Exerciser::Exerciser(ExerciserOptions options)
    : options_(std::move(options)),
      random_(options_.seed),
      name_(options_.name),
      limit_(options_.max_size) {
  for (const std::string& directory : options_.directories) {
    Side side;
    side.directory = directory;
    sides_.push_back(side);
  }
  ::unlink(PathOf(active()).c_str());
  OpenActive(true);
  for (Side& side : sides_) {
    side.read_fd = ::open(PathOf(side).c_str(), O_RDONLY | O_CLOEXEC);
    if (side.read_fd < 0) FailCall("open for reading");
  }
}

Exerciser::~Exerciser() {
  for (Side& side : sides_) {
    CloseFd(&side.fd);
    CloseFd(&side.append_fd);
    CloseFd(&side.read_fd);
  }
}

// ---- Choosing -----------------------------------------------------------------------------------

void Exerciser::Step() {
  ++steps_;
  if (random_.OneIn(300)) {
    const uint64_t limits[] = {2'000, 17'000, 66'000, options_.max_size, options_.max_size};
    limit_ = std::min(limits[random_.Uniform(std::size(limits))], options_.max_size);
  }
  struct Choice {
    int weight;
    void (Exerciser::*run)();
  };
  const int maps = options_.maps ? 1 : 0;
  const int others = sides_.size() > 1 ? 1 : 0;
  const Choice choices[] = {
      {20, &Exerciser::Write},
      {4, &Exerciser::Append},
      {20, &Exerciser::Read},
      {7, &Exerciser::Truncate},
      {8 * maps, &Exerciser::MapRead},
      {8 * maps, &Exerciser::MapWrite},
      {2 * maps, &Exerciser::MapPrivate},
      {3, &Exerciser::Sync},
      {2, &Exerciser::Reopen},
      {1, &Exerciser::Rename},
      {2, &Exerciser::Fallocate},
      {3, &Exerciser::PunchHole},
      {2, &Exerciser::SeekHoles},
      {2, &Exerciser::CopyRange},
      {6, &Exerciser::CheckSize},
      {4 * others, &Exerciser::LookFromElsewhere},
      {2 * others, &Exerciser::HandOver},
  };
  int total = 0;
  for (const Choice& choice : choices) total += choice.weight;
  int left = static_cast<int>(random_.Uniform(static_cast<uint64_t>(total)));
  for (const Choice& choice : choices) {
    left -= choice.weight;
    if (left < 0) return (this->*choice.run)();
  }
}

Exerciser::Range Exerciser::RangeWithin(uint64_t limit) {
  Range range;
  if (limit == 0) return range;
  // Lengths of all magnitudes; offsets often at pages and at the end.
  const uint64_t longest = std::max<uint64_t>(1, options_.max_length >> random_.Uniform(17));
  range.offset = random_.Uniform(limit);
  if (random_.OneIn(4)) range.offset = range.offset / kPage * kPage;
  if (random_.OneIn(6)) range.offset = std::min<uint64_t>(model_.size(), limit - 1);
  range.length = 1 + random_.Uniform(std::min(longest, limit - range.offset));
  if (random_.OneIn(6) && range.length > kPage) range.length = range.length / kPage * kPage;
  return range;
}

std::string Exerciser::RandomBytes(uint64_t length) {
  std::string bytes(length, '\0');
  for (uint64_t i = 0; i < length; i += 8) {
    const uint64_t word = random_.Next() | 1;
    std::memcpy(bytes.data() + i, &word, std::min<uint64_t>(8, length - i));
  }
  return bytes;
}

void Exerciser::Note(std::string text) {
  history_.push_back(fmt::format("{:>7} {}{}", steps_,
                                 sides_.size() > 1 ? fmt::format("side {}: ", active_) : "", text));
  if (history_.size() > kHistory) history_.pop_front();
}

void Exerciser::Fail(const std::string& what) {
  throw Difference(fmt::format("{} (seed {}, step {})", what, options_.seed, steps_));
}

void Exerciser::FailCall(const char* call) {
  Fail(fmt::format("{}: {}", call, std::strerror(errno)));
}

// ---- The model ----------------------------------------------------------------------------------

void Exerciser::Put(uint64_t offset, std::string_view data) {
  bytes_ += data.size();
  if (model_.size() < offset + data.size()) model_.resize(offset + data.size(), '\0');
  model_.replace(offset, data.size(), data);
}

void Exerciser::Compare(std::string_view got, uint64_t offset, const char* how) {
  const std::string_view wanted = offset < model_.size()
                                      ? std::string_view(model_).substr(offset, got.size())
                                      : std::string_view();
  bytes_ += got.size();
  if (got == wanted) return;
  if (got.size() != wanted.size()) {
    Fail(fmt::format("{} at {}: {} bytes instead of {}", how, offset, got.size(), wanted.size()));
  }
  uint64_t first = 0;
  while (got[first] == wanted[first]) ++first;
  uint64_t last = got.size() - 1;
  while (got[last] == wanted[last]) --last;
  const auto hex = [&](std::string_view bytes) {
    std::string out;
    for (const char c : bytes.substr(first, 16))
      out += fmt::format("{:02x} ", static_cast<uint8_t>(c));
    return out;
  };
  Fail(fmt::format(
      "{} at {} of {} bytes: differs from {} to {} (file of {}):\n  read     {}\n  expected {}",
      how, offset, got.size(), offset + first, offset + last, model_.size(), hex(got),
      hex(wanted)));
}

void Exerciser::ReadAndCompare(int fd, Range range, const char* how) {
  std::string buffer(range.length, '\x55');
  const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(range.offset));
  if (n < 0) FailCall(how);
  const uint64_t there = range.offset < model_.size() ? model_.size() - range.offset : 0;
  if (static_cast<uint64_t>(n) != std::min(range.length, there)) {
    Fail(fmt::format("{} of {} at {}: got {} bytes, the file has {}", how, range.length,
                     range.offset, n, model_.size()));
  }
  Compare(std::string_view(buffer).substr(0, static_cast<size_t>(n)), range.offset, how);
}

void Exerciser::CheckSizeOf(int fd, const std::string& path) {
  struct stat st;
  if (::fstat(fd, &st) != 0) FailCall("fstat");
  if (static_cast<uint64_t>(st.st_size) != model_.size()) {
    Fail(fmt::format("fstat: {} bytes instead of {}", st.st_size, model_.size()));
  }
  if (::stat(path.c_str(), &st) != 0) FailCall("stat");
  if (static_cast<uint64_t>(st.st_size) != model_.size()) {
    Fail(fmt::format("stat: {} bytes instead of {}", st.st_size, model_.size()));
  }
}

// ---- Operations ---------------------------------------------------------------------------------

void Exerciser::Write() {
  const Range range = RangeWithin(limit_);
  Note(fmt::format("write {} at {} (size {})", range.length, range.offset, model_.size()));
  const std::string data = RandomBytes(range.length);
  const ssize_t n =
      ::pwrite(active().fd, data.data(), data.size(), static_cast<off_t>(range.offset));
  if (n != static_cast<ssize_t>(data.size())) FailCall("pwrite");
  Put(range.offset, data);
}

void Exerciser::Append() {
  if (model_.size() >= limit_) return;
  const uint64_t length = 1 + random_.Uniform(std::min<uint64_t>(20'000, limit_ - model_.size()));
  Note(fmt::format("append {} (size {})", length, model_.size()));
  const std::string data = RandomBytes(length);
  if (::write(active().append_fd, data.data(), data.size()) != static_cast<ssize_t>(data.size())) {
    FailCall("append");
  }
  Put(model_.size(), data);
}

void Exerciser::Read() {
  const Range range = RangeWithin(options_.max_size);
  Note(fmt::format("read {} at {} (size {})", range.length, range.offset, model_.size()));
  ReadAndCompare(random_.OneIn(3) ? active().read_fd : active().fd, range, "pread");
}

void Exerciser::Truncate() {
  uint64_t size = random_.OneIn(10) ? 0 : random_.Uniform(limit_ + 1);
  // Down a little and up again is where stale tails show.
  if (random_.OneIn(3))
    size = model_.size() - random_.Uniform(std::min<uint64_t>(model_.size(), 9'000) + 1);
  const bool by_name = random_.OneIn(3);
  Note(fmt::format("truncate {} to {}{}", model_.size(), size, by_name ? " by name" : ""));
  const int done = by_name ? ::truncate(PathOf(active()).c_str(), static_cast<off_t>(size))
                           : ::ftruncate(active().fd, static_cast<off_t>(size));
  if (done != 0) FailCall("truncate");
  model_.resize(size, '\0');
}

void Exerciser::MapRead() {
  const Range range = RangeWithin(model_.size());
  if (range.length == 0) return;
  Note(fmt::format("map and read {} at {} (size {})", range.length, range.offset, model_.size()));
  Map map(active().fd, range.offset, range.length, PROT_READ, MAP_SHARED);
  if (!map.ok()) FailCall("mmap");
  Compare({map.data(), range.length}, range.offset, "a mapping");
  if (range.offset + range.length != model_.size()) return;
  for (const char c : map.rest()) {
    if (c != 0) Fail("a mapping: not zero behind the end of the file");
  }
}

void Exerciser::MapWrite() {
  const Range range = RangeWithin(limit_);
  const bool sync = random_.OneIn(2);
  Note(fmt::format("map and write {} at {} (size {}){}", range.length, range.offset, model_.size(),
                   sync ? ", msync" : ""));
  if (range.offset + range.length > model_.size()) {
    if (::ftruncate(active().fd, static_cast<off_t>(range.offset + range.length)) != 0) {
      FailCall("ftruncate before mmap");
    }
    model_.resize(range.offset + range.length, '\0');
  }
  Map map(active().fd, range.offset, range.length, PROT_READ | PROT_WRITE, MAP_SHARED);
  if (!map.ok()) FailCall("mmap");
  const std::string data = RandomBytes(range.length);
  std::memcpy(map.data(), data.data(), data.size());
  Put(range.offset, data);
  if (sync && map.Sync() != 0) FailCall("msync");
  if (random_.OneIn(3)) ReadAndCompare(active().fd, range, "pread of a mapping's bytes");
}

void Exerciser::MapPrivate() {
  const Range range = RangeWithin(model_.size());
  if (range.length == 0) return;
  Note(fmt::format("map privately {} at {} (size {})", range.length, range.offset, model_.size()));
  Map map(active().fd, range.offset, range.length, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  if (!map.ok()) FailCall("mmap");
  Compare({map.data(), range.length}, range.offset, "a private mapping");
  std::memset(map.data(), 0x77, range.length);
  ReadAndCompare(active().fd, range, "pread beside a private mapping");
}

void Exerciser::Sync() {
  const bool data_only = random_.OneIn(2);
  Note(data_only ? "fdatasync" : "fsync");
  if ((data_only ? ::fdatasync(active().fd) : ::fsync(active().fd)) != 0) FailCall("fsync");
}

void Exerciser::OpenActive(bool create) {
  const std::string path = PathOf(active());
  active().fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0), 0644);
  if (active().fd < 0) FailCall("open");
  active().append_fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (active().append_fd < 0) FailCall("open for appending");
}

void Exerciser::CloseActive() {
  for (int* fd : {&active().fd, &active().append_fd}) {
    if (::close(std::exchange(*fd, -1)) != 0) FailCall("close");
  }
}

void Exerciser::Reopen() {
  Note("close and open");
  CloseActive();
  OpenActive(false);
}

void Exerciser::Rename() {
  const std::string from = PathOf(active());
  name_ = name_ == options_.name ? options_.name + ".renamed" : options_.name;
  Note("rename to " + name_);
  if (::rename(from.c_str(), PathOf(active()).c_str()) != 0) FailCall("rename");
}

void Exerciser::Fallocate() {
  if (!can_allocate_) return;
  const Range range = RangeWithin(limit_);
  const bool keep = random_.OneIn(2);
  Note(fmt::format("allocate {} at {} (size {}){}", range.length, range.offset, model_.size(),
                   keep ? ", size kept" : ""));
  if (::fallocate(active().fd, keep ? FALLOC_FL_KEEP_SIZE : 0, static_cast<off_t>(range.offset),
                  static_cast<off_t>(range.length)) != 0) {
    if (errno != EOPNOTSUPP) FailCall("fallocate");
    can_allocate_ = false;
    return;
  }
  if (!keep) model_.resize(std::max(model_.size(), range.offset + range.length), '\0');
}

void Exerciser::PunchHole() {
  if (!can_punch_) return;
  const Range range = RangeWithin(options_.max_size);
  Note(fmt::format("punch {} at {} (size {})", range.length, range.offset, model_.size()));
  if (::fallocate(active().fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(range.offset), static_cast<off_t>(range.length)) != 0) {
    if (errno != EOPNOTSUPP) FailCall("fallocate to punch a hole");
    can_punch_ = false;
    return;
  }
  const uint64_t end = std::min<uint64_t>(model_.size(), range.offset + range.length);
  if (range.offset < end)
    std::fill(model_.begin() + static_cast<ptrdiff_t>(range.offset),
              model_.begin() + static_cast<ptrdiff_t>(end), '\0');
}

void Exerciser::SeekHoles() {
  Note(fmt::format("look for holes (size {})", model_.size()));
  const int fd = active().fd;
  off_t at = 0;
  const auto size = static_cast<off_t>(model_.size());
  while (at < size) {
    off_t data = ::lseek(fd, at, SEEK_DATA);
    if (data < 0 && errno != ENXIO) FailCall("SEEK_DATA");
    if (data < 0) data = size;
    if (data < at || data > size) Fail(fmt::format("SEEK_DATA from {}: {}", at, data));
    const std::string_view hole =
        std::string_view(model_).substr(static_cast<size_t>(at), static_cast<size_t>(data - at));
    if (hole.find_first_not_of('\0') != std::string_view::npos) {
      Fail(fmt::format("SEEK_DATA says that {} to {} is a hole, but there is data", at, data));
    }
    if (data == size) break;
    at = ::lseek(fd, data, SEEK_HOLE);
    if (at <= data || at > size) Fail(fmt::format("SEEK_HOLE from {}: {}", data, at));
  }
  if (::lseek(fd, size, SEEK_DATA) >= 0 || errno != ENXIO)
    Fail("SEEK_DATA finds something at the end of the file");
}

void Exerciser::CopyRange() {
  const Range from = RangeWithin(model_.size());
  if (from.length == 0) return;
  const uint64_t length = std::min(from.length, model_.size() - from.offset);
  const uint64_t to = random_.Uniform(limit_);
  const bool overlap = to < from.offset + length && from.offset < to + length;
  if (overlap || to + length > limit_) return;
  Note(fmt::format("copy {} from {} to {} (size {})", length, from.offset, to, model_.size()));
  auto in = static_cast<loff_t>(from.offset);
  auto out = static_cast<loff_t>(to);
  for (uint64_t left = length; left > 0;) {
    const ssize_t n = ::copy_file_range(active().fd, &in, active().fd, &out, left, 0);
    if (n <= 0) FailCall("copy_file_range");
    left -= static_cast<uint64_t>(n);
  }
  Put(to, model_.substr(from.offset, length));
}

void Exerciser::CheckSize() {
  CheckSizeOf(random_.OneIn(2) ? active().fd : active().read_fd, PathOf(active()));
}

// ---- Several sides ------------------------------------------------------------------------------

void Exerciser::LookFromElsewhere() {
  Side& other = sides_[random_.Uniform(sides_.size())];
  Note(
      fmt::format("fsync, and look from side {} (size {})", &other - sides_.data(), model_.size()));
  if (::fsync(active().fd) != 0) FailCall("fsync");
  CheckSizeOf(other.read_fd, PathOf(other));
  for (int i = 0; i < 3; ++i) {
    ReadAndCompare(other.read_fd, RangeWithin(options_.max_size), "pread elsewhere after fsync");
  }
  // What the other side has just read, and so may have cached, is overwritten.
  const Range range = RangeWithin(model_.size());
  if (range.length == 0) return;
  ReadAndCompare(other.read_fd, range, "pread elsewhere");
  Note(fmt::format("overwrite {} at {}, fsync, and look again", range.length, range.offset));
  const std::string data = RandomBytes(range.length);
  if (::pwrite(active().fd, data.data(), data.size(), static_cast<off_t>(range.offset)) !=
      static_cast<ssize_t>(data.size())) {
    FailCall("pwrite");
  }
  Put(range.offset, data);
  if (::fsync(active().fd) != 0) FailCall("fsync");
  ReadAndCompare(other.read_fd, range, "pread elsewhere of what was overwritten and synced");
}

void Exerciser::HandOver() {
  const size_t next = random_.Uniform(sides_.size());
  Note(fmt::format("close, and go on at side {}", next));
  CloseActive();
  active_ = next;
  OpenActive(false);
  CheckSizeOf(active().fd, PathOf(active()));
}

void Exerciser::Finish() {
  Note("close, and compare the whole file");
  CloseActive();
  for (Side& side : sides_) {
    CheckSizeOf(side.read_fd, PathOf(side));
    for (uint64_t at = 0; at <= model_.size(); at += 1u << 20) {
      ReadAndCompare(side.read_fd, {at, 1u << 20}, "pread at the end");
    }
  }
  if (::unlink(PathOf(active()).c_str()) != 0) FailCall("unlink");
}

}  // namespace dfs::fsx
