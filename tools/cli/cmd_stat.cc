#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

// One directive of -c, as GNU stat names them; false when it is none of them.
bool Directive(char letter, const std::string& name, const FileStatus& s, std::string* out) {
  switch (letter) {
    case 'n':
      *out += name;
      return true;
    case 'N':
      *out += "'" + name + "'" + (s.is_symlink() ? " -> '" + s.symlink_target + "'" : "");
      return true;
    case 's':
      *out += std::to_string(s.size);
      return true;
    case 'b':
      *out += std::to_string((s.allocated_bytes + 511) / 512);
      return true;
    case 'B':
      *out += "512";
      return true;
    case 'o':
      *out += std::to_string(s.block_size);
      return true;
    case 'a':
      *out += fmt::format("{:o}", s.mode);
      return true;
    case 'A':
      *out += ModeString(TypeLetter(s.type), s.mode);
      return true;
    case 'f':
      *out += fmt::format("{:x}", s.mode);
      return true;
    case 'F':
      *out += TypeName(s.type);
      return true;
    case 'u':
      *out += std::to_string(s.uid);
      return true;
    case 'U':
      *out += UserName(s.uid);
      return true;
    case 'g':
      *out += std::to_string(s.gid);
      return true;
    case 'G':
      *out += GroupName(s.gid);
      return true;
    case 'h':
      *out += std::to_string(s.nlink);
      return true;
    case 'i':
      *out += std::to_string(s.inode);
      return true;
    case 'r':
      *out += std::to_string(s.replication);
      return true;
    case 'x':
      *out += IsoTime(s.atime_ns);
      return true;
    case 'X':
      *out += std::to_string(s.atime_ns / 1'000'000'000);
      return true;
    case 'y':
      *out += IsoTime(s.mtime_ns);
      return true;
    case 'Y':
      *out += std::to_string(s.mtime_ns / 1'000'000'000);
      return true;
    case 'z':
      *out += IsoTime(s.ctime_ns);
      return true;
    case 'Z':
      *out += std::to_string(s.ctime_ns / 1'000'000'000);
      return true;
    case '%':
      *out += '%';
      return true;
    default:
      return false;
  }
}

bool Format(const std::string& format, const std::string& name, const FileStatus& s,
            std::string* out) {
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      *out += format[i];
    } else if (++i >= format.size() || !Directive(format[i], name, s, out)) {
      return false;
    }
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
  verb.args().Positionals("PATH", &paths, "Files and directories", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  std::string ignored;
  if (!Format(format, "", FileStatus{}, &ignored)) {
    return verb.args().UsageError("'" + format + "' has a directive that stat does not know");
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  for (const std::string& typed : paths) {
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
