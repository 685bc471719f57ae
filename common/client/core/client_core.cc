#include "common/client/core/client_core.h"

#include <algorithm>

#include "common/client/core/calls.h"
#include "dfs_types.h"

namespace dfs::client {
namespace {
constexpr int64_t kSlowNs = 30 * kSecond;
constexpr int64_t kMemberPatienceNs = 1 * kSecond;
}  // namespace

std::shared_ptr<ClientCore> ClientCore::Create(rpc::Network& network, Random random,
                                               CoreOptions options) {
  return std::shared_ptr<ClientCore>(new ClientCore(network, random, std::move(options)));
}

ClientCore::ClientCore(rpc::Network& network, Random random, CoreOptions options)
    : executor_(network.executor()), random_(random), options_(std::move(options)) {
  link_ = NamenodeLink::Create(network, Random(random_.Next()), options_.namenodes);
  session_ = Session::Create(executor_, link_, Random(random_.Next()), options_.client_name,
                             options_.timeout_ns);
  session_->SetLeases(&leases_);
  link_->SetHandler(&leases_);
  link_->SetLeaderObserver([this] {
    if (leases_.enabled()) session_->KeepAliveNow();
  });
  pool_ = wire::StreamPool::Create(network, options_.host_id);
}

ClientCore::~ClientCore() {
  Shutdown();
}

void ClientCore::Shutdown() {
  if (closed_) return;
  closed_ = true;
  leases_.SetHolder(nullptr);
  session_->Close();
  link_->Close();
  pool_->CloseAll();
  for (auto& [address, object] : kept_) executor_.Post([object = std::move(object)] {});
  kept_.clear();
}

void ClientCore::Release(const void* object) {
  auto it = kept_.find(object);
  if (it == kept_.end()) return;
  // This may be called from within the object.
  executor_.Post([kept = std::move(it->second)] {});
  kept_.erase(it);
}

void ClientCore::FillCaller(idl::Caller* caller) const {
  caller->uid = static_cast<int32_t>(options_.uid);
  caller->gid = static_cast<int32_t>(options_.gid);
  caller->groups.assign(options_.groups.begin(), options_.groups.end());
}

void ClientCore::InlineLimit(Done<uint32_t> done) {
  if (inline_limit_known_) {
    done(inline_limit_);
    return;
  }
  Read<idl::kStatFs>(
      *this, idl::StatFsRequest(), Deadline(),
      [weak = weak_from_this(), done = std::move(done)](Result<idl::StatFsReply> reply) {
        if (!reply) {
          done(reply.error());
          return;
        }
        const uint32_t limit = static_cast<uint32_t>(std::max(reply->inline_limit, 0));
        if (auto self = weak.lock()) {
          self->inline_limit_ = limit;
          self->inline_limit_known_ = true;
        }
        done(limit);
      });
}

void ClientCore::ClusterStatus(int64_t deadline_ns, Done<idl::ClusterStatusReply> done) {
  AskForLeader(deadline_ns, link_->addresses(), std::move(done));
}

void ClientCore::AskForLeader(int64_t deadline_ns, std::vector<rpc::Address> left,
                              Done<idl::ClusterStatusReply> done) {
  const int64_t now = Now();
  if (closed_ || now >= deadline_ns) {
    done(Status(Code::kUnavailable, "no namenode leads the cluster"));
    return;
  }
  if (left.empty()) {
    executor_.RunAfter(50 * kMillisecond,
                       [weak = weak_from_this(), deadline_ns, done = std::move(done)]() mutable {
                         auto self = weak.lock();
                         if (!self) return;
                         self->AskForLeader(deadline_ns, self->link_->addresses(), std::move(done));
                       });
    return;
  }
  const rpc::Address address = left.front();
  left.erase(left.begin());
  link_->CallMember(
      address, idl::kClusterStatus, idl::Encode(idl::ClusterStatusRequest()),
      std::min(kMemberPatienceNs, deadline_ns - now),
      [weak = weak_from_this(), deadline_ns, left = std::move(left),
       done = std::move(done)](Result<rpc::Reply> raw) mutable {
        auto self = weak.lock();
        if (!self) return;
        Result<idl::ClusterStatusReply> reply = Decoded<idl::ClusterStatusReply>(std::move(raw));
        if (reply && reply->leader) {
          done(std::move(reply));
          return;
        }
        if (!reply && left.empty() &&
            (reply.error().Is(Code::kUnauthenticated) || reply.error().Is(Code::kWrongCluster))) {
          done(std::move(reply));
          return;
        }
        const std::string hint = reply ? reply->leader_hint : reply.error().leader_hint();
        if (Result<rpc::Address> leader = rpc::Address::Parse(hint); !hint.empty() && leader) {
          // Ask it next, unless it was asked in this round: the hint may be out of date.
          const std::vector<rpc::Address> known = self->link_->addresses();
          auto it = std::find(left.begin(), left.end(), *leader);
          if (it != left.end()) {
            std::rotate(left.begin(), it, it + 1);
          } else if (std::find(known.begin(), known.end(), *leader) == known.end()) {
            left.insert(left.begin(), *leader);
          }
        }
        self->AskForLeader(deadline_ns, std::move(left), std::move(done));
      });
}

void ClientCore::MarkSlow(uint64_t datanode) {
  slow_until_ns_[datanode] = Now() + kSlowNs;
}

bool ClientCore::IsSlow(uint64_t datanode) const {
  auto it = slow_until_ns_.find(datanode);
  if (it == slow_until_ns_.end()) return false;
  if (it->second > Now()) return true;
  slow_until_ns_.erase(it);
  return false;
}

}  // namespace dfs::client
