#include "tools/cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstdio>

#include "common/base/clock.h"
#include "tools/cli/text.h"

namespace dfs::cli {
namespace {

constexpr int64_t kRedrawNs = 100 * kMillisecond;
std::atomic<bool> g_line_shown{false};

size_t Columns() {
  winsize size{};
  return ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(std::string title, bool enabled)
    : title_(std::move(title)),
      enabled_(enabled),
      started_ns_(SystemClock().BootNs()),
      next_draw_ns_(started_ns_ + 2 * kRedrawNs) {}

Progress::~Progress() {
  Finish();
}

void Progress::AddTotal(uint64_t files, uint64_t bytes) {
  total_files_ += files;
  total_bytes_ += bytes;
}

void Progress::AddBytes(uint64_t bytes) {
  bytes_ += bytes;
  if (enabled_) Draw();
}

void Progress::AddFile() {
  ++files_;
  if (enabled_) Draw();
}

int64_t Progress::elapsed_ns() const {
  return SystemClock().BootNs() - started_ns_;
}

void Progress::Draw() {
  const int64_t now = SystemClock().BootNs();
  if (now < next_draw_ns_.load(std::memory_order_relaxed)) return;
  const std::unique_lock<std::mutex> lock(drawing_, std::try_to_lock);
  if (!lock) return;
  next_draw_ns_ = now + kRedrawNs;
  const uint64_t bytes = bytes_;
  const uint64_t total = std::max<uint64_t>(total_bytes_, bytes);
  const double seconds = static_cast<double>(now - started_ns_) / 1e9;
  const double rate = seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
  std::string line = fmt::format("{}  {}", title_, HumanSize(bytes));
  if (total_bytes_ > 0) {
    const double part = static_cast<double>(bytes) / static_cast<double>(total);
    constexpr int kWidth = 20;
    const int full = static_cast<int>(part * kWidth);
    line += fmt::format(" of {}  [{}{}] {:3.0f}%", HumanSize(total), std::string(full, '#'),
                        std::string(kWidth - full, '.'), part * 100);
  }
  line += fmt::format("  {}/s", HumanSize(static_cast<uint64_t>(rate)));
  if (total > bytes && rate > 0) {
    const double left = static_cast<double>(total - bytes) / rate;
    line += fmt::format("  {} left", HumanDuration(static_cast<int64_t>(left * 1e9)));
  }
  if (total_files_ > 1) line += fmt::format("  {}/{} files", files_.load(), total_files_.load());
  const size_t columns = Columns();
  if (line.size() >= columns) line.resize(columns - 1);
  fmt::print(stderr, "\r\033[K{}", line);
  std::fflush(stderr);
  g_line_shown = true;
}

void Progress::Finish() {
  if (enabled_) ClearProgressLine();
}

void ClearProgressLine() {
  if (!g_line_shown.exchange(false)) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
}

}  // namespace dfs::cli
