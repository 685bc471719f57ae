// Args: the arguments of one verb. A thin front of CLI11, which is slow to compile and appears in
// args.cc only. Thread-compatible; the variables given to it must outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dfs::cli {

// Exit codes of every verb (docs/cli.md).
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitPartial = 3;
inline constexpr int kExitPermission = 4;
inline constexpr int kExitUnavailable = 5;
inline constexpr int kExitNoSpace = 6;
inline constexpr int kExitData = 7;
inline constexpr int kExitInterrupted = 130;
inline constexpr int kExitPipe = 141;

class Args {
 public:
  /// name: as typed after "dfs", e.g. "dev start". examples: lines printed below the help.
  Args(const std::string& name, const std::string& summary, const std::string& examples = "");
  ~Args();
  Args(const Args&) = delete;
  Args& operator=(const Args&) = delete;

  /// names as "-r,--recursive". Help is --help; -h too, unless the verb takes it for something else.
  void Flag(const std::string& names, bool* value, const std::string& help);
  void Option(const std::string& names, std::string* value, const std::string& help);
  void Option(const std::string& names, int64_t* value, const std::string& help, int64_t low,
              int64_t high);
  /// May be repeated.
  void Options(const std::string& names, std::vector<std::string>* values, const std::string& help);
  /// "64K", "1.5G", "512MiB".
  void Size(const std::string& names, uint64_t* value, const std::string& help);
  void Positional(const std::string& name, std::string* value, const std::string& help,
                  bool required = true);
  void Positionals(const std::string& name, std::vector<std::string>* values,
                   const std::string& help, size_t at_least);

  /// Nothing when the verb should go on; otherwise the exit code, with help or the error printed.
  std::optional<int> Parse(const std::vector<std::string>& arguments);
  /// Prints "dfs VERB: message" with a hint at --help and returns kExitUsage.
  int UsageError(const std::string& message) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dfs::cli
