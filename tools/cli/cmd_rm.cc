// dfs rm: into the trash, or for good.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/trash_name.h"
#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

struct RmOptions {
  bool recursive = false;
  bool force = false;
  bool verbose = false;
  bool skip_trash = false;
};

Result<Removed> RemoveForGood(const Client& client, const std::string& path, bool recursive) {
  Removed removed;
  if (!recursive) {
    const Result<FileStatus> status = client.lstat(path);
    if (!status) return status.error();
    removed.usage = {1, 0, status->size};
    if (Status gone = client.unlink(path); !gone) return gone;
    return removed;
  }
  const Result<Usage> usage = client.remove_all(path);
  if (!usage) return usage.error();
  removed.usage = *usage;
  return removed;
}

void Say(const Verb& verb, const std::string& path, const Removed& removed) {
  if (verb.json()) {
    nlohmann::json out = {{"schema", "dfs.rm/1"},
                          {"in_trash", removed.in_trash},
                          {"keep_ms", removed.keep.count()},
                          {"files", removed.usage.files},
                          {"directories", removed.usage.directories},
                          {"bytes", removed.usage.bytes}};
    SetName(&out, "path", path);
    if (!removed.trash_path.empty()) SetName(&out, "trash_path", removed.trash_path);
    PrintJson(out);
  } else if (SpeaksHadoop() && removed.in_trash) {
    fmt::print("Moved: '{}' to trash at: {}\n", ShownName(path), ShownName(removed.trash_path));
  } else if (SpeaksHadoop()) {
    fmt::print("Deleted {}\n", ShownName(path));
  } else {
    const std::string where =
        removed.in_trash
            ? fmt::format("; in the trash for {}",
                          HumanDuration(std::chrono::nanoseconds(removed.keep).count()))
            : "";
    fmt::print("removed {} ({} files, {} directories, {}{})\n", ShownName(path),
               removed.usage.files, removed.usage.directories, HumanSize(removed.usage.bytes),
               where);
  }
}

void Remove(Verb& verb, const Client& client, const std::string& typed, const RmOptions& o) {
  const std::string path = ClusterPath(typed);
  if (path == "/") {
    verb.Failed("remove", typed, Status(Code::kNotPermitted, "it is the root"));
    return;
  }
  // What is in the trash cannot be put there once more.
  Result<Removed> removed = o.skip_trash || IsInTrash(path)
                                ? RemoveForGood(client, path, o.recursive)
                                : client.move_to_trash(path, o.recursive);
  if (!removed && removed.error().Is(Code::kNotSupported)) {
    removed = RemoveForGood(client, path, o.recursive);  // namenodes of a version without a trash
  }
  if (!removed && removed.error().Is(Code::kIsDirectory)) {
    removed = Status(Code::kIsDirectory, "it is a directory (with -r it is removed)");
  }
  if (!removed && !(o.force && removed.error().Is(Code::kNotFound))) {
    verb.Failed("remove", typed, removed.error());
    return;
  }
  verb.Succeeded();
  if (o.verbose && removed) Say(verb, path, *removed);
}

}  // namespace

int RunRm(const Arguments& arguments) {
  Verb verb("rm",
            "Remove files, with -r whole directories, in one step each, whatever their size. What "
            "is removed is in the trash for a while (dfs trash, dfs restore) and takes its space "
            "until then; with --skip-trash it is gone at once.",
            "  dfs rm /old.log\n  dfs rm -r /logs/2024\n  dfs rm -r --skip-trash /scratch");
  RmOptions o;
  std::vector<std::string> paths;
  verb.args().Flag("-r,-R,--recursive", &o.recursive, "Directories and all that is in them");
  verb.args().Flag("-f,--force", &o.force, "No error when it does not exist");
  verb.args().Flag("--skip-trash", &o.skip_trash, "For good: the space is given back at once");
  verb.args().Flag("-v,--verbose", &o.verbose, "Say what was removed");
  verb.TakesGlobs();
  verb.args().Positionals("PATH", &paths, "What to remove", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  for (const std::string& typed : ExpandGlobs(verb, *client, paths)) {
    Remove(verb, *client, typed, o);
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
