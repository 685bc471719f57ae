#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

// One directive of -c, as GNU stat names them; nothing when it is none of them.
std::optional<std::string> Directive(char letter, const std::string& name, const FileStatus& s) {
  switch (letter) {
    case 'n':
      return name;
    case 'N':
      return "'" + name + "'" + (s.is_symlink() ? " -> '" + s.symlink_target + "'" : "");
    case 's':
      return std::to_string(s.size);
    case 'b':
      return std::to_string((s.allocated_bytes + 511) / 512);
    case 'B':
      return "512";
    case 'o':
      return std::to_string(s.block_size);
    case 'a':
      return fmt::format("{:o}", s.mode);
    case 'A':
      return ModeString(TypeLetter(s.type), s.mode);
    case 'f':
      return fmt::format("{:x}", s.mode);
    case 'F':
      return TypeName(s.type);
    case 'u':
      return std::to_string(s.uid);
    case 'U':
      return UserName(s.uid);
    case 'g':
      return std::to_string(s.gid);
    case 'G':
      return GroupName(s.gid);
    case 'h':
      return std::to_string(s.nlink);
    case 'i':
      return std::to_string(s.inode);
    case 'r':
      return std::to_string(s.replication);
    case 'x':
      return IsoTime(s.atime_ns);
    case 'X':
      return std::to_string(s.atime_ns / 1'000'000'000);
    case 'y':
      return IsoTime(s.mtime_ns);
    case 'Y':
      return std::to_string(s.mtime_ns / 1'000'000'000);
    case 'z':
      return IsoTime(s.ctime_ns);
    case 'Z':
      return std::to_string(s.ctime_ns / 1'000'000'000);
    case '%':
      return "%";
    default:
      return std::nullopt;
  }
}

bool Format(const std::string& format, const std::string& name, const FileStatus& s,
            std::string* out) {
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      *out += format[i];
      continue;
    }
    if (++i >= format.size()) return false;
    const std::optional<std::string> value = Directive(format[i], name, s);
    if (!value) return false;
    *out += *value;
  }
  return true;
}

void PrintForPeople(const std::string& path, const FileStatus& s) {
  std::string name = ShownName(path);
  if (s.is_symlink()) name += " -> " + ShownName(s.symlink_target);
  fmt::print("  File: {}\n", name);
  fmt::print("  Size: {:<15} Type: {}\n", s.size, TypeName(s.type));
  fmt::print(" Inode: {:<15} Links: {}\n", s.inode, s.nlink);
  fmt::print("  Mode: {:04o}/{}  Owner: {}/{}  Group: {}/{}\n", s.mode,
             ModeString(TypeLetter(s.type), s.mode), s.uid, UserName(s.uid), s.gid,
             GroupName(s.gid));
  if (s.is_regular()) {
    fmt::print("Blocks: of {}, {} replicas, {} allocated{}\n", HumanSize(s.block_size),
               s.replication, HumanSize(s.allocated_bytes),
               s.open_for_write ? ", open for writing" : "");
  }
  if (s.is_directory()) fmt::print("  Has : {} entries\n", s.entries);
  fmt::print("Access: {}\nModify: {}\nChange: {}\n", IsoTime(s.atime_ns), IsoTime(s.mtime_ns),
             IsoTime(s.ctime_ns));
}

}  // namespace

int RunStat(const Arguments& arguments) {
  Verb verb("stat", "Show what is known of files.",
            "  dfs stat /a\n  dfs stat -c '%s %n' /a /b\n  dfs stat --json /a");
  bool follow = false;
  std::string format;
  std::vector<std::string> paths;
  verb.args().Flag("-L,--dereference", &follow, "Of what a symlink points to");
  verb.args().Option("-c,--format", &format,
                     "%n name %s size %F type %a mode %u uid %U user %g gid %G group %h links %i "
                     "inode %r replicas %o block size %y mtime (%Y seconds)");
  verb.TakesGlobs();
  verb.args().Positionals("PATH", &paths, "Files and directories", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  std::string ignored;
  if (!Format(format, "", FileStatus{}, &ignored)) {
    return verb.args().UsageError("'" + format + "' has a directive that stat does not know");
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  for (const std::string& typed : ExpandGlobs(verb, *client, paths)) {
    const std::string path = ClusterPath(typed);
    const Result<FileStatus> status = follow ? client->stat(path) : client->lstat(path);
    if (!status) {
      verb.Failed("stat", typed, status.error());
      continue;
    }
    verb.Succeeded();
    if (verb.json()) {
      nlohmann::json j = StatusAsJson(*status);
      j["schema"] = "dfs.stat/1";
      SetName(&j, "path", path);
      PrintJson(j);
    } else if (!format.empty()) {
      std::string line;
      Format(format, path, *status, &line);
      line += '\n';
      std::fwrite(line.data(), 1, line.size(), stdout);
    } else {
      PrintForPeople(path, *status);
    }
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
