#include "common/metrics/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace dfs {
namespace {

std::string ReadProc(const char* path) {
  std::string out;
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return out;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), file)) > 0;) out.append(buffer, n);
  std::fclose(file);
  return out;
}

// Field number (from 3) of /proc/self/stat, whose second one may contain anything.
double StatField(const std::string& stat, int number) {
  size_t at = stat.rfind(')');
  for (int field = 2; field < number && at != std::string::npos; ++field) {
    at = stat.find(' ', at + 1);
  }
  return at == std::string::npos ? 0 : std::strtod(stat.c_str() + at, nullptr);
}

int OpenFiles() {
  DIR* dir = opendir("/proc/self/fd");
  if (dir == nullptr) return 0;
  int count = 0;
  while (const dirent* entry = readdir(dir)) count += entry->d_name[0] != '.';
  closedir(dir);
  return count - 1;  // without the directory's own
}

}  // namespace

void AddProcessMetrics(Exposition* page) {
  const std::string stat = ReadProc("/proc/self/stat");
  const std::string system = ReadProc("/proc/stat");
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const size_t boot = system.find("btime ");
  const double booted =
      boot == std::string::npos ? 0 : std::strtod(system.c_str() + boot + 6, nullptr);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  page->Counter("process_cpu_seconds_total", "User and system time.",
                (StatField(stat, 14) + StatField(stat, 15)) / ticks);
  page->Gauge("process_resident_memory_bytes", "Memory in use.",
              StatField(stat, 24) * static_cast<double>(sysconf(_SC_PAGESIZE)));
  page->Gauge("process_open_fds", "Open file descriptors.", OpenFiles());
  page->Gauge("process_max_fds", "How many may be open.", static_cast<double>(files.rlim_cur));
  page->Gauge("process_start_time_seconds", "When it started, since the epoch.",
              booted + StatField(stat, 22) / ticks);
}

}  // namespace dfs
