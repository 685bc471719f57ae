#include "datanode/control/namenode_link.h"

#include <algorithm>
#include <utility>

#include "common/base/logging.h"
#include "common/rpc/idl_call.h"
#include "dfs_types.h"

namespace dfs::dn {
namespace {

constexpr int64_t kCallTimeoutNs = 5 * kSecond;
constexpr int64_t kReportTimeoutNs = 30 * kSecond;
constexpr int64_t kWarnEveryNs = 30 * kSecond;
/// More than this and a full report says it better.
constexpr size_t kMaxChanges = 100'000;
/// Between two reports of changes: every block that is written would otherwise be a message of each of its datanodes to
/// each namenode. Nobody waits for them: a close says itself who has the block.
constexpr int64_t kChangesPauseNs = 20 * kMillisecond;

idl::ReplicaReport ToReport(const ReplicaInfo& info) {
  idl::ReplicaReport report;
  report.block = static_cast<int64_t>(info.block.value);
  report.stamp = static_cast<int64_t>(info.stamp.value);
  report.length = static_cast<int64_t>(info.length);
  report.state = static_cast<int32_t>(info.state);
  report.storage_id = static_cast<int64_t>(info.storage_id);
  return report;
}

}  // namespace

struct NamenodeLink::FullReport {
  std::vector<ReplicaInfo> replicas;
  size_t next = 0;
  int32_t page = 0;
  int64_t id = 0;
  uint64_t round = 0;
};

NamenodeLink::NamenodeLink(rpc::Network& network, const rpc::Address& address, Owner& owner,
                           rpc::RequestHandler& handler, Options options, uint64_t seed)
    : network_(network),
      owner_(owner),
      options_(options),
      random_(seed),
      channel_(network, address, &handler, seed) {}

NamenodeLink::~NamenodeLink() = default;

int64_t NamenodeLink::Now() const {
  return network_.executor().clock().BootNs();
}

void NamenodeLink::Start() {
  channel_.KeepConnected([weak = weak_from_this()](rpc::RpcPeer&) {
    auto self = weak.lock();
    if (!self || self->stopped_) return;
    // A new connection: whatever was registered was so on the old one.
    self->registered_ = false;
    self->Register();
  });
  Register();  // also learns why a connection cannot be made
  Tick();
}

void NamenodeLink::Stop() {
  stopped_ = true;
  if (timer_ != 0) network_.executor().Cancel(std::exchange(timer_, 0));
  if (changes_timer_ != 0) network_.executor().Cancel(std::exchange(changes_timer_, 0));
  channel_.KeepConnected(nullptr);
}

void NamenodeLink::Tick() {
  if (stopped_) return;
  timer_ = network_.executor().RunAfter(options_.heartbeat_interval_ns, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->timer_ = 0;
    self->Tick();
  });
  if (!registered_) return Register();
  Heartbeat();
  if (report_done_once_ && options_.full_report_interval_ns > 0 && Now() >= next_full_report_ns_) {
    report_wanted_ = true;
  }
  if (report_wanted_) StartFullReport();
  FlushChanges();
}

// ---- Registration -------------------------------------------------------------------------------

void NamenodeLink::Register() {
  if (registering_ || stopped_) return;
  registering_ = true;
  round_++;
  idl::RegisterDatanodeRequest request;
  owner_.FillRegistration(&request);
  rpc::Call<idl::kRegisterDatanode>(
      channel_, request, kCallTimeoutNs,
      [weak = weak_from_this()](Result<rpc::Typed<idl::RegisterDatanodeReply>> reply) {
        auto self = weak.lock();
        if (!self || self->stopped_) return;
        self->registering_ = false;
        self->OnRegistered(reply.status(), reply ? reply->value.cluster_id : "");
      });
}

void NamenodeLink::OnRegistered(const Status& status, const std::string& cluster) {
  if (!status) {
    if (status.Is(Code::kWrongCluster)) return owner_.OnFatal(status);
    if (Now() - last_warning_ns_ > kWarnEveryNs || last_warning_ns_ == 0) {
      last_warning_ns_ = Now();
      LogWarning("namenode {}: cannot register: {}", address().ToString(), status.ToString());
    }
    if (status.Is(Code::kTimedOut)) channel_.Reset();
    return;
  }
  LogInfo("registered with namenode {} of cluster {}", address().ToString(), cluster);
  last_warning_ns_ = 0;
  registered_ = true;
  heartbeat_under_way_ = report_under_way_ = changes_under_way_ = false;
  report_done_once_ = false;
  Heartbeat();
  StartFullReport();
}

void NamenodeLink::Lost(const Status& why) {
  if (stopped_ || !registered_) return;
  LogWarning("namenode {}: {}", address().ToString(), why.ToString());
  registered_ = false;
  if (why.Is(Code::kTimedOut)) {
    channel_.Reset();
  } else if (channel_.connected()) {
    Register();  // it does not know us any more
  }
}

// ---- Heartbeats ---------------------------------------------------------------------------------

void NamenodeLink::Heartbeat() {
  if (heartbeat_under_way_) return;
  heartbeat_under_way_ = true;
  idl::HeartbeatRequest request;
  owner_.FillHeartbeat(&request);
  rpc::Call<idl::kHeartbeat>(channel_, request, kCallTimeoutNs,
                             [weak = weak_from_this(), round = round_,
                              sent_ns = Now()](Result<rpc::Typed<idl::HeartbeatReply>> reply) {
                               auto self = weak.lock();
                               if (!self || self->stopped_ || self->round_ != round) return;
                               self->heartbeat_under_way_ = false;
                               if (!reply) return self->Lost(reply.error());
                               // The term counts from the sending: what the leader knew when it answered is older than that.
                               if (reply->value.leader && reply->value.lease)
                                 self->owner_.OnLease(sent_ns);
                               if (reply->value.need_report) self->WantFullReport();
                             });
}

// ---- Reports ------------------------------------------------------------------------------------

void NamenodeLink::WantFullReport() {
  report_wanted_ = true;
  StartFullReport();
}

void NamenodeLink::StartFullReport() {
  if (report_under_way_ || !registered_ || stopped_) return;
  report_under_way_ = true;
  report_wanted_ = false;
  auto report = std::make_shared<FullReport>();
  report->replicas = owner_.ListReplicas();
  // Reports do not say it; this follows when the report is complete.
  for (const ReplicaInfo& replica : report->replicas) {
    if (replica.corrupt) changes_[replica.block.value] = Pending{Change::kCorrupt, replica};
  }
  report->id = static_cast<int64_t>(random_.Next() >> 1);
  report->round = round_;
  SendPage(std::move(report));
}

void NamenodeLink::SendPage(std::shared_ptr<FullReport> report) {
  idl::BlockReportRequest request;
  owner_.FillReport(&request);
  request.report_id = report->id;
  request.page = report->page++;
  const size_t end = std::min(report->next + options_.page_replicas, report->replicas.size());
  request.replicas.reserve(end - report->next);
  for (; report->next < end; report->next++) {
    request.replicas.push_back(ToReport(report->replicas[report->next]));
  }
  request.last = end == report->replicas.size();
  rpc::Call<idl::kBlockReport>(
      channel_, request, kReportTimeoutNs,
      [weak = weak_from_this(), report,
       last = request.last](Result<rpc::Typed<idl::BlockReportReply>> reply) {
        auto self = weak.lock();
        if (!self || self->stopped_ || self->round_ != report->round) return;
        if (!reply || !reply->value.accepted) {
          self->report_under_way_ = false;
          self->report_wanted_ = true;  // all of it again, at the next tick
          if (!reply) self->Lost(reply.error());
          return;
        }
        if (!last) return self->SendPage(report);
        self->report_under_way_ = false;
        self->report_done_once_ = true;
        // Spread, so that datanodes which started together do not report together for ever.
        const int64_t interval = self->options_.full_report_interval_ns;
        self->next_full_report_ns_ =
            self->Now() + interval / 2 + self->random_.Between(0, std::max<int64_t>(interval, 1));
        self->FlushChanges();
      });
}

void NamenodeLink::Tell(Change change, const ReplicaInfo& replica) {
  if (stopped_) return;
  if (changes_.size() >= kMaxChanges) {
    changes_.clear();
    report_wanted_ = true;
  }
  changes_[replica.block.value] = Pending{change, replica};
  if (!changes_under_way_) FlushChangesSoon();
}

void NamenodeLink::FlushChangesSoon() {
  if (changes_timer_ != 0) return;
  const int64_t wait = last_changes_ns_ + kChangesPauseNs - Now();
  changes_timer_ =
      network_.executor().RunAfter(std::max<int64_t>(wait, 0), [weak = weak_from_this()] {
        auto self = weak.lock();
        if (!self) return;
        self->changes_timer_ = 0;
        self->FlushChanges();
      });
}

void NamenodeLink::FlushChanges() {
  // A full report under way is a picture of before; what happened since comes after it.
  if (changes_.empty() || changes_under_way_ || !registered_ || report_under_way_ ||
      !report_done_once_ || stopped_) {
    return;
  }
  changes_under_way_ = true;
  last_changes_ns_ = Now();
  auto sent = std::make_shared<std::map<uint64_t, Pending>>(std::exchange(changes_, {}));
  idl::IncrementalReportRequest request;
  owner_.FillReport(&request);
  for (const auto& [block, pending] : *sent) {
    auto& list = pending.change == Change::kReceived  ? request.received
                 : pending.change == Change::kDeleted ? request.deleted
                                                      : request.corrupt;
    list.push_back(ToReport(pending.replica));
  }
  rpc::Call<idl::kIncrementalReport>(
      channel_, request, kCallTimeoutNs,
      [weak = weak_from_this(), sent, round = round_](Result<rpc::Typed<idl::Empty>> reply) {
        auto self = weak.lock();
        if (!self || self->stopped_) return;
        if (!reply) {
          // Again later, unless there is newer news of the block.
          self->changes_.insert(sent->begin(), sent->end());
        }
        if (self->round_ != round) return;
        self->changes_under_way_ = false;
        if (!reply) return self->Lost(reply.error());
        if (!self->changes_.empty()) self->FlushChangesSoon();
      });
}

}  // namespace dfs::dn
