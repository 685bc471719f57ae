// Verb: what every command has in common - the options that name a cluster, the connection, the form of
// errors, the exit code. Failed() and Succeeded() are thread-safe, for verbs that work in parallel.
#pragma once

#include <dfs/client.h>

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/cli/args.h"
#include "tools/cli/client_config.h"
#include "tools/cli/text.h"

namespace dfs::cli {

using Arguments = std::vector<std::string>;

class Verb {
 public:
  Verb(const std::string& name, const std::string& summary, const std::string& examples = "");

  Args& args() { return args_; }
  bool json() const { return json_; }
  /// What was said of the cluster, as typed.
  ClientConfigFlags config_flags() const;
  /// For verbs whose paths may have wildcards (glob.h): adds --no-glob.
  void TakesGlobs() { args_.Flag("--no-glob", &no_glob_, "Take * ? [ in paths for themselves"); }
  bool no_glob() const { return no_glob_; }

  /// The cluster that the options, the environment and client.toml name; on failure prints why.
  std::optional<Options> Cluster();
  /// Finds the cluster and connects; on failure prints why and returns nothing (see ExitCode()).
  std::optional<Client> Connect();

  /// "dfs: cannot list '/a': no such file or directory. <what to try>" on stderr. action: "list".
  void Failed(std::string_view action, std::string_view object, const Status& why);
  void Succeeded() { succeeded_.fetch_add(1, std::memory_order_relaxed); }
  bool any_failed() const;

  /// Flushes stdout; 0, the code of the only kind of failure, or 3 when some arguments went well.
  int ExitCode();

 private:
  std::string name_;
  Args args_;
  std::string namenodes_;
  std::string cluster_;
  std::string key_file_;
  std::string timeout_;
  bool json_ = false;
  bool no_glob_ = false;
  std::mutex mutex_;
  std::atomic<uint64_t> succeeded_{0};
  std::atomic<int> failure_code_{0};
};

/// The exit code for an error (docs/cli.md, table of exit codes).
int ExitCodeOf(const Status& status);
/// What the user can try, "" when there is nothing good to say.
std::string HintFor(const Status& status);
/// From now on errors have the form that Hadoop's shell gives those of this command.
void SpeakHadoop(std::string_view command);
bool SpeaksHadoop();
/// One error in its form (text or JSON) on stderr.
void PrintError(bool json, std::string_view action, std::string_view object, const Status& why);

/// "/a/b" from what was typed: "dfs:/a/b", "dfs://host:port/a/b" and relative paths (below
/// /user/$USER) are taken; "//", "." and ".." are resolved.
std::string ClusterPath(std::string_view typed);
/// Typed with a slash at the end: only a directory will do.
bool NamesDirectory(std::string_view typed);
std::string BaseName(std::string_view path);
std::string JoinPath(std::string_view directory, std::string_view name);
/// For people: quoted when there is something odd in it and stdout is a terminal.
std::string ShownName(std::string_view name);

bool StdoutIsTerminal();
bool StderrIsTerminal();
char TypeLetter(FileType type);       // '-', 'd', 'l', ...
const char* TypeName(FileType type);  // "file", "directory", ...
std::string UserName(uint32_t uid);
std::string GroupName(uint32_t gid);

/// Ctrl-C and SIGTERM ask a copy to stop (once) or end the process (twice, or when it has not
/// stopped by itself after three seconds). Until this is called they end it at once.
void CatchInterrupts();
bool Interrupted();

}  // namespace dfs::cli
