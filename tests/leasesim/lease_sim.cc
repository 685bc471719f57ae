// dfs-lease-sim: runs the simulation of cache leases over a range of seeds. Options as of dfs-sim.
#include "tests/leasesim/lease_simulation.h"
#include "tests/sim/sim_main.h"

int main(int argc, char** argv) {
  return dfs::sim::Main(argc, argv, "dfs-lease-sim", &dfs::sim::RunLeaseSeed);
}
