// Configuration of a daemon, driven by one table: key, type, default and help. From it come the
// checks, the help text, the sample file and the effective configuration that is printed at start.
//
//   Config config({{.key = "node.id", .type = ConfigType::kInt, .default_text = "0",
//                   .help = "This member's id.", .min = 1}, ...});
//   auto line = config.LoadCommandLine({argv + 1, argv + argc}, {"format"});
//   if (!line) { ... print line.error().message(), exit 2 ... }
//
// Sources, later ones win: the defaults, the TOML file, flags `--section.key=value` or
// `--section.key value`. An unknown key, a wrong type and a value out of range are errors that name
// the key and where it stands. There are no secrets in it, only paths of files that hold them, so
// all of it may be printed.
//
// Thread-compatible; the getters may be used from any thread once it is loaded. A getter of a key
// that is not in the table, or of another type, is a bug and stops the process.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace dfs {

enum class ConfigType {
  kString,
  kInt,
  kBool,
  kStringList,  // TOML array of strings; a flag is repeated for each element
  kBytes,       // integer, or text with a suffix: "64MiB", "4k", "1GB"
  kMillis,      // integer, or text with a unit: "500ms", "3s", "5m", "1h"
};

struct ConfigKey {
  std::string key;  // "section.key"
  ConfigType type = ConfigType::kString;
  std::string default_text = {};  // as a flag would give it; lists: elements separated by spaces
  std::string help = {};          // one sentence
  int64_t min = 0;                // of kInt, kBytes and kMillis
  int64_t max = INT64_MAX;
  std::vector<std::string> choices = {};  // of kString: empty means any
};

/// What every daemon of the cluster has: whom it belongs to, how it proves that, what it logs.
std::vector<ConfigKey> DaemonKeys();

class Config {
 public:
  struct CommandLine {
    std::string config_file;            // of --config, "" when not given
    std::vector<std::string> switches;  // those that were given
    bool help = false;                  // --help
    bool sample = false;                // --sample-config
  };

  /// The table's own defaults must be valid.
  explicit Config(std::vector<ConfigKey> table);

  /// Reads --config's file, then applies the flags. switches are further flags without a value
  /// ("format").
  /// --help and --sample-config stop the reading: the caller prints HelpText() or SampleFile() and
  /// exits.
  Result<CommandLine> LoadCommandLine(const std::vector<std::string>& arguments,
                                      const std::vector<std::string>& switches = {});
  Status LoadFile(const std::string& path);
  /// name stands in messages for the file's.
  Status LoadText(std::string_view toml, const std::string& name);
  /// One key, as a flag gives it.
  Status Set(const std::string& key, const std::string& value);

  const std::string& GetString(std::string_view key) const;
  int64_t GetInt(std::string_view key) const;
  bool GetBool(std::string_view key) const;
  const std::vector<std::string>& GetList(std::string_view key) const;
  uint64_t GetBytes(std::string_view key) const;
  int64_t GetMillis(std::string_view key) const;
  int64_t GetNanos(std::string_view key) const { return GetMillis(key) * 1'000'000; }
  /// Whether a file or a flag said it.
  bool IsSet(std::string_view key) const;

  /// What holds now as TOML, each line with its origin when that is not the default.
  std::string Effective() const;
  /// A commented TOML file of the defaults.
  std::string SampleFile() const;
  /// One paragraph per key, for --help.
  std::string HelpText() const;

 private:
  struct Value {
    std::string text;
    std::vector<std::string> list;
    int64_t number = 0;
    std::string origin;  // "" default, "file:line", "flag"
  };
  struct Entry {
    ConfigKey key;
    Value value;
  };

  const Entry* Find(std::string_view key) const;
  const Entry& Get(std::string_view key, ConfigType type) const;
  Status UnknownKey(std::string_view key, std::string_view where) const;
  Status SetText(Entry* entry, const std::string& text, const std::string& origin);
  Status CheckRange(const ConfigKey& key, int64_t number, const std::string& where) const;
  Status ApplyToml(const void* table, const std::string& prefix, const std::string& name);
  Status ApplyTomlValue(const void* node, const std::string& key, const std::string& where);
  std::string ValueText(const Entry& entry) const;

  std::vector<Entry> entries_;  // in the table's order
  std::map<std::string, size_t, std::less<>> index_;
};

/// "64MiB", "64m", "67108864": binary for K, M, G, T and KiB...; decimal for KB, MB...
Result<uint64_t> ParseBytes(std::string_view text);
/// "500", "500ms", "3s", "5m", "1h": milliseconds.
Result<int64_t> ParseMillis(std::string_view text);
/// The nearest of the candidates when it is near enough to be meant, else "".
std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace dfs
