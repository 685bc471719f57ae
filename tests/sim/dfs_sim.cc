// dfs-sim: runs the cluster simulation over a range of seeds.
#include "tests/sim/sim_main.h"

int main(int argc, char** argv) {
  return dfs::sim::Main(argc, argv, "dfs-sim", &dfs::sim::RunSeed);
}
