// dfs: the command line of users and administrators. Each verb is a file of tools/cli; dev and bench have
// folders of their own.
#include <fmt/format.h>
#include <signal.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "tools/bench/cmd_bench.h"
#include "tools/cli/args.h"
#include "tools/cli/commands.h"
#include "tools/dev/cmd_dev.h"
#include "tools/hadoop/fs_shell.h"

#ifndef DFS_VERSION
#define DFS_VERSION "unknown"
#endif

namespace {

using dfs::cli::Arguments;

struct Command {
  const char* name;
  const char* summary;
  int (*run)(const Arguments&);
};

constexpr Command kCommands[] = {
    {"ls", "list directories", dfs::cli::RunLs},
    {"put", "copy local files in", dfs::cli::RunPut},
    {"get", "copy files out", dfs::cli::RunGet},
    {"cat", "write files to standard output", dfs::cli::RunCat},
    {"head", "the beginning of files", dfs::cli::RunHead},
    {"tail", "the end of a file", dfs::cli::RunTail},
    {"append", "append to a file", dfs::cli::RunAppend},
    {"mkdir", "make directories", dfs::cli::RunMkdir},
    {"cp", "copy inside the cluster", dfs::cli::RunCp},
    {"mv", "rename, move", dfs::cli::RunMv},
    {"ln", "make another name, or a symbolic link", dfs::cli::RunLn},
    {"rm", "remove, into the trash", dfs::cli::RunRm},
    {"trash", "what was removed and can be restored", dfs::cli::RunTrash},
    {"restore", "bring back what was removed", dfs::cli::RunRestore},
    {"touch", "make empty files, set times", dfs::cli::RunTouch},
    {"truncate", "set the size of files", dfs::cli::RunTruncate},
    {"chmod", "set permissions", dfs::cli::RunChmod},
    {"chown", "set owner and group", dfs::cli::RunChown},
    {"setrep", "set how many replicas files have", dfs::cli::RunSetrep},
    {"getfattr", "show extended attributes", dfs::cli::RunGetfattr},
    {"setfattr", "set or remove extended attributes", dfs::cli::RunSetfattr},
    {"stat", "what is known of a file", dfs::cli::RunStat},
    {"test", "answer a question by the exit code", dfs::cli::RunTest},
    {"find", "names that satisfy tests", dfs::cli::RunFind},
    {"count", "directories, files and bytes below a path", dfs::cli::RunCount},
    {"du", "bytes below directories", dfs::cli::RunDu},
    {"df", "space of the cluster", dfs::cli::RunDf},
    {"status", "state of the cluster", dfs::cli::RunStatus},
    {"top", "the same, renewed until q", dfs::cli::RunTop},
    {"datanode", "take datanodes out of service, and put them back", dfs::cli::RunDatanode},
    {"doctor", "look for what keeps the cluster from working", dfs::cli::RunDoctor},
    {"fsck", "name files with missing, corrupt or too few replicas", dfs::cli::RunFsck},
    {"explain", "where blocks are, what is wrong, what is done", dfs::cli::RunExplain},
    {"mount", "show the cluster as a directory of this machine", dfs::cli::RunMount},
    {"umount", "end that", dfs::cli::RunUmount},
    {"admin", "export and import of the whole namespace", dfs::cli::RunAdmin},
    {"dev", "a cluster on this machine, to try things out", dfs::dev::RunDev},
    {"bench", "measure a cluster", dfs::bench::RunBench},
    {"fs", "the same by the grammar of Hadoop: dfs fs -ls /", dfs::hadoop::RunFs},
    {"keygen", "make a cluster key", dfs::cli::RunKeygen},
    {"completion", "completion for bash, zsh or fish", dfs::cli::RunCompletion},
};

void PrintHelp(std::FILE* out) {
  fmt::print(out, "Usage: dfs COMMAND ...\n\n");
  for (const Command& c : kCommands) fmt::print(out, "  {:<10} {}\n", c.name, c.summary);
  fmt::print(
      out,
      "\nFirst steps:  dfs dev start ~/dfs-data;  dfs put FILE /;  dfs ls -l /\n"
      "dfs COMMAND --help says more about one of them. Paths are the cluster's; a relative one\n"
      "is below /user/$USER.\n");
}

int PrintVersion(const Arguments& rest) {
  if (!rest.empty() && rest[0] == "--json") {
    fmt::print("{{\"schema\":\"dfs.version/1\",\"version\":\"{}\"}}\n", DFS_VERSION);
  } else {
    fmt::print("dfs {}\n", DFS_VERSION);
  }
  return dfs::cli::kExitOk;
}

int Dispatch(std::string name, Arguments rest) {
  if (name == "help") {
    if (rest.empty()) {
      PrintHelp(stdout);
      return dfs::cli::kExitOk;
    }
    name = rest[0];
    rest = {"--help"};
  }
  if (name == "--help" || name == "-h") {
    PrintHelp(stdout);
    return dfs::cli::kExitOk;
  }
  if (name == "--version" || name == "version") return PrintVersion(rest);
  if (name == "dfs") name = "fs";  // alias hdfs=dfs, and "hdfs dfs -ls /" works
  for (const Command& c : kCommands) {
    if (name == c.name) return c.run(rest);
  }
  fmt::print(stderr, "dfs: there is no command '{}'\nTry: dfs --help\n", name);
  return dfs::cli::kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  // A closed pipe is an error of write, which the verbs turn into a quiet exit.
  signal(SIGPIPE, SIG_IGN);
  if (argc < 2) {
    PrintHelp(stderr);
    return dfs::cli::kExitUsage;
  }
  return Dispatch(argv[1], Arguments(argv + 2, argv + argc));
}
