// dfs du: one look-up for each line, since every directory carries the sum of what is below it.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

struct DuOptions {
  bool human = false;
  int64_t depth = 1 << 20;
};

void Print(Verb& verb, const DuOptions& o, const std::string& path, const Usage& usage) {
  verb.Succeeded();
  if (verb.json()) {
    nlohmann::json j = {{"schema", "dfs.du/1"},
                        {"files", usage.files},
                        {"directories", usage.directories},
                        {"bytes", usage.bytes}};
    SetName(&j, "path", path);
    PrintJson(j);
    return;
  }
  const std::string size = o.human ? ShortSize(usage.bytes) : std::to_string(usage.bytes);
  fmt::print("{:<8}  {}\n", size, ShownName(path));
}

void Walk(Verb& verb, const Client& client, const DuOptions& o, const std::string& path,
          int64_t depth) {
  if (depth < o.depth) {
    Result<Directory> directory = client.list(path);
    if (!directory && !directory.error().Is(Code::kNotDirectory)) {
      verb.Failed("list", path, directory.error());
    }
    if (directory) {
      for (const DirEntry& e : *directory) {
        if (e.type == FileType::kDirectory)
          Walk(verb, client, o, JoinPath(path, e.name), depth + 1);
      }
      if (!directory->error().ok()) verb.Failed("list", path, directory->error());
    }
  }
  const Result<Usage> usage = client.usage(path);
  if (usage) {
    Print(verb, o, path, *usage);
  } else {
    verb.Failed("measure", path, usage.error());
  }
}

}  // namespace

int RunDu(const Arguments& arguments) {
  Verb verb(
      "du",
      "Bytes, before replication, below directories. -s answers at once for a tree of any size.",
      "  dfs du -sh /data\n  dfs du -h -d 1 /");
  DuOptions o;
  bool summarize = false;
  std::vector<std::string> paths;
  verb.args().Flag("-s,--summarize", &summarize, "Only a sum for each argument");
  verb.args().Flag("-h,--human-readable", &o.human, "Sizes such as 1.5G");
  verb.args().Option("-d,--max-depth", &o.depth, "Directories down to this depth", 0, 1 << 20);
  verb.TakesGlobs();
  verb.args().Positionals("PATH", &paths, "Files and directories (the root)", 0);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  if (summarize) o.depth = 0;
  if (paths.empty()) paths.push_back("/");
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  for (const std::string& typed : ExpandGlobs(verb, *client, paths))
    Walk(verb, *client, o, ClusterPath(typed), 0);
  return verb.ExitCode();
}

}  // namespace dfs::cli
