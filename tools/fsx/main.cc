// dfs-fsx: exercises a file system, or several mounts of one, and compares with a model.
//   dfs-fsx --seconds 20 --files 4 /mnt/a /mnt/b
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "tools/fsx/exerciser.h"

namespace dfs::fsx {
namespace {

struct Settings {
  ExerciserOptions options;
  int64_t seconds = 10;
  uint64_t steps = 0;  // 0: by time only
  int files = 1;
};

/// The history is lost with it, but the operations can be had again from the seed.
void OnBusError(int) {
  constexpr char kText[] =
      "SIGBUS: a page of a mapping could not be read (see --seed and --no-maps)\n";
  [[maybe_unused]] const ssize_t n = ::write(2, kText, sizeof(kText) - 1);
  ::_exit(1);
}

class Runner {
 public:
  explicit Runner(Settings settings) : settings_(std::move(settings)) {}

  bool Run() {
    until_ns_ = SystemClock().BootNs() + settings_.seconds * kSecond;
    std::vector<std::thread> threads;
    for (int i = 0; i < settings_.files; ++i) threads.emplace_back([this, i] { RunFile(i); });
    for (std::thread& thread : threads) thread.join();
    if (failed_) return false;
    fmt::print("{} operations, {} MiB, {} files: no difference\n", steps_.load(), bytes_ >> 20,
               settings_.files);
    return true;
  }

 private:
  void RunFile(int i) {
    ExerciserOptions options = settings_.options;
    options.seed += static_cast<uint64_t>(i);
    options.name += "." + std::to_string(i);
    std::unique_ptr<Exerciser> file;
    try {
      file = std::make_unique<Exerciser>(options);
      while (!failed_ && (settings_.steps == 0 || file->steps() < settings_.steps) &&
             SystemClock().BootNs() < until_ns_) {
        file->Step();
      }
      if (!failed_) file->Finish();
    } catch (const Difference& difference) {
      const std::lock_guard<std::mutex> lock(mutex_);
      failed_ = true;
      if (file != nullptr) {
        for (const std::string& line : file->history()) fmt::print(stderr, "{}\n", line);
      }
      fmt::print(stderr, "{}: {}\n", options.name, difference.what());
    }
    if (file == nullptr) return;
    steps_ += file->steps();
    bytes_ += file->bytes();
  }

  const Settings settings_;
  int64_t until_ns_ = 0;
  std::atomic<bool> failed_{false};
  std::atomic<uint64_t> steps_{0};
  std::atomic<uint64_t> bytes_{0};
  std::mutex mutex_;
};

}  // namespace
}  // namespace dfs::fsx

int main(int argc, char** argv) {
  dfs::fsx::Settings settings;
  settings.options.seed = static_cast<uint64_t>(::getpid());
  bool no_maps = false;
  CLI::App app(
      "Random operations on files against a model. Exit code 1: a difference, with what led to "
      "it.");
  app.add_option("DIRECTORY", settings.options.directories,
                 "Where; several: mounts of one cluster's directory, used in turns")
      ->required();
  app.add_option("--seed", settings.options.seed, "Repeats a run's operations");
  app.add_option("--seconds", settings.seconds, "How long (10)");
  app.add_option("--steps", settings.steps, "At most so many operations on each file");
  app.add_option("--files", settings.files, "Files at once (1)")->check(CLI::Range(1, 64));
  app.add_option("--max-size", settings.options.max_size, "Of a file, in bytes (2 MiB)")
      ->check(CLI::Range(4096ul, 1ul << 32));
  app.add_option("--max-length", settings.options.max_length, "Of an operation, in bytes (128 KiB)")
      ->check(CLI::Range(1ul, 1ul << 26));
  app.add_flag("--no-maps", no_maps, "Without mmap");
  CLI11_PARSE(app, argc, argv);
  settings.options.maps = !no_maps;
  ::signal(SIGBUS, dfs::fsx::OnBusError);
  fmt::print("Seed {}\n", settings.options.seed);
  std::fflush(stdout);
  try {
    return dfs::fsx::Runner(settings).Run() ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "dfs-fsx: {}\n", error.what());
    return 1;
  }
}
