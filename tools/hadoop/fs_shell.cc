// The table of commands. The forms are those of Hadoop 3's FileSystem shell guide.
#include "tools/hadoop/fs_shell.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "tools/cli/commands.h"
#include "tools/hadoop/listings.h"

namespace dfs::hadoop {
namespace {

using cli::Arguments;

constexpr int kUsage = 255;

// What a command line consists of: the flags that the command knows, and the rest.
struct Line {
  std::vector<std::string> flags;
  Arguments operands;
  std::string unknown;  // the first flag that it does not know
  bool Has(const std::string& flag) const {
    return std::find(flags.begin(), flags.end(), flag) != flags.end();
  }
};

Line Split(const Arguments& arguments, const std::vector<std::string>& known) {
  Line line;
  size_t at = 0;
  for (; at < arguments.size(); ++at) {
    const std::string& a = arguments[at];
    if (a.size() < 2 || a[0] != '-') break;
    if (a == "--") {
      ++at;
      break;
    }
    if (std::find(known.begin(), known.end(), a) == known.end()) {
      line.unknown = a;
      return line;
    }
    line.flags.push_back(a);
  }
  line.operands.assign(arguments.begin() + static_cast<long>(at), arguments.end());
  return line;
}

struct Command {
  const char* name;
  const char* usage;
  std::vector<std::string> flags;
  size_t at_least;
  int (*run)(const Line&);
};

// The verb's own arguments: options first, then what was named.
Arguments With(Arguments options, const Arguments& operands) {
  options.push_back("--");
  options.insert(options.end(), operands.begin(), operands.end());
  return options;
}

// Those of the flags that mean the same to our verb.
Arguments Same(const Line& line, const std::vector<std::string>& flags, Arguments options = {}) {
  for (const std::string& flag : flags) {
    if (line.Has(flag)) options.push_back(flag);
  }
  return With(std::move(options), line.operands);
}

int Put(const Line& l) {
  return cli::RunPut(Same(l, {"-f", "-p"}, {"-r"}));
}

int Get(const Line& l) {
  return cli::RunGet(Same(l, {"-f", "-p"}, {"-r"}));
}

int MoveIn(const Line&) {
  fmt::print(stderr, "moveFromLocal: not supported; use -put, then remove the local files\n");
  return 1;
}

int Copy(const Line& l) {
  return cli::RunCp(Same(l, {"-f", "-p"}, {"-r"}));
}

int Move(const Line& l) {
  return cli::RunMv(Same(l, {}, {"-n"}));
}

int Append(const Line& l) {
  return cli::RunAppend(Same(l, {}));
}

int Cat(const Line& l) {
  return cli::RunCat(Same(l, {}));
}

int Head(const Line& l) {
  return cli::RunHead(Same(l, {}, {"-c", "1024"}));
}

int Tail(const Line& l) {
  return cli::RunTail(Same(l, {"-f"}, {"-c", "1024"}));
}

int Mkdir(const Line& l) {
  return cli::RunMkdir(Same(l, {"-p"}));
}

int Rmdir(const Line& l) {
  return RemoveDirectories(l.operands, l.Has("--ignore-fail-on-non-empty"));
}

int Remove(const Line& l) {
  Arguments options{"-v"};
  if (l.Has("-r") || l.Has("-R")) options.push_back("-r");
  if (l.Has("-f")) options.push_back("-f");
  if (l.Has("-skipTrash")) options.push_back("--skip-trash");
  return cli::RunRm(With(std::move(options), l.operands));
}

// As Hadoop's: without -immediate only what is kept no longer, which the namenode takes away by itself, too.
int Expunge(const Line& l) {
  return l.Has("-immediate") ? cli::RunTrash({"empty"}) : 0;
}

int Touch(const Line& l) {
  return cli::RunTouch(Same(l, {"-c"}));
}

int Chmod(const Line& l) {
  return cli::RunChmod(Same(l, {"-R"}));
}

int Chown(const Line& l) {
  return cli::RunChown(Same(l, {"-R"}));
}

int Chgrp(const Line& l) {
  Line with_colon = l;
  with_colon.operands[0] = ":" + with_colon.operands[0];
  return cli::RunChown(Same(with_colon, {"-R"}));
}

int Setrep(const Line& l) {
  return cli::RunSetrep(Same(l, {"-w"}));
}

int Test(const Line& l) {
  if (l.flags.size() != 1) return kUsage;
  return cli::RunTest(Same(l, {"-d", "-e", "-f", "-r", "-s", "-w", "-z"})) == 0 ? 0 : 1;
}

int Find(const Line& l) {
  return cli::RunFind(l.operands);
}

int Getfattr(const Line& l) {
  return cli::RunGetfattr(l.operands);
}

int Setfattr(const Line& l) {
  return cli::RunSetfattr(l.operands);
}

int Truncate(const Line& l) {
  // Hadoop's takes the length first; -w is how it always is here.
  Line rest = l;
  const std::string length = rest.operands[0];
  rest.operands.erase(rest.operands.begin());
  return cli::RunTruncate(Same(rest, {}, {"-c", "-s", length}));
}

int GetMerge(const Line& l) {
  Arguments from = l.operands;
  const std::string to = from.back();
  from.pop_back();
  return MergeTo(from, to, l.Has("-nl"), l.Has("-skip-empty-file"));
}

int Ls(const Line& l) {
  ListingOptions o;
  o.recursive = l.Has("-R");
  o.directory_itself = l.Has("-d");
  o.human = l.Has("-h");
  o.paths_only = l.Has("-C");
  o.by_time = l.Has("-t");
  o.by_size = l.Has("-S");
  o.reverse = l.Has("-r");
  return List(o, l.operands);
}

int Du(const Line& l) {
  return DiskUsage(l.operands, l.Has("-s"), l.Has("-h"), l.Has("-v"));
}

int Df(const Line& l) {
  return FreeSpace(l.Has("-h"));
}

int Count(const Line& l) {
  return CountAll(l.operands, l.Has("-h"), l.Has("-v"));
}

int Stat(const Line& l) {
  Arguments operands = l.operands;
  std::string format = "%y";
  if (operands.size() > 1 && operands[0].find('%') != std::string::npos) {
    format = operands[0];
    operands.erase(operands.begin());
  }
  return Describe(format, operands);
}

const std::vector<Command>& Commands() {
  // A flag that needs nothing here (-l: lazy persist, -d: no temporary name) is taken and passed over.
  static const std::vector<Command> kCommands = {
      {"appendToFile", "<localsrc> ... <dst>", {}, 2, Append},
      {"cat", "[-ignoreCrc] <src> ...", {"-ignoreCrc"}, 1, Cat},
      {"chgrp", "[-R] GROUP PATH...", {"-R"}, 2, Chgrp},
      {"chmod", "[-R] <MODE[,MODE]... | OCTALMODE> PATH...", {"-R"}, 2, Chmod},
      {"chown", "[-R] [OWNER][:[GROUP]] PATH...", {"-R"}, 2, Chown},
      {"copyFromLocal",
       "[-f] [-p] [-l] [-d] <localsrc> ... <dst>",
       {"-f", "-p", "-l", "-d"},
       2,
       Put},
      {"copyToLocal",
       "[-f] [-p] [-crc] [-ignoreCrc] <src> ... <localdst>",
       {"-f", "-p", "-crc", "-ignoreCrc", "-ignorecrc"},
       1,
       Get},
      {"count", "[-h] [-v] <path> ...", {"-h", "-v"}, 1, Count},
      {"cp", "[-f] [-p] [-d] <src> ... <dst>", {"-f", "-p", "-d"}, 2, Copy},
      {"df", "[-h] [<path> ...]", {"-h"}, 0, Df},
      {"du", "[-s] [-h] [-v] <path> ...", {"-s", "-h", "-v"}, 0, Du},
      {"expunge", "[-immediate]", {"-immediate"}, 0, Expunge},
      {"find", "<path> ... [-name PATTERN] [-iname PATTERN] [-print] [-print0]", {}, 0, Find},
      {"get",
       "[-f] [-p] [-crc] [-ignoreCrc] <src> ... <localdst>",
       {"-f", "-p", "-crc", "-ignoreCrc", "-ignorecrc"},
       1,
       Get},
      {"getfattr", "[-R] {-n name | -d} [-e en] <path>", {}, 1, Getfattr},
      {"getmerge",
       "[-nl] [-skip-empty-file] <src> ... <localdst>",
       {"-nl", "-skip-empty-file"},
       2,
       GetMerge},
      {"head", "<file>", {}, 1, Head},
      {"ls",
       "[-C] [-d] [-h] [-q] [-R] [-t] [-S] [-r] [-u] [-e] [<path> ...]",
       {"-C", "-d", "-h", "-q", "-R", "-t", "-S", "-r"},
       0,
       Ls},
      {"lsr",
       "<path> ...",
       {},
       0,
       [](const Line& l) {
         Line all = l;
         all.flags.push_back("-R");
         return Ls(all);
       }},
      {"mkdir", "[-p] <path> ...", {"-p"}, 1, Mkdir},
      {"moveFromLocal", "<localsrc> ... <dst>", {"-f", "-p", "-l", "-d"}, 0, MoveIn},
      {"mv", "<src> ... <dst>", {}, 2, Move},
      {"put", "[-f] [-p] [-l] [-d] <localsrc> ... <dst>", {"-f", "-p", "-l", "-d"}, 2, Put},
      {"rm",
       "[-f] [-r|-R] [-skipTrash] [-safely] <src> ...",
       {"-f", "-r", "-R", "-skipTrash", "-safely"},
       1,
       Remove},
      {"rmdir", "[--ignore-fail-on-non-empty] <dir> ...", {"--ignore-fail-on-non-empty"}, 1, Rmdir},
      {"setfattr", "{-n name [-v value] | -x name} <path>", {}, 1, Setfattr},
      {"setrep", "[-R] [-w] <rep> <path> ...", {"-R", "-w"}, 2, Setrep},
      {"stat", "[format] <path> ...", {}, 1, Stat},
      {"tail", "[-f] <file>", {"-f"}, 1, Tail},
      {"test", "-[defrswz] <path>", {"-d", "-e", "-f", "-r", "-s", "-w", "-z"}, 1, Test},
      {"text", "[-ignoreCrc] <src> ...", {"-ignoreCrc"}, 1, Cat},
      {"touch", "[-c] <path> ...", {"-c"}, 1, Touch},
      {"touchz", "<path> ...", {}, 1, Touch},
      {"truncate", "[-w] <length> <path> ...", {"-w"}, 2, Truncate},
  };
  return kCommands;
}

const Command* FindCommand(const std::string& name) {
  for (const Command& c : Commands()) {
    if (name == c.name) return &c;
  }
  return nullptr;
}

int Help(const Arguments& names) {
  if (names.empty()) {
    fmt::print("Usage: dfs fs [generic options]\n");
    for (const Command& c : Commands()) fmt::print("\t[-{} {}]\n", c.name, c.usage);
    return 0;
  }
  for (std::string name : names) {
    if (!name.empty() && name[0] == '-') name.erase(0, 1);
    const Command* c = FindCommand(name);
    if (c == nullptr) {
      fmt::print(stderr, "-{}: Unknown command\n", name);
      return kUsage;
    }
    fmt::print("-{} {}\n", c->name, c->usage);
  }
  return 0;
}

}  // namespace

int RunFs(const Arguments& arguments) {
  if (arguments.empty()) {
    Help({});
    return kUsage;
  }
  std::string name = arguments[0];
  Arguments rest(arguments.begin() + 1, arguments.end());
  if (name.empty() || name[0] != '-') {
    fmt::print(stderr, "{}: Unknown command\n", name);
    if (FindCommand(name) != nullptr) {
      fmt::print(stderr, "Did you mean -{}?  This command begins with a dash.\n", name);
    }
    return kUsage;
  }
  name.erase(0, 1);
  if (name == "help" || name == "usage" || name == "-help") return Help(rest);
  const Command* command = FindCommand(name);
  if (command == nullptr) {
    fmt::print(stderr, "-{}: Unknown command\n", name);
    return kUsage;
  }
  cli::SpeakHadoop(command->name);
  // Those with options that take values are parsed by the verb itself.
  const bool by_verb = name == "find" || name == "getfattr" || name == "setfattr";
  Line line;
  if (by_verb) {
    line.operands = rest;
  } else {
    line = Split(rest, command->flags);
  }
  std::string wrong;
  if (!line.unknown.empty()) wrong = fmt::format("Illegal option {}", line.unknown);
  if (wrong.empty() && line.operands.size() < command->at_least) {
    wrong = fmt::format("Not enough arguments: expected {} but got {}", command->at_least,
                        line.operands.size());
  }
  const int code = wrong.empty() ? command->run(line) : kUsage;
  if (code == kUsage || code == cli::kExitUsage) {
    if (!wrong.empty()) fmt::print(stderr, "-{}: {}\n", name, wrong);
    fmt::print(stderr, "Usage: dfs fs [generic options] -{} {}\n", command->name, command->usage);
    return kUsage;
  }
  return code == 0 || code == cli::kExitInterrupted || code == cli::kExitPipe ? code : 1;
}

}  // namespace dfs::hadoop
