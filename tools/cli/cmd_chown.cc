#include <grp.h>
#include <pwd.h>

#include <charconv>

#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/tree.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

bool ParseId(const std::string& text, uint32_t* id) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *id);
  return error == std::errc() && end == text.data() + text.size();
}

bool ParseUser(const std::string& text, uint32_t* uid) {
  if (const passwd* found = getpwnam(text.c_str())) {
    *uid = found->pw_uid;
    return true;
  }
  return ParseId(text, uid);
}

bool ParseGroup(const std::string& text, uint32_t* gid) {
  if (const group* found = getgrnam(text.c_str())) {
    *gid = found->gr_gid;
    return true;
  }
  return ParseId(text, gid);
}

}  // namespace

int RunChown(const Arguments& arguments) {
  Verb verb("chown", "Set owner and group.",
            "  dfs chown ann /a\n  dfs chown -R ann:staff /data\n  dfs chown :1000 /a");
  bool recursive = false;
  bool no_follow = false;
  std::string owner;
  std::vector<std::string> paths;
  verb.args().Flag("-R,--recursive", &recursive, "All that is in a directory, too");
  verb.args().Flag("-h,--no-dereference", &no_follow, "Of a symlink itself");
  verb.args().Positional("OWNER[:GROUP]", &owner, "Names or numbers; :GROUP for the group only");
  verb.TakesGlobs();
  verb.args().Positionals("PATH", &paths, "Files and directories", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const size_t colon = owner.find(':');
  const std::string user = owner.substr(0, colon);
  const std::string group = colon == std::string::npos ? "" : owner.substr(colon + 1);
  uint32_t uid = 0;
  uint32_t gid = 0;
  if (user.empty() && group.empty()) return verb.args().UsageError("no owner and no group given");
  if (!user.empty() && !ParseUser(user, &uid)) {
    return verb.args().UsageError("there is no user '" + user + "' on this host");
  }
  if (!group.empty() && !ParseGroup(group, &gid)) {
    return verb.args().UsageError("there is no group '" + group + "' on this host");
  }
  const auto new_uid = user.empty() ? std::nullopt : std::optional<uint32_t>(uid);
  const auto new_gid = group.empty() ? std::nullopt : std::optional<uint32_t>(gid);

  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  for (const std::string& typed : ExpandGlobs(verb, *client, paths)) {
    const bool follow = !no_follow && !recursive;
    WalkTree(verb, *client, typed, recursive, follow, "change the owner of",
             [&](const std::string& path, const FileStatus&) {
               const Status done = client->chown(path, new_uid, new_gid, follow);
               if (done.ok()) {
                 verb.Succeeded();
               } else {
                 verb.Failed("change the owner of", path, done);
               }
             });
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
