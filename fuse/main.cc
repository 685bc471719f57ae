// dfs-fuse: mounts a cluster. Also as mount.dfs SOURCE MOUNTPOINT -o OPTIONS, as mount(8) calls it.
#include "fuse/program.h"

int main(int argc, char** argv) {
  return dfs::fuse::RunProgram(argc, argv);
}
