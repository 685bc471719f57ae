#include "common/client/core/leases.h"

#include <algorithm>

#include "common/base/defects.h"
#include "common/base/logging.h"
#include "common/client/core/calls.h"
#include "dfs_types.h"

namespace dfs::client {
namespace {
constexpr size_t kToldAtOnce = 50'000;
constexpr size_t kReturnedAtOnce = 10'000;
}  // namespace

Leases::~Leases() {
  alive_.reset();
  if (timer_ != 0) core_.executor().Cancel(timer_);
}

void Leases::SetHolder(LeaseHolder* holder) {
  holder_ = holder;
  if (holder == nullptr) term_end_ns_ = declared_term_ = 0;
}

int64_t Leases::TermLeftNs() const {
  if (DefectOn(Defect::kLeaseTermIgnored) && term_end_ns_ != 0) return kTermNs;
  return std::max<int64_t>(term_end_ns_ - core_.Now(), 0);
}

void Leases::Return(uint64_t inode) {
  returned_.emplace_back(core_.Now() + kTermNs, inode);
}

void Leases::AddReturned(std::vector<int64_t>* returned) {
  while (!returned_.empty() && returned_.front().first <= core_.Now() &&
         returned->size() < kReturnedAtOnce) {
    returned->push_back(static_cast<int64_t>(returned_.front().second));
    returned_.pop_front();
  }
}

void Leases::Acquire(uint64_t inode, Done<idl::AcquireLeaseReply> done) {
  core_.session().Ensure([this, inode, done = std::move(done)](Result<uint64_t> session) mutable {
    if (!session) return done(session.error());
    idl::AcquireLeaseRequest request;
    request.session = static_cast<int64_t>(*session);
    request.inode = static_cast<int64_t>(inode);
    Read<idl::kAcquireLease>(core_, request, core_.Deadline(), std::move(done));
  });
}

// ---- The term -----------------------------------------------------------------------------------

void Leases::OnKeptAlive(const idl::KeepAliveReply& reply, int64_t sent_ns) {
  if (holder_ == nullptr) return;
  // It ran out before this answer came, whatever the timer knows.
  if (term_end_ns_ != 0 && TermLeftNs() == 0) EndTerm();
  if (reply.lease) {
    if (declared_term_ == 0 || declared_term_ == reply.term) {
      declared_term_ = reply.term;
      term_end_ns_ = std::max(term_end_ns_, sent_ns + kTermNs);
      ArmTimer();
    }
    return;
  }
  if (!reply.tell_leases || telling_) return;
  // This very leader let them run out.
  if (declared_term_ == reply.term) EndTerm();
  Tell(reply.term);
}

void Leases::Tell(int64_t term) {
  // Nothing that an earlier leader grants is taken from here on: it would not be among what is told.
  telling_ = true;
  declared_term_ = 0;
  std::vector<int64_t> read, write;
  if (TermLeftNs() > 0) holder_->ListHeld(&read, &write);
  TellPart(term, std::move(read), std::move(write));
}

void Leases::TellPart(int64_t term, std::vector<int64_t> read, std::vector<int64_t> write) {
  idl::DeclareLeasesRequest request;
  request.session = static_cast<int64_t>(core_.session().id());
  request.term = term;
  request.write_leases = std::move(write);
  const size_t part = std::min(read.size(), kToldAtOnce);
  request.read_leases.assign(read.end() - static_cast<ptrdiff_t>(part), read.end());
  read.resize(read.size() - part);
  request.last = read.empty();
  Read<idl::kDeclareLeases>(
      core_, request, core_.Now() + kTermNs,
      [this, alive = std::weak_ptr<char>(alive_), term, last = request.last,
       rest = std::move(read)](Result<idl::Empty> reply) mutable {
        if (alive.expired() || holder_ == nullptr) return;
        if (reply && !last) return TellPart(term, std::move(rest), {});
        telling_ = false;
        if (reply) {
          declared_term_ = term;
        } else if (reply.error().Is(Code::kConflict)) {
          EndTerm();  // the leader had given them up
        }
        core_.session().KeepAliveNow();
      });
}

void Leases::EndTerm() {
  term_end_ns_ = 0;
  declared_term_ = 0;
  returned_.clear();
  if (holder_ != nullptr) holder_->OnTermEnded();
}

void Leases::ArmTimer() {
  if (timer_ != 0) return;
  timer_ = core_.executor().RunAfter(TermLeftNs() + kMillisecond, [this] {
    timer_ = 0;
    if (holder_ == nullptr || term_end_ns_ == 0) return;
    if (TermLeftNs() > 0) {
      ArmTimer();
    } else {
      LogWarning("no namenode has acknowledged a keep-alive for 3 s: nothing is cached");
      EndTerm();
    }
  });
}

void Leases::OnSessionLost() {
  if (holder_ != nullptr) EndTerm();
}

// ---- Recalls ------------------------------------------------------------------------------------

void Leases::HandleRequest(rpc::Method method, Buffer request, const rpc::CallContext&,
                           rpc::ResponderPtr responder) {
  if (responder == nullptr) return;
  if (method != idl::kRecall) {
    responder->Fail(Status(Code::kNotSupported, "no such method"));
    return;
  }
  idl::RecallRequest recall;
  if (!rpc::DecodeRequest(request, &recall, responder)) return;
  auto shared = std::make_shared<rpc::ResponderPtr>(std::move(responder));
  auto answer = [shared] { (*shared)->Send(idl::Encode(idl::Empty()), 0); };
  const bool ours = recall.session == static_cast<int64_t>(core_.session().id());
  if (holder_ == nullptr || !ours || DefectOn(Defect::kLeaseRecallIgnored)) return answer();
  holder_->OnRecall(recall, std::move(answer));
}

}  // namespace dfs::client
