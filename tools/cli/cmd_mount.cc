// dfs mount and dfs umount: dfs-fuse started and ended as a user would like to.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tools/cli/client_config.h"
#include "tools/cli/commands.h"
#include "tools/cli/verb.h"
#include "tools/dev/process.h"

namespace dfs::cli {
namespace {

constexpr char kExamples[] =
    "dfs mount ~/dfs\n"
    "dfs mount /mnt/proj --path /proj -o allow_other,timeo=120s\n"
    "mount -t dfs a:9700,b:9700,c:9700:/proj /mnt/proj -o ro     (as root, docs/mount.md)";

std::string Absolute(const std::string& path) {
  char resolved[PATH_MAX];
  return ::realpath(path.c_str(), resolved) != nullptr ? resolved : path;
}

/// As /proc/self/mounts writes odd characters.
std::string Escaped(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\\') {
      out += fmt::format("\\{:03o}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out;
}

/// The type of what is mounted there last, "" for nothing. Asks no mount anything: one may be dead.
std::string TypeOfMount(const std::string& path) {
  std::ifstream mounts("/proc/self/mounts");
  const std::string wanted = Escaped(path);
  std::string type;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string source;
    std::string at;
    std::string of;
    words >> source >> at >> of;
    if (at == wanted) type = of;
  }
  return type;
}

/// realpath fails on a dead mount; its parent's does not.
std::string PlaceOf(const std::string& typed) {
  std::filesystem::path path(typed);
  if (!path.has_filename()) path = path.parent_path();
  std::error_code ignored;
  const auto absolute = std::filesystem::absolute(path, ignored);
  const auto parent = std::filesystem::weakly_canonical(absolute.parent_path(), ignored);
  if (parent.empty()) return Absolute(typed);
  return (parent / absolute.filename()).lexically_normal().string();
}

/// Runs a program and waits; its exit code, or -1 when it cannot be started.
int RunProgram(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return -1;
  if (child == 0) {
    ::execvp(argv[0], argv.data());
    std::_Exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  return code == 127 ? -1 : code;
}

bool EmptyDirectory(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_empty(path, error) || error;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ",") + word;
  return out;
}

std::vector<std::string> CommandLine(const Options& cluster, const std::string& where,
                                     const std::string& path,
                                     const std::vector<std::string>& options, bool foreground) {
  std::vector<std::string> words = {dev::ProgramDirectory() + "/dfs-fuse", where, "--namenodes",
                                    Joined(cluster.namenodes)};
  const auto add = [&](const char* name, const std::string& value) {
    if (value.empty()) return;
    words.emplace_back(name);
    words.push_back(value);
  };
  add("--key-file", cluster.key_file.empty() ? "" : Absolute(cluster.key_file));
  add("--cluster-id", cluster.cluster_id);
  add("--path", path);
  add("-o", "timeo=" + std::to_string(std::max<int64_t>(cluster.timeout.count() / 1000, 1)));
  for (const std::string& list : options) add("-o", list);
  if (cluster.insecure) words.emplace_back("--insecure");
  if (foreground) words.emplace_back("-f");
  return words;
}

}  // namespace

int RunMount(const Arguments& arguments) {
  Verb verb("mount", "Show the cluster as a directory of this machine.", kExamples);
  std::string where;
  std::string path;
  std::vector<std::string> options;
  bool foreground = false;
  bool nonempty = false;
  verb.args().Options("-o", &options, "Mount options, separated by commas (docs/mount.md)");
  verb.args().Option("--path", &path, "The directory of the cluster to show (/)");
  verb.args().Flag("-f,--foreground", &foreground, "Stay; log to stderr; Ctrl-C unmounts");
  verb.args().Flag("--nonempty", &nonempty, "Also over a directory that has files");
  verb.args().Positional("DIRECTORY", &where, "An empty directory of this machine");
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::string place = PlaceOf(where);
  if (TypeOfMount(place) == "fuse.dfs") {
    verb.Failed("mount on", where,
                Status(Code::kBusy, "a cluster is mounted there already; dfs umount " + where));
    return verb.ExitCode();
  }
  if (!nonempty && !EmptyDirectory(where)) {
    verb.Failed("mount on", where,
                Status(Code::kNotEmpty,
                       "the directory has files, which the mount would hide; "
                       "choose another, or say --nonempty"));
    return verb.ExitCode();
  }
  const std::optional<Options> cluster = verb.Cluster();
  if (!cluster) return verb.ExitCode();
  const std::string clean = path.empty() ? "" : ClusterPath(path);
  const std::vector<std::string> words = CommandLine(*cluster, where, clean, options, foreground);
  const int code = RunProgram(words);
  if (code < 0) {
    verb.Failed("start", words[0], Status(Code::kNotFound, "the program is not there"));
    return verb.ExitCode();
  }
  if (code != 0) return code == kExitUsage ? kExitUsage : kExitFailed;
  if (!foreground) {
    fmt::print("Mounted {}{} on {}. Unmount: dfs umount {}\n", DescribeCluster(*cluster), clean,
               ShownName(place), ShownName(where));
  }
  return verb.ExitCode();
}

int RunUmount(const Arguments& arguments) {
  Verb verb("umount", "End a mount.", "dfs umount ~/dfs");
  std::string where;
  bool lazy = false;
  verb.args().Flag("-l,--lazy", &lazy,
                   "Now, also when it is in use: what is open there stays usable");
  verb.args().Positional("DIRECTORY", &where, "Where it is mounted");
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::string place = PlaceOf(where);
  const std::string type = TypeOfMount(place);
  if (type != "fuse.dfs") {
    verb.Failed("unmount", where, Status(Code::kInvalidArgument, "no cluster is mounted there"));
    return verb.ExitCode();
  }
  Status done;
  if (::geteuid() == 0) {
    if (::umount2(place.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) != 0) {
      done = errno == EBUSY ? Status(Code::kBusy, "something there is in use (fuser -vm " + where +
                                                      " says by whom), or use --lazy")
                            : Status::FromSystem(errno, "umount");
    }
  } else {
    const int code = RunProgram({"fusermount3", lazy ? "-uz" : "-u", place});
    if (code < 0) done = Status(Code::kNotFound, "fusermount3 is missing (apt install fuse3)");
    if (code > 0) return kExitFailed;  // it said why
  }
  if (!done.ok()) verb.Failed("unmount", where, done);
  return verb.ExitCode();
}

}  // namespace dfs::cli
