// dfs trash: what was removed and can be restored, and emptying it.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/json_out.h"
#include "tools/cli/trash_entries.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

struct Whose {
  std::string user;
  bool all = false;

  void AddTo(Args& args) {
    args.Option("--user", &user, "Of this user, by name or number (yours)");
    args.Flag("--all", &all, "Of all users; for root");
  }
  /// Nothing, and reported, when it cannot be told.
  std::optional<std::vector<uint32_t>> Users(Verb& verb, const Client& client) const {
    if (all) {
      Result<std::vector<uint32_t>> users = UsersWithTrash(client);
      if (users) return std::move(*users);
      verb.Failed("list", "the trash of all users", users.error());
      return std::nullopt;
    }
    uint32_t uid = geteuid();
    if (!user.empty() && !ParseUser(user, &uid)) {
      verb.Failed("find", user, Status(Code::kNotFound, "no such user"));
      return std::nullopt;
    }
    return std::vector<uint32_t>{uid};
  }
};

void Show(const Verb& verb, std::vector<TrashedItem> items, std::chrono::milliseconds keep) {
  std::sort(items.begin(), items.end(), [](const TrashedItem& a, const TrashedItem& b) {
    return a.removed_ns < b.removed_ns;
  });
  Table table({"Removed (UTC)", "Until (UTC)", "By", "", ">Size", "Path"});
  for (const TrashedItem& item : items) {
    const int64_t until_ns = item.removed_ns + std::chrono::nanoseconds(keep).count();
    if (verb.json()) {
      nlohmann::json out = {{"schema", "dfs.trash/1"},
                            {"uid", item.uid},
                            {"removed", IsoTime(item.removed_ns)},
                            {"type", TypeName(item.status.type)},
                            {"owner_uid", item.status.uid},
                            {"size", item.status.size}};
      if (keep.count() > 0) out["until"] = IsoTime(until_ns);
      SetName(&out, "path", item.original);
      SetName(&out, "trash_path", item.path);
      PrintJson(out);
      continue;
    }
    constexpr size_t kSeconds = 19;
    const std::string until =
        keep.count() > 0 ? IsoTime(until_ns).substr(0, kSeconds) : std::string("emptied");
    table.Row({IsoTime(item.removed_ns).substr(0, kSeconds), until, UserName(item.uid),
               std::string(1, TypeLetter(item.status.type)),
               item.status.is_directory() ? "" : ShortSize(item.status.size),
               ShownName(item.original)});
  }
  if (!table.empty()) std::fputs(table.ToString().c_str(), stdout);
}

int List(const Arguments& arguments) {
  Verb verb("trash",
            "What was removed and can be restored: when it was removed, until when it is kept, by "
            "whom, and where it was. The files of a trashed directory still take their space.\n"
            "dfs trash empty removes it for good.",
            "  dfs trash\n  dfs restore /docs/report.pdf\n  dfs trash empty --older-than 2h");
  Whose whose;
  whose.AddTo(verb.args());
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  const auto users = whose.Users(verb, *client);
  if (!users) return verb.ExitCode();
  const Result<ClusterStatus> cluster = client->cluster_status();
  if (!cluster) {
    verb.Failed("ask", "how long the trash is kept", cluster.error());
    return verb.ExitCode();
  }
  std::vector<TrashedItem> items;
  for (const uint32_t uid : *users) {
    const Status read = ForEachTrashed(
        *client, uid, [&items](const TrashedItem& item) { items.push_back(item); });
    if (read.ok()) {
      verb.Succeeded();
    } else {
      verb.Failed("list", TrashOf(uid), read);
    }
  }
  Show(verb, std::move(items), cluster->trash_keep);
  return verb.ExitCode();
}

int Empty(const Arguments& arguments) {
  Verb verb("trash empty", "Remove for good what is in the trash.",
            "  dfs trash empty\n  dfs trash empty --all --older-than 1d");
  Whose whose;
  whose.AddTo(verb.args());
  bool verbose = false;
  std::string older_than;
  verb.args().Option("--older-than", &older_than, "Only what was removed so long ago, e.g. 2h");
  verb.args().Flag("-v,--verbose", &verbose, "Say what was removed");
  if (const auto code = verb.args().Parse(arguments)) return *code;
  int64_t older_than_ns = 0;
  if (!older_than.empty() && !ParseDuration(older_than, &older_than_ns)) {
    return verb.args().UsageError("--older-than: not a time: " + older_than);
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  if (const auto users = whose.Users(verb, *client)) {
    EmptyTrash(verb, *client, *users, older_than_ns, verbose);
  }
  return verb.ExitCode();
}

}  // namespace

int RunTrash(const Arguments& arguments) {
  if (!arguments.empty() && arguments[0] == "empty") {
    return Empty(Arguments(arguments.begin() + 1, arguments.end()));
  }
  return List(!arguments.empty() && arguments[0] == "list"
                  ? Arguments(arguments.begin() + 1, arguments.end())
                  : arguments);
}

}  // namespace dfs::cli
