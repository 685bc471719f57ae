// dfs-fuse with a defect planted: dfs-fuse-defective DEFECT ARGUMENTS... For tests that show the exerciser can fail.
#include <cstdio>

#include "common/base/defects.h"
#include "fuse/program.h"

int main(int argc, char** argv) {
  if (argc < 2 || !dfs::SetDefectByName(argv[1])) {
    std::fprintf(stderr, "no such defect\n");
    return 2;
  }
  argv[1] = argv[0];
  return dfs::fuse::RunProgram(argc - 1, argv + 1);
}
