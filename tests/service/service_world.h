// Namenodes in the simulated world, with a client and datanodes that the test plays.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/base/fault_env.h"
#include "common/rpc/channel.h"
#include "common/rpc/idl_call.h"
#include "dfs_types.h"
#include "namenode/service/audit_event.h"
#include "namenode/service/namenode.h"
#include "tests/sim/network.h"
#include "tests/sim/scheduler.h"

namespace dfs::nn {

constexpr const char* kClusterId = "123e4567-e89b-12d3-a456-426614174000";

/// A datanode without disks: it says what it is told to have and obeys commands at once.
class FakeDatanode : public rpc::RequestHandler {
 public:
  struct Stored {
    int64_t stamp = 0;
    int64_t length = 0;
    int32_t state = 1;
  };
  FakeDatanode(sim::SimScheduler& scheduler, sim::SimNet& net, int number, int namenodes);
  ~FakeDatanode() override;
  void HandleRequest(rpc::Method method, Buffer request, const rpc::CallContext& context,
                     rpc::ResponderPtr responder) override;
  /// Tells every namenode of a replica it has now.
  void Received(int64_t block);

  int64_t id;
  sim::SimNode& node;
  std::map<int64_t, Stored> replicas;
  int64_t clock_offset_ns = 0;
  int64_t available_bytes = int64_t{1} << 39;  // of 1 << 40
  bool silent = false;                          // sends no heartbeats, answers nothing
  std::vector<idl::HeartbeatReply> last_reply;  // by namenode
  int commands = 0;

 private:
  void Beat();
  void Register(size_t namenode);
  void Report(size_t namenode);

  rpc::Network& network_;
  std::vector<std::unique_ptr<rpc::Channel>> channels_;
  std::vector<bool> registered_;
  int64_t next_report_ = 1;
};

class ServiceWorld {
 public:
  explicit ServiceWorld(int namenodes, int datanodes = 0,
                        std::function<void(NamenodeOptions&)> adjust = {}, AuditSink audit = {});
  ~ServiceWorld();

  void Crash(int n);
  void Restart(int n);
  Namenode& nn(int n) { return *hosts_[static_cast<size_t>(n)].namenode; }
  bool up(int n) const { return hosts_[static_cast<size_t>(n)].namenode != nullptr; }
  /// With which it is started the next time.
  NamenodeOptions& options(int n) { return hosts_[static_cast<size_t>(n)].options; }
  sim::SimNode& node(int n) { return *hosts_[static_cast<size_t>(n)].node; }
  /// Runs until some member leads; its number.
  int Leader();
  bool RunUntil(const std::function<bool()>& done, int64_t limit_ns = 30 * kSecond);

  template <rpc::Method M>
  Result<rpc::ReplyOf<M>> CallAt(int n, const rpc::RequestOf<M>& request) {
    std::optional<Result<rpc::ReplyOf<M>>> out;
    client.Run([&] {
      rpc::Call<M>(*channels_[static_cast<size_t>(n)], request, 10 * kSecond,
                   [&out](Result<rpc::Typed<rpc::ReplyOf<M>>> r) {
                     if (r) {
                       out.emplace(std::move(r->value));
                     } else {
                       out.emplace(r.error());
                     }
                   });
    });
    RunUntil([&] { return out.has_value(); });
    if (!out) return Status(Code::kTimedOut, "the simulation ended");
    return std::move(*out);
  }
  template <rpc::Method M>
  Result<rpc::ReplyOf<M>> Call(const rpc::RequestOf<M>& request) {
    return CallAt<M>(Leader(), request);
  }
  rpc::Channel& ChannelOf(int n) { return *channels_[static_cast<size_t>(n)]; }
  /// An undecodable request.
  Status CallRaw(int n, rpc::Method method, Buffer payload);

  /// A session, kept alive by nobody.
  int64_t OpenSession(int64_t nonce);
  idl::OpId NextOp(int64_t session);

  sim::SimScheduler scheduler{1};
  sim::SimNet net{scheduler};
  sim::SimNode& client;
  std::vector<std::unique_ptr<FakeDatanode>> datanodes;
  rpc::PeerIdentity client_identity;

 private:
  struct Host {
    sim::SimNode* node = nullptr;
    rpc::Network* network = nullptr;
    std::unique_ptr<FaultEnv> env;
    NamenodeOptions options;
    std::unique_ptr<Namenode> namenode;
  };
  void Start(Host& host);

  AuditSink audit_;
  std::vector<Host> hosts_;
  std::vector<std::unique_ptr<rpc::Channel>> channels_;
  std::map<int64_t, int64_t> sequences_;
};

}  // namespace dfs::nn
