// dfs ls: names of directories, sorted; -U streams a directory of any size in constant memory.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

struct LsOptions {
  bool long_form = false;
  bool human = false;
  bool recursive = false;
  bool directory_itself = false;
  bool all = false;
  bool by_time = false;
  bool by_size = false;
  bool reverse = false;
  bool one_per_line = false;
  bool numeric = false;
  bool unsorted = false;
  bool zero = false;
  bool needs_attributes(bool json) const { return json || long_form || by_time || by_size; }
};

struct Item {
  std::string name;  // as shown
  std::string path;  // whole
  FileType type = FileType::kUnknown;
  std::optional<FileStatus> status;
};

size_t TerminalColumns() {
  if (const char* columns = std::getenv("COLUMNS"); columns != nullptr && std::atoi(columns) > 0) {
    return static_cast<size_t>(std::atoi(columns));
  }
  winsize size{};
  if (ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

class Lister {
 public:
  Lister(Verb& verb, const Client& client, const LsOptions& options)
      : verb_(verb), client_(client), options_(options) {}

  void ListDirectory(const std::string& path, const std::string& heading);
  void Show(std::vector<Item> items, bool total);

 private:
  void Sort(std::vector<Item>* items) const;
  void ShowColumns(const std::vector<Item>& items) const;
  void ShowLong(const std::vector<Item>& items) const;
  void ShowOne(const Item& item) const;

  Verb& verb_;
  const Client& client_;
  const LsOptions& options_;
  bool first_ = true;
};

void Lister::Sort(std::vector<Item>* items) const {
  const auto less = [&](const Item& a, const Item& b) {
    if (options_.by_time && a.status && b.status && a.status->mtime_ns != b.status->mtime_ns) {
      return a.status->mtime_ns > b.status->mtime_ns;
    }
    if (options_.by_size && a.status && b.status && a.status->size != b.status->size) {
      return a.status->size > b.status->size;
    }
    return a.name < b.name;
  };
  std::sort(items->begin(), items->end(), less);
  if (options_.reverse) std::reverse(items->begin(), items->end());
}

void Lister::ShowOne(const Item& item) const {
  if (verb_.json()) {
    nlohmann::json j = item.status ? StatusAsJson(*item.status) : nlohmann::json::object();
    j["schema"] = "dfs.ls/1";
    SetName(&j, "path", item.path);
    PrintJson(j);
    return;
  }
  const std::string name = options_.zero ? item.name : ShownName(item.name);
  std::fwrite(name.data(), 1, name.size(), stdout);
  std::fputc(options_.zero ? '\0' : '\n', stdout);
}

void Lister::ShowLong(const std::vector<Item>& items) const {
  Table table({"", ">", "", "", ">", "", ""});
  for (const Item& item : items) {
    const FileStatus& s = *item.status;
    const std::string size = options_.human ? ShortSize(s.size) : std::to_string(s.size);
    std::string name = ShownName(item.name);
    if (s.is_symlink()) name += " -> " + ShownName(s.symlink_target);
    table.Row({ModeString(TypeLetter(s.type), s.mode), std::to_string(s.nlink),
               options_.numeric ? std::to_string(s.uid) : UserName(s.uid),
               options_.numeric ? std::to_string(s.gid) : GroupName(s.gid), size,
               LocalTime(s.mtime_ns), name});
  }
  std::fputs(table.ToString().c_str(), stdout);
}

// Down the columns, as ls does: the fewest lines that fit.
void Lister::ShowColumns(const std::vector<Item>& items) const {
  std::vector<std::string> names;
  for (const Item& item : items) names.push_back(ShownName(item.name));
  const size_t width = TerminalColumns();
  size_t lines = 1;
  std::vector<size_t> widths;
  for (; lines < names.size(); ++lines) {
    widths.clear();
    size_t total = 0;
    for (size_t at = 0; at < names.size() && total <= width; at += lines) {
      size_t widest = 0;
      for (size_t i = at; i < std::min(at + lines, names.size()); ++i) {
        widest = std::max(widest, DisplayWidth(names[i]));
      }
      widths.push_back(widest);
      total += widest + 2;
    }
    if (total <= width + 2) break;
  }
  for (size_t line = 0; line < lines; ++line) {
    std::string text;
    for (size_t i = line, column = 0; i < names.size(); i += lines, ++column) {
      text += names[i];
      if (i + lines < names.size() && column < widths.size()) {
        text.append(widths[column] - DisplayWidth(names[i]) + 2, ' ');
      }
    }
    text += '\n';
    std::fputs(text.c_str(), stdout);
  }
}

void Lister::Show(std::vector<Item> items, bool sort) {
  if (sort) Sort(&items);
  if (items.empty()) return;
  if (options_.long_form && !verb_.json() && !options_.zero) {
    ShowLong(items);
  } else if (!options_.one_per_line && !options_.zero && !verb_.json() && StdoutIsTerminal()) {
    ShowColumns(items);
  } else {
    for (const Item& item : items) ShowOne(item);
  }
}

void Lister::ListDirectory(const std::string& path, const std::string& heading) {
  ListOptions list;
  list.attributes = options_.needs_attributes(verb_.json());
  Result<Directory> directory = client_.list(path, list);
  if (!directory) {
    verb_.Failed("list", path, directory.error());
    return;
  }
  if (!heading.empty() && !verb_.json() && !options_.zero) {
    fmt::print("{}{}:\n", first_ ? "" : "\n", ShownName(heading));
  }
  first_ = false;
  std::vector<Item> items;
  std::vector<std::string> below;
  for (const DirEntry& e : *directory) {
    if (!options_.all && e.name[0] == '.') continue;
    Item item{options_.zero && options_.recursive ? JoinPath(path, e.name) : e.name,
              JoinPath(path, e.name), e.type, e.status};
    if (options_.recursive && e.type == FileType::kDirectory) below.push_back(item.path);
    if (options_.unsorted) {
      Show({std::move(item)}, false);
    } else {
      items.push_back(std::move(item));
    }
  }
  Show(std::move(items), true);
  if (!directory->error().ok()) {
    verb_.Failed("list", path, directory->error());
    return;
  }
  verb_.Succeeded();
  std::sort(below.begin(), below.end());
  for (const std::string& sub : below) ListDirectory(sub, sub);
}

}  // namespace

int RunLs(const Arguments& arguments) {
  Verb verb("ls", "List directories (the root when no path is given).",
            "  dfs ls -lh /logs\n  dfs ls -R --json / | jq -r .path");
  LsOptions o;
  std::vector<std::string> paths;
  Args& args = verb.args();
  args.Flag("-l", &o.long_form, "Mode, links, owner, group, size, time of change");
  args.Flag("-h,--human-readable", &o.human, "With -l: sizes such as 1.5G");
  args.Flag("-R,--recursive", &o.recursive, "Directories below, too");
  args.Flag("-d,--directory", &o.directory_itself, "The directory itself, not what is in it");
  args.Flag("-a,--all", &o.all, "Names that begin with a dot, too");
  args.Flag("-t", &o.by_time, "Newest first");
  args.Flag("-S", &o.by_size, "Largest first");
  args.Flag("-r,--reverse", &o.reverse, "The other way round");
  args.Flag("-1", &o.one_per_line, "One name on a line");
  args.Flag("-n,--numeric", &o.numeric, "With -l: numeric owner and group");
  args.Flag("-U,--unsorted", &o.unsorted, "As they come, in constant memory");
  args.Flag("-0,--print0", &o.zero, "End names with a zero byte, unquoted");
  verb.TakesGlobs();
  args.Positionals("PATH", &paths, "Files and directories", 0);
  if (const auto code = args.Parse(arguments)) return *code;
  if (o.numeric) o.long_form = true;
  if (paths.empty()) paths.push_back("/");

  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  Lister lister(verb, *client, o);
  std::vector<Item> files;
  std::vector<std::string> directories;
  paths = ExpandGlobs(verb, *client, paths);
  for (const std::string& typed : paths) {
    const std::string path = ClusterPath(typed);
    if (!o.directory_itself && !o.long_form && paths.size() == 1 && NamesDirectory(typed)) {
      directories.push_back(path);  // one call less
      continue;
    }
    // As ls: a symlink to a directory is listed, unless -l or -d ask about the link.
    Result<FileStatus> status =
        o.long_form || o.directory_itself ? client->lstat(path) : client->stat(path);
    if (!status) {
      verb.Failed("list", typed, status.error());
    } else if (status->is_directory() && !o.directory_itself) {
      directories.push_back(path);
    } else {
      files.push_back({typed, path, status->type, *status});
      verb.Succeeded();
    }
  }
  lister.Show(std::move(files), true);
  const bool headings = paths.size() > 1 || o.recursive;
  for (const std::string& path : directories) lister.ListDirectory(path, headings ? path : "");
  return verb.ExitCode();
}

}  // namespace dfs::cli
