// dfs find: names that satisfy all tests given, as they come, in constant memory.
#include <fmt/format.h>
#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "common/base/clock.h"
#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

struct FoundName {
  std::string name;
  std::string path;
  const FileStatus& status;
};
using Test = std::function<bool(const FoundName&)>;

// A number with "+" (more than) or "-" (less than) in front, as find has it.
struct Comparison {
  char sign = '=';
  uint64_t value = 0;
  bool Holds(uint64_t x) const {
    return sign == '+' ? x > value : sign == '-' ? x < value : x == value;
  }
};

// Takes the sign off the front of text.
char TakeSign(std::string_view* text) {
  if (text->empty() || ((*text)[0] != '+' && (*text)[0] != '-')) return '=';
  const char sign = (*text)[0];
  text->remove_prefix(1);
  return sign;
}

bool ParseNumber(std::string_view text, uint64_t* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}

class Finder {
 public:
  Finder(Verb& verb, bool zero) : verb_(verb), zero_(zero) {}

  /// "" or what is wrong.
  std::string AddName(const std::string& pattern, bool whole_path, bool any_case);
  std::string AddType(const std::string& letters);
  std::string AddSize(std::string_view text);
  std::string AddDays(std::string_view text, int64_t FileStatus::*time);
  std::string AddOwner(const std::string& user, bool group);
  std::string AddMode(std::string_view text);
  void Add(Test test) { tests_.push_back(std::move(test)); }

  void Search(const Client& client, const std::string& typed);

  int64_t min_depth = 0;
  int64_t max_depth = INT64_MAX;

 private:
  void Visit(const std::string& shown, const std::string& path, int64_t depth,
             const FileStatus& status);
  Verb& verb_;
  const bool zero_;
  std::vector<Test> tests_;
};

std::string Finder::AddName(const std::string& pattern, bool whole_path, bool any_case) {
  // As find: a leading dot and slashes are matched by wildcards.
  const int flags = any_case ? FNM_CASEFOLD : 0;
  Add([=](const FoundName& f) {
    return fnmatch(pattern.c_str(), (whole_path ? f.path : f.name).c_str(), flags) == 0;
  });
  return "";
}

std::string Finder::AddType(const std::string& letters) {
  for (const char c : letters) {
    if (std::string_view("fdlpscb,").find(c) == std::string_view::npos) {
      return fmt::format("'{}' is not a type: f d l p s c b", letters);
    }
  }
  Add([=](const FoundName& f) {
    const char letter = TypeLetter(f.status.type);
    return letters.find(letter == '-' ? 'f' : letter) != std::string::npos;
  });
  return "";
}

std::string Finder::AddSize(std::string_view text) {
  const std::string all(text);
  Comparison size{TakeSign(&text), 0};
  // find's own suffix for bytes; other sizes are as everywhere here, and exact.
  if (!text.empty() && text.back() == 'c') text.remove_suffix(1);
  if (!ParseSize(text, &size.value)) return fmt::format("'{}' is not a size such as +10M", all);
  Add([=](const FoundName& f) { return f.status.is_regular() && size.Holds(f.status.size); });
  return "";
}

std::string Finder::AddDays(std::string_view text, int64_t FileStatus::*time) {
  const std::string all(text);
  Comparison days{TakeSign(&text), 0};
  if (!ParseNumber(text, &days.value)) return fmt::format("'{}' is not a number of days", all);
  constexpr int64_t kDayNs = 86'400'000'000'000;
  const int64_t now = SystemClock().WallNs();
  Add([=](const FoundName& f) {
    const int64_t age = std::max<int64_t>(0, now - f.status.*time);
    return days.Holds(static_cast<uint64_t>(age / kDayNs));
  });
  return "";
}

std::string Finder::AddOwner(const std::string& user, bool group) {
  uint64_t id = 0;
  const passwd* u = group ? nullptr : getpwnam(user.c_str());
  const ::group* g = group ? getgrnam(user.c_str()) : nullptr;
  if (u != nullptr) {
    id = u->pw_uid;
  } else if (g != nullptr) {
    id = g->gr_gid;
  } else if (!ParseNumber(user, &id)) {
    return fmt::format("there is no {} '{}' on this host", group ? "group" : "user", user);
  }
  Add([=](const FoundName& f) { return (group ? f.status.gid : f.status.uid) == id; });
  return "";
}

std::string Finder::AddMode(std::string_view text) {
  // "644" exactly, "-022" all of these bits, "/022" any of them.
  const std::string all(text);
  char kind = '=';
  if (!text.empty() && (text[0] == '-' || text[0] == '/')) {
    kind = text[0];
    text.remove_prefix(1);
  }
  uint32_t bits = 0;
  if (!ParseMode(text, 0, false, &bits)) return fmt::format("'{}' is not a mode", all);
  Add([=](const FoundName& f) {
    const uint32_t both = f.status.mode & bits;
    return kind == '='   ? f.status.mode == bits
           : kind == '-' ? both == bits
                         : both != 0 || bits == 0;
  });
  return "";
}

void Finder::Visit(const std::string& shown, const std::string& path, int64_t depth,
                   const FileStatus& status) {
  if (depth < min_depth || depth > max_depth) return;
  const FoundName found{BaseName(path), shown, status};
  for (const Test& test : tests_) {
    if (!test(found)) return;
  }
  if (verb_.json()) {
    nlohmann::json j = StatusAsJson(status);
    j["schema"] = "dfs.find/1";
    SetName(&j, "path", path);
    PrintJson(j);
    return;
  }
  const std::string text = zero_ ? shown : ShownName(shown);
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc(zero_ ? '\0' : '\n', stdout);
}

void Finder::Search(const Client& client, const std::string& typed) {
  const std::string path = ClusterPath(typed);
  const Result<FileStatus> root = client.lstat(path);
  if (!root) {
    verb_.Failed("search", typed, root.error());
    return;
  }
  Visit(path, path, 0, *root);
  verb_.Succeeded();
  if (!root->is_directory() || max_depth == 0) return;
  ListOptions list;
  list.attributes = true;
  list.recursive = max_depth > 1;
  Result<Directory> directory = client.list(path, list);
  if (!directory) {
    verb_.Failed("search", typed, directory.error());
    return;
  }
  for (const DirEntry& e : *directory) {
    if (Interrupted() || std::ferror(stdout) != 0) return;
    if (!e.status) continue;
    const std::string& below = list.recursive ? e.path : e.name;
    const int64_t depth = 1 + std::count(below.begin(), below.end(), '/');
    Visit(JoinPath(path, below), JoinPath(path, below), depth, *e.status);
  }
  if (!directory->error().ok()) verb_.Failed("search", typed, directory->error());
}

// "-name X" as find has it becomes "--name=X", whatever X begins with.
Arguments WithLongOptions(const Arguments& arguments) {
  static const std::vector<std::string> kWithValue = {
      "-name",  "-iname", "-path",  "-type", "-size",  "-mtime",    "-ctime",   "-atime",
      "-newer", "-user",  "-group", "-perm", "-links", "-maxdepth", "-mindepth"};
  Arguments out;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& a = arguments[i];
    if (std::find(kWithValue.begin(), kWithValue.end(), a) != kWithValue.end()) {
      out.push_back("-" + a + (i + 1 < arguments.size() ? "=" + arguments[i + 1] : ""));
      ++i;
    } else if (a == "-empty" || a == "-print0" || a == "-print") {
      out.push_back("-" + a);
    } else {
      out.push_back(a);
    }
  }
  return out;
}

struct FindOptions {
  std::string name, iname, path, type, size, mtime, ctime, atime, newer, user, group, perm, links;
  bool empty = false;
  bool zero = false;
  bool print = false;
  int64_t min_depth = 0;
  int64_t max_depth = INT64_MAX;
};

void AddFindOptions(Args& args, FindOptions* o) {
  args.Option("--name", &o->name, "-name PATTERN: the last component, with * ? [");
  args.Option("--iname", &o->iname, "-iname PATTERN: the same, capitals or not");
  args.Option("--path", &o->path, "-path PATTERN: the whole path");
  args.Option("--type", &o->type, "-type f|d|l|p|s|c|b, or several: f,d");
  args.Option("--size", &o->size, "-size [+-]N[K|M|G]: more than, less than, exactly; bytes");
  args.Option("--mtime", &o->mtime, "-mtime [+-]DAYS: since the data changed");
  args.Option("--ctime", &o->ctime, "-ctime [+-]DAYS: since anything changed");
  args.Option("--atime", &o->atime, "-atime [+-]DAYS: since it was read");
  args.Option("--newer", &o->newer, "-newer PATH: changed after that file of the cluster");
  args.Option("--user", &o->user, "-user NAME or number");
  args.Option("--group", &o->group, "-group NAME or number");
  args.Option("--perm", &o->perm, "-perm MODE, -MODE (all bits), /MODE (any bit)");
  args.Option("--links", &o->links, "-links [+-]N");
  args.Flag("--empty", &o->empty, "-empty: files and directories with nothing in them");
  args.Option("--mindepth", &o->min_depth, "-mindepth N", 0, INT64_MAX);
  args.Option("--maxdepth", &o->max_depth, "-maxdepth N", 0, INT64_MAX);
  args.Flag("--print", &o->print, "-print (the default)");
  args.Flag("-0,--print0", &o->zero, "-print0: end names with a zero byte, unquoted");
}

// "" or what is wrong with the options.
std::string AddTests(const FindOptions& o, Finder* finder) {
  std::string wrong;
  const auto add = [&](const std::string& value, const auto& how) {
    if (wrong.empty() && !value.empty()) wrong = how(value);
  };
  add(o.name, [&](const auto& v) { return finder->AddName(v, false, false); });
  add(o.iname, [&](const auto& v) { return finder->AddName(v, false, true); });
  add(o.path, [&](const auto& v) { return finder->AddName(v, true, false); });
  add(o.type, [&](const auto& v) { return finder->AddType(v); });
  add(o.size, [&](const auto& v) { return finder->AddSize(v); });
  add(o.mtime, [&](const auto& v) { return finder->AddDays(v, &FileStatus::mtime_ns); });
  add(o.ctime, [&](const auto& v) { return finder->AddDays(v, &FileStatus::ctime_ns); });
  add(o.atime, [&](const auto& v) { return finder->AddDays(v, &FileStatus::atime_ns); });
  add(o.user, [&](const auto& v) { return finder->AddOwner(v, false); });
  add(o.group, [&](const auto& v) { return finder->AddOwner(v, true); });
  add(o.perm, [&](const auto& v) { return finder->AddMode(v); });
  add(o.links, [&](std::string_view v) -> std::string {
    Comparison links{TakeSign(&v), 0};
    if (!ParseNumber(v, &links.value)) return fmt::format("'{}' is not a number of links", v);
    finder->Add([=](const FoundName& f) { return links.Holds(f.status.nlink); });
    return "";
  });
  if (o.empty) {
    finder->Add([](const FoundName& f) {
      return f.status.is_directory() ? f.status.entries == 0
                                     : f.status.is_regular() && f.status.size == 0;
    });
  }
  finder->min_depth = o.min_depth;
  finder->max_depth = o.max_depth;
  return wrong;
}

}  // namespace

int RunFind(const Arguments& arguments) {
  Verb verb("find", "Names at and below PATH that satisfy all tests given.",
            "  dfs find /logs -name '*.gz' -mtime +30 -print0 | xargs -0 dfs rm --no-glob\n"
            "  dfs find / -type f -size +1G --json");
  FindOptions o;
  std::vector<std::string> paths;
  AddFindOptions(verb.args(), &o);
  verb.TakesGlobs();
  verb.args().Positionals("PATH", &paths, "Where to search (the root)", 0);
  if (const auto code = verb.args().Parse(WithLongOptions(arguments))) return *code;
  Finder finder(verb, o.zero);
  if (const std::string wrong = AddTests(o, &finder); !wrong.empty()) {
    return verb.args().UsageError(wrong);
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  if (!o.newer.empty()) {
    const Result<FileStatus> than = client->stat(ClusterPath(o.newer));
    if (!than) {
      verb.Failed("compare with", o.newer, than.error());
      return verb.ExitCode();
    }
    finder.Add([ns = than->mtime_ns](const FoundName& f) { return f.status.mtime_ns > ns; });
  }
  if (paths.empty()) paths.push_back("/");
  for (const std::string& typed : ExpandGlobs(verb, *client, paths)) finder.Search(*client, typed);
  return verb.ExitCode();
}

}  // namespace dfs::cli
