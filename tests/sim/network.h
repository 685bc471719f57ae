// SimNet: the network between simulated machines. Each node gets an rpc::Network of its own; connections are
// ordered streams, as TCP's, and break as a whole. What can be made to go wrong:
//  * every frame takes a random time, sometimes a long one;
//  * a connection dies with frames in flight (both ends learn of it, each in its own time);
//  * a direction between two nodes is cut: frames stall, and after a while the connection breaks; connecting
//    times out;
//  * a node goes down: its ends vanish; the others learn at once (reset) or only after a while (power cut);
//  * one-way frames between namenodes (Raft) are dropped, doubled, delayed and reordered one by one.
// Confined to the simulation's thread; deterministic.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/rpc/transport.h"
#include "tests/sim/scheduler.h"

namespace dfs::sim {

struct NetFaults {
  int64_t latency_min_ns = 50 * kMicrosecond;
  int64_t latency_max_ns = 500 * kMicrosecond;
  /// A frame (and, on a stream, everything behind it) is late with chance 1/n, by up to spike_ns. 0: never.
  uint64_t spike_one_in = 0;
  int64_t spike_ns = 50 * kMillisecond;
  int64_t bytes_per_second = 1'000'000'000;
  /// A connection breaks at a frame with chance 1/n. 0: never.
  uint64_t break_one_in = 0;
  /// Of one-way frames between namenodes, per mille.
  uint64_t drop_per_mille = 0;
  uint64_t double_per_mille = 0;
  uint64_t delay_per_mille = 0;  // by up to oneway_delay_ns, so that others overtake it
  int64_t oneway_delay_ns = 300 * kMillisecond;
  /// How long a cut connection stalls before an end gives it up.
  int64_t break_after_min_ns = 200 * kMillisecond;
  int64_t break_after_max_ns = 3 * kSecond;
  size_t send_window_bytes = 1u << 20;
  size_t max_queued_bytes = 64u << 20;
};

struct NetCounters {
  uint64_t connections = 0;
  uint64_t frames = 0;
  uint64_t broken = 0;  // connections
  uint64_t dropped = 0;
  uint64_t doubled = 0;
  uint64_t delayed = 0;
  uint64_t stalled = 0;
};

class SimNet {
 public:
  /// The scheduler outlives it; the objects that use it are destroyed before.
  explicit SimNet(SimScheduler& scheduler);
  ~SimNet();

  /// Joins a node to the network. What it says of itself is what its peers see in Connection::peer().
  rpc::Network& Join(SimNode& node, const rpc::PeerIdentity& identity);
  void SetIdentity(SimNode& node, const rpc::PeerIdentity& identity);

  NetFaults& faults() { return faults_; }
  const NetCounters& counters() const { return counters_; }

  /// Frames from one to the other stall.
  void Cut(SimNode& from, SimNode& to);
  void CutBoth(SimNode& a, SimNode& b);
  void Heal(SimNode& from, SimNode& to);
  void HealAll();
  bool IsCut(SimNode& from, SimNode& to) const;
  /// After node.Crash(): its ends and listeners vanish. silent: its peers learn only after a while, and what
  /// it had sent still arrives.
  void NodeDown(SimNode& node, bool silent);
  /// Breaks every connection between the two (either may be null: any).
  void BreakConnections(SimNode* a, SimNode* b);

 private:
  struct Frame;
  struct End;
  struct Link;
  class NetworkImpl;
  class ConnectionImpl;
  class ListenerImpl;
  using LinkPtr = std::shared_ptr<Link>;
  struct Port {
    uint64_t id = 0;
    rpc::Network::AcceptHandler accept;
    rpc::Network::StreamAcceptHandler accept_stream;
  };

  void Connect(SimNode& from, const rpc::Address& address, const rpc::ConnectOptions& options,
               rpc::Network::ConnectDone done);
  void Establish(SimNode& from, SimNode& to, const std::string& port_key,
                 std::shared_ptr<rpc::Network::ConnectDone> done);
  Result<std::unique_ptr<rpc::Listener>> Bind(SimNode& node, const rpc::Address& address,
                                              Port port);
  SimNode* FindTarget(SimNode& from, const rpc::Address& address) const;

  void Send(const LinkPtr& link, int side, const rpc::FrameHeader& header,
            std::vector<Buffer> parts);
  void SendLossy(const LinkPtr& link, int side, std::shared_ptr<Frame> frame);
  void Schedule(const LinkPtr& link, int side, std::shared_ptr<Frame> frame, int64_t at_ns);
  void Arrive(const LinkPtr& link, int side, const std::shared_ptr<Frame>& frame);
  void ScheduleDelivery(const LinkPtr& link, int to_side);
  void Deliver(const LinkPtr& link, int to_side);
  void Consumed(const LinkPtr& link, int from_side, size_t bytes);
  void Close(const LinkPtr& link, int side);
  /// Both ends learn that it is over, each after its own delay.
  void Break(const LinkPtr& link, const Status& why);
  void FailEnd(const LinkPtr& link, int side, const Status& why, int64_t delay_ns);
  void BreakIfStillCut(const LinkPtr& link, int side, uint64_t cut_id);
  int64_t Latency(size_t bytes);
  int64_t BreakDelay();
  static std::string PortKey(const rpc::Address& address);

  SimScheduler& scheduler_;
  NetFaults faults_;
  NetCounters counters_;
  std::map<std::string, std::unique_ptr<NetworkImpl>> networks_;  // by node name
  std::map<std::string, std::map<std::string, Port>> ports_;      // by node, port
  std::map<std::pair<std::string, std::string>, uint64_t> cuts_;  // from, to -> id
  std::map<uint64_t, std::weak_ptr<Link>> links_;
  uint64_t next_link_ = 1;
  uint64_t next_cut_ = 1;
  uint64_t next_port_id_ = 1;
  uint16_t next_port_ = 40'000;
};

}  // namespace dfs::sim
