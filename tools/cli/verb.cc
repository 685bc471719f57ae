#include "tools/cli/verb.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "common/base/clock.h"
#include "tools/cli/client_config.h"
#include "tools/cli/json_out.h"
#include "tools/cli/progress.h"

namespace dfs::cli {
namespace {

std::atomic<bool> g_interrupted{false};
std::string g_hadoop_command;  // set before anything runs in parallel

void SayAndExit(const char* text) {
  if (write(2, text, std::string_view(text).size()) < 0) _exit(kExitInterrupted);
  _exit(kExitInterrupted);
}

void OnInterrupt(int) {
  if (g_interrupted.exchange(true)) SayAndExit("\ndfs: interrupted\n");
  alarm(3);
}

void OnAlarm(int) {
  SayAndExit("\ndfs: interrupted; a hidden temporary file may be left behind\n");
}

}  // namespace

Verb::Verb(const std::string& name, const std::string& summary, const std::string& examples)
    : name_(name), args_(name, summary, examples) {
  args_.Option("--namenodes", &namenodes_, "Addresses of the namenodes, separated by commas");
  args_.Option("--cluster", &cluster_, "A cluster named in client.toml");
  args_.Option("--key-file", &key_file_, "The cluster key's file");
  args_.Option("--timeout", &timeout_, "How long a call may take, fail-over included (60s)");
  args_.Flag("--json", &json_, "Machine-readable output");
}

ClientConfigFlags Verb::config_flags() const {
  return {namenodes_, cluster_, key_file_, timeout_};
}

std::optional<Options> Verb::Cluster() {
  Result<Options> options = FindCluster(config_flags());
  if (!options) {
    Failed("find a cluster", "", options.error());
    return std::nullopt;
  }
  return std::move(*options);
}

std::optional<Client> Verb::Connect() {
  const std::optional<Options> options = Cluster();
  if (!options) return std::nullopt;
  Result<Client> client = Client::connect(*options);
  if (!client) {
    Failed("connect to", DescribeCluster(*options), client.error());
    return std::nullopt;
  }
  return std::move(*client);
}

void Verb::Failed(std::string_view action, std::string_view object, const Status& why) {
  if (why.Is(Code::kCancelled) && Interrupted()) {
    failure_code_ = kExitInterrupted;
    return;
  }
  const int code = ExitCodeOf(why);
  int none = 0;
  failure_code_.compare_exchange_strong(none, code);
  const std::lock_guard<std::mutex> lock(mutex_);
  ClearProgressLine();
  PrintError(json_, action, object, why);
}

bool Verb::any_failed() const {
  return failure_code_ != 0;
}

int Verb::ExitCode() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    if (errno == EPIPE) return kExitPipe;
    Failed("write to", "standard output", Status::FromSystem(errno, "write"));
    return kExitFailed;
  }
  if (Interrupted()) return kExitInterrupted;
  if (failure_code_ == 0) return kExitOk;
  return succeeded_ > 0 ? kExitPartial : failure_code_.load();
}

int ExitCodeOf(const Status& status) {
  switch (status.code()) {
    case Code::kOk:
      return kExitOk;
    case Code::kAccessDenied:
    case Code::kNotPermitted:
    case Code::kUnauthenticated:
    case Code::kWrongCluster:
    case Code::kReadOnly:
      return kExitPermission;
    case Code::kTimedOut:
    case Code::kUnavailable:
    case Code::kNotLeader:
    case Code::kOverloaded:
    case Code::kClosed:
    case Code::kOutcomeUnknown:
    case Code::kVersionMismatch:
    case Code::kUnknownSession:
      return kExitUnavailable;
    case Code::kNoSpace:
    case Code::kQuotaExceeded:
      return kExitNoSpace;
    case Code::kIoError:
    case Code::kCorrupt:
    case Code::kMissingBlock:
      return kExitData;
    case Code::kInterrupted:
    case Code::kCancelled:
      return kExitInterrupted;
    default:
      return kExitFailed;
  }
}

std::string HintFor(const Status& status) {
  switch (status.code()) {
    case Code::kUnavailable:
    case Code::kNotLeader:
      return "Is the cluster running? See: dfs status, dfs dev status DIR";
    case Code::kTimedOut:
      return "See: dfs status; a longer time: --timeout 5m";
    case Code::kUnauthenticated:
      return "Name the cluster key's file: --key-file FILE or $DFS_KEY_FILE";
    case Code::kWrongCluster:
      return "The address belongs to another cluster than the one configured";
    case Code::kNoSpace:
      return "Free space (dfs trash empty) or add a datanode; see: dfs df -h";
    case Code::kMissingBlock:
      return "See which replicas are gone: dfs fsck -v PATH";
    case Code::kCorrupt:
      return "See: dfs fsck -v PATH";
    case Code::kNotEmpty:
      return "To remove what is in it too: dfs rm -r";
    default:
      return "";
  }
}

void SpeakHadoop(std::string_view command) {
  g_hadoop_command = command;
}

bool SpeaksHadoop() {
  return !g_hadoop_command.empty();
}

void PrintError(bool json, std::string_view action, std::string_view object, const Status& why) {
  if (SpeaksHadoop()) {
    const int number = why.posix_errno();
    const std::string reason = number == EIO ? why.message() : std::strerror(number);
    fmt::print(stderr, "{}: `{}': {}\n", g_hadoop_command, QuoteName(object), reason);
    return;
  }
  // A message that already says what to do needs no hint.
  const bool says_it = why.message().find("dfs dev start") != std::string::npos;
  const std::string hint = says_it ? "" : HintFor(why);
  if (json) {
    std::fputs(ErrorAsJson(action, object, why, hint).c_str(), stderr);
    return;
  }
  std::string quoted = QuoteName(object);
  if (quoted[0] != '\'') quoted = "'" + quoted + "'";
  quoted = object.empty() ? "" : " " + quoted;
  std::string message = why.message().empty() ? std::string(CodeName(why.code())) : why.message();
  // "cannot read '/a': open /a: no such file" says it twice.
  constexpr size_t kLongestVerb = 24;
  const size_t again = message.find(std::string(object) + ": ");
  if (again <= kLongestVerb) message.erase(0, again + object.size() + 2);
  while (!message.empty() && message.back() == '.') message.pop_back();
  if (hint.empty()) {
    fmt::print(stderr, "dfs: cannot {}{}: {}\n", action, quoted, message);
  } else {
    fmt::print(stderr, "dfs: cannot {}{}: {}. {}\n", action, quoted, message, hint);
  }
}

std::string ClusterPath(std::string_view typed) {
  std::string_view rest = typed;
  if (rest.rfind("dfs://", 0) == 0) {
    const size_t slash = rest.find('/', 6);
    rest = slash == std::string_view::npos ? "/" : rest.substr(slash);
  } else if (rest.rfind("dfs:", 0) == 0) {
    rest.remove_prefix(4);
  }
  std::string full;
  if (rest.empty() || rest[0] != '/') {
    full = "/user/" + UserName(geteuid()) + "/";
  }
  full += rest;
  std::vector<std::string_view> parts;
  for (size_t at = 0; at <= full.size();) {
    size_t end = full.find('/', at);
    if (end == std::string::npos) end = full.size();
    const std::string_view part = std::string_view(full).substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
      continue;
    }
    parts.push_back(part);
  }
  std::string out;
  for (const std::string_view part : parts) {
    out += '/';
    out += part;
  }
  return out.empty() ? "/" : out;
}

bool NamesDirectory(std::string_view typed) {
  return typed.empty() || typed.back() == '/' || typed == "." || typed == ".." ||
         (typed.size() > 2 && typed.substr(typed.size() - 2) == "/.") ||
         (typed.size() > 3 && typed.substr(typed.size() - 3) == "/..");
}

std::string BaseName(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  if (path == "/") return "/";
  const size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

std::string JoinPath(std::string_view directory, std::string_view name) {
  std::string out(directory);
  if (out.empty() || out.back() != '/') out += '/';
  out += name;
  return out;
}

std::string ShownName(std::string_view name) {
  return StdoutIsTerminal() ? QuoteName(name) : std::string(name);
}

bool StdoutIsTerminal() {
  static const bool is = isatty(1) == 1;
  return is;
}

bool StderrIsTerminal() {
  static const bool is = isatty(2) == 1;
  return is;
}

char TypeLetter(FileType type) {
  switch (type) {
    case FileType::kDirectory:
      return 'd';
    case FileType::kSymlink:
      return 'l';
    case FileType::kFifo:
      return 'p';
    case FileType::kSocket:
      return 's';
    case FileType::kCharDevice:
      return 'c';
    case FileType::kBlockDevice:
      return 'b';
    case FileType::kRegular:
      return '-';
    case FileType::kUnknown:
      return '?';
  }
  return '?';
}

const char* TypeName(FileType type) {
  switch (type) {
    case FileType::kDirectory:
      return "directory";
    case FileType::kSymlink:
      return "symlink";
    case FileType::kFifo:
      return "fifo";
    case FileType::kSocket:
      return "socket";
    case FileType::kCharDevice:
      return "char_device";
    case FileType::kBlockDevice:
      return "block_device";
    case FileType::kRegular:
      return "file";
    case FileType::kUnknown:
      return "unknown";
  }
  return "unknown";
}

std::string UserName(uint32_t uid) {
  const passwd* found = getpwuid(uid);
  return found != nullptr ? found->pw_name : std::to_string(uid);
}

std::string GroupName(uint32_t gid) {
  const group* found = getgrgid(gid);
  return found != nullptr ? found->gr_name : std::to_string(gid);
}

void CatchInterrupts() {
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // a read that waits for a person ends
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = OnAlarm;
  sigaction(SIGALRM, &action, nullptr);
}

bool Interrupted() {
  return g_interrupted.load(std::memory_order_relaxed);
}

}  // namespace dfs::cli
