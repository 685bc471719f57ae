// dfs restore: brings back what dfs rm removed, by a rename.
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/trash_name.h"
#include "tools/cli/commands.h"
#include "tools/cli/json_out.h"
#include "tools/cli/trash_entries.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

struct RestoreOptions {
  std::string at;
  bool force = false;
  bool parents = false;
  bool verbose = false;
};

// The newest that was at the path, or is at it in the trash.
Result<std::optional<TrashedItem>> FindItem(const Client& client, uint32_t uid,
                                            const std::string& path, const std::string& at) {
  std::optional<TrashedItem> best;
  const Status read = ForEachTrashed(client, uid, [&](const TrashedItem& item) {
    if (item.original != path && item.path != path && item.directory != path) return;
    if (!at.empty() && !RemovedAt(item, at)) return;
    if (!best || best->removed_ns < item.removed_ns) best = item;
  });
  if (!read.ok()) return read;
  return best;
}

Status BringBack(const Client& client, const TrashedItem& item, const RestoreOptions& o) {
  if (o.parents) {
    const std::string parent = item.original.substr(0, item.original.rfind('/'));
    if (Status made = client.create_directories(parent); !made) return made;
  }
  Status moved = client.rename(item.path, item.original, RenameMode::kNoReplace);
  if (moved.Is(Code::kAlreadyExists) && o.force) {
    // Into the trash itself, so that nothing is lost by a restore that was a mistake.
    const Result<Removed> replaced = client.move_to_trash(item.original, true);
    if (!replaced) return replaced.error();
    moved = client.rename(item.path, item.original, RenameMode::kNoReplace);
  }
  if (moved.Is(Code::kAlreadyExists)) {
    return Status(Code::kAlreadyExists,
                  "something is there already (-f moves it into the trash)");
  }
  if (moved.Is(Code::kNotFound)) {
    return Status(Code::kNotFound, "the directory it was in does not exist (-p makes it)");
  }
  return moved;
}

}  // namespace

int RunRestore(const Arguments& arguments) {
  Verb verb("restore",
            "Bring back what dfs rm removed, to where it was. Of several that were there, the "
            "newest. What there is: dfs trash.",
            "  dfs restore /docs/report.pdf\n  dfs restore --at 2026-11-30T20:17 /docs/report.pdf");
  RestoreOptions o;
  std::string user;
  std::vector<std::string> paths;
  verb.args().Option("--at", &o.at,
                     "The one that was removed then: the beginning of a time in UTC as dfs trash "
                     "shows it, or of its name in the trash");
  verb.args().Option("--user", &user, "From this user's trash; for root");
  verb.args().Flag("-f,--force", &o.force, "What is there now goes into the trash");
  verb.args().Flag("-p,--parents", &o.parents, "Make the directories it was in");
  verb.args().Flag("-v,--verbose", &o.verbose, "Say what was restored");
  verb.args().Positionals("PATH", &paths, "Where it was, or where it is in the trash", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  uint32_t uid = geteuid();
  if (!user.empty() && !ParseUser(user, &uid)) {
    verb.Failed("find", user, Status(Code::kNotFound, "no such user"));
    return verb.ExitCode();
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  for (const std::string& typed : paths) {
    Result<std::optional<TrashedItem>> item = FindItem(*client, uid, ClusterPath(typed), o.at);
    if (item && !*item) {
      item = Status(Code::kNotFound, "it is not in the trash (what is: dfs trash)");
    }
    const Status restored = item ? BringBack(*client, **item, o) : item.error();
    if (!restored) {
      verb.Failed("restore", typed, restored);
      continue;
    }
    RemoveEmptyPlace(*client, **item);
    verb.Succeeded();
    if (o.verbose && verb.json()) {
      nlohmann::json out = {{"schema", "dfs.restore/1"}, {"removed", IsoTime((*item)->removed_ns)}};
      SetName(&out, "path", (*item)->original);
      PrintJson(out);
    } else if (o.verbose) {
      std::printf("restored %s, removed %s\n", ShownName((*item)->original).c_str(),
                  IsoTime((*item)->removed_ns).c_str());
    }
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
