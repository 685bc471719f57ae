// The verbs of dfs. Each takes what follows the verb and returns the exit code.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace dfs::cli {

using Arguments = std::vector<std::string>;

int RunAdmin(const Arguments& arguments);
int RunAppend(const Arguments& arguments);
int RunCat(const Arguments& arguments);
int RunChmod(const Arguments& arguments);
int RunChown(const Arguments& arguments);
int RunCompletion(const Arguments& arguments);
int RunCount(const Arguments& arguments);
int RunCp(const Arguments& arguments);
int RunDatanode(const Arguments& arguments);
int RunDf(const Arguments& arguments);
int RunDoctor(const Arguments& arguments);
int RunDu(const Arguments& arguments);
int RunExplain(const Arguments& arguments);
int RunFind(const Arguments& arguments);
int RunFsck(const Arguments& arguments);
int RunGet(const Arguments& arguments);
int RunGetfattr(const Arguments& arguments);
int RunHead(const Arguments& arguments);
int RunKeygen(const Arguments& arguments);
int RunLn(const Arguments& arguments);
int RunLs(const Arguments& arguments);
int RunMkdir(const Arguments& arguments);
int RunMount(const Arguments& arguments);
int RunMv(const Arguments& arguments);
int RunPut(const Arguments& arguments);
int RunRm(const Arguments& arguments);
int RunRestore(const Arguments& arguments);
int RunSetfattr(const Arguments& arguments);
int RunSetrep(const Arguments& arguments);
int RunStat(const Arguments& arguments);
int RunStatus(const Arguments& arguments);
int RunTail(const Arguments& arguments);
int RunTest(const Arguments& arguments);
int RunTop(const Arguments& arguments);
int RunTouch(const Arguments& arguments);
int RunTrash(const Arguments& arguments);
int RunTruncate(const Arguments& arguments);
int RunUmount(const Arguments& arguments);

}  // namespace dfs::cli
