// Datanode: one datanode, wired together. main.cc and the simulator make it the same way.
//
//   DatanodeOptions options = ...;
//   auto datanode = Datanode::Open(options, {env, clock, control_network, background_network,
//   seed});
//   (*datanode)->Start();        // on the control executor
//   ... (*datanode)->Stop();     // on the control executor, then destroy it there
//
// Confined to the control network's executor. Streams run on executors of their own
// (ListenForStreams); whatever blocks on the disk for longer (finalizing, deletion, recovery,
// copies, the scanner) runs on the background network's executor, which in simulation is the same as the control
// executor. In daemons the background executor must be stopped after Stop() and before the
// destructor.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/env.h"
#include "common/base/ids.h"
#include "common/rpc/transport.h"
#include "datanode/store/block_store.h"
#include "datanode/store/scanner.h"

namespace dfs::dn {

struct DatanodeOptions {
  std::string cluster_id;
  std::string cluster_key;  // 32 bytes, "" when there is none
  std::vector<std::string> volumes;
  uint64_t reserve_bytes = 0;
  rpc::Address listen_block;
  std::optional<rpc::Address> listen_block_unix;
  std::vector<rpc::Address> namenodes;
  /// Told to namenodes instead of the bound host; "" when the bound one can be reached.
  std::string advertise_host;
  std::string rack = "/default";
  std::string host_id;
  /// The id to format empty volumes with when no volume has one yet; 0: from the seed.
  DatanodeId id_if_new;
  int64_t heartbeat_interval_ns = 1 * kSecond;
  /// A closed replica is finalized on disk this long after its close (at most 5 s, protocols 5.4).
  int64_t finalize_delay_ns = 2 * kSecond;
  /// Full reports, with jitter, besides those that are asked for.
  int64_t full_report_interval_ns = 6 * 3600 * kSecond;
  size_t report_page_replicas = 20'000;
  ScannerOptions scanner;  // off when not said
};

struct DatanodeDeps {
  Env& env;
  const Clock& clock;
  rpc::Network& control;
  rpc::Network& background;
  uint64_t seed = 0;
};

/// What a datanode can say of itself.
struct DatanodeStatus {
  DatanodeId id;
  std::string cluster_id;
  std::string version;
  std::string rack;
  std::string block_address;
  struct Namenode {
    std::string address;
    bool registered = false;
  };
  std::vector<Namenode> namenodes;
  std::vector<VolumeInfo> volumes;
  bool lease = false;  // a leader has acknowledged a heartbeat lately
  uint64_t highest_term = 0;
  uint64_t replicas = 0;
  int32_t active_streams = 0;
  // Since the start.
  uint64_t stored_bytes = 0;
  uint64_t served_bytes = 0;
  ScannerStats scanner;
};

class Datanode {
 public:
  /// Opens the volumes (scans them; blocks) and the block port.
  static Result<std::unique_ptr<Datanode>> Open(DatanodeOptions options, DatanodeDeps deps);
  /// The datanode id in the first volume that is formatted; 0 when none is. For the preamble's
  /// identity, which is made before the networks are (with id_if_new when this is 0).
  static Result<DatanodeId> PeekId(Env& env, const std::vector<std::string>& volumes);
  ~Datanode();
  Datanode(const Datanode&) = delete;
  Datanode& operator=(const Datanode&) = delete;

  void Start();
  void Stop();

  DatanodeId id() const;
  /// As bound.
  const rpc::Address& block_address() const;
  std::optional<rpc::Address> block_unix_address() const;
  BlockStore& store();
  DatanodeStatus status() const;
  uint64_t highest_term() const;
  /// Called on the control executor when the daemon cannot go on (another cluster, all volumes
  /// failed).
  std::function<void(const Status&)> on_fatal;
  /// Called with its term before an order of a namenode is carried out, on the background executor: for the simulator's
  /// invariants. Set before Start().
  std::function<void(uint64_t)> on_order;

 private:
  struct Impl;
  explicit Datanode(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace dfs::dn
