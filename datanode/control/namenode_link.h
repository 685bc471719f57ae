// NamenodeLink: what a datanode tells one namenode: registration, heartbeats, full and incremental
// reports. There is one for each namenode, all alike: a new leader must be warm. Confined to the control
// executor.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/idl/idl_fwd.h"
#include "common/rpc/channel.h"
#include "datanode/store/block_store.h"

namespace dfs::dn {

class NamenodeLink : public std::enable_shared_from_this<NamenodeLink> {
 public:
  /// What the link asks of the datanode.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void FillRegistration(idl::RegisterDatanodeRequest* request) = 0;
    virtual void FillHeartbeat(idl::HeartbeatRequest* request) = 0;
    virtual void FillReport(idl::BlockReportRequest* request) = 0;
    virtual void FillReport(idl::IncrementalReportRequest* request) = 0;
    virtual std::vector<ReplicaInfo> ListReplicas() = 0;
    /// A heartbeat sent at sent_ns was acknowledged under a valid leader lease.
    virtual void OnLease(int64_t sent_ns) = 0;
    /// The datanode cannot go on (another cluster).
    virtual void OnFatal(const Status& why) = 0;
  };
  struct Options {
    int64_t heartbeat_interval_ns = kSecond;
    int64_t full_report_interval_ns = 0;
    size_t page_replicas = 20'000;
  };

  /// handler takes the namenode's commands; it and owner outlive the link.
  NamenodeLink(rpc::Network& network, const rpc::Address& address, Owner& owner,
               rpc::RequestHandler& handler, Options options, uint64_t seed);
  ~NamenodeLink();

  void Start();
  void Stop();

  enum class Change { kReceived, kDeleted, kCorrupt };
  /// Goes out with the next incremental report, which leaves at once when none is under way.
  void Tell(Change change, const ReplicaInfo& replica);
  void WantFullReport();
  bool registered() const { return registered_; }
  const rpc::Address& address() const { return channel_.address(); }

 private:
  struct Pending {
    Change change;
    ReplicaInfo replica;
  };
  struct FullReport;

  void Tick();
  void Register();
  void OnRegistered(const Status& status, const std::string& cluster);
  void Heartbeat();
  void StartFullReport();
  void SendPage(std::shared_ptr<FullReport> report);
  void FlushChanges();
  /// At once after a quiet time, otherwise when the pause between two reports is over.
  void FlushChangesSoon();
  void Lost(const Status& why);
  int64_t Now() const;

  rpc::Network& network_;
  Owner& owner_;
  const Options options_;
  Random random_;
  rpc::Channel channel_;
  bool stopped_ = false;
  bool registering_ = false;
  bool registered_ = false;
  bool heartbeat_under_way_ = false;
  bool report_wanted_ = false;
  bool report_under_way_ = false;
  bool report_done_once_ = false;  // on this registration
  bool changes_under_way_ = false;
  uint64_t round_ = 0;  // of registration: what an older one still answers is ignored
  int64_t next_full_report_ns_ = 0;
  int64_t last_warning_ns_ = 0;
  std::map<uint64_t, Pending> changes_;  // by block, the latest
  int64_t last_changes_ns_ = INT64_MIN / 2;
  Executor::TimerId timer_ = 0;
  Executor::TimerId changes_timer_ = 0;
};

}  // namespace dfs::dn
