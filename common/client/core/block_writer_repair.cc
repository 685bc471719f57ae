// BlockWriter: a block that stays open while it is short of members (protocols 4.4). The writer asks the namenode from
// time to time whether there are datanodes for more. If so its owner closes it; the namenode has it copied like any
// closed block; and the next write opens it again, with all its replicas for members.
#include <algorithm>

#include "common/client/core/block_writer.h"
#include "common/client/core/calls.h"
#include "common/client/core/convert.h"
#include "dfs_types.h"

namespace dfs::client {
namespace {

/// A member may be gone without a word while nothing is written: so much more seldom it is asked for then.
constexpr int64_t kSeldom = 6;

}  // namespace

void BlockWriter::ArmRepair() {
  if (params_.repair_after_ns == 0 || expected_replicas_ == 0 || repair_wanted_) return;
  const bool short_of_members = target_.members.size() < expected_replicas_;
  const int64_t delay_ns = params_.repair_after_ns * (short_of_members ? 1 : kSeldom);
  if (repair_timer_ != 0) core_->executor().Cancel(repair_timer_);
  repair_timer_ = core_->executor().RunAfter(delay_ns, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->repair_timer_ = 0;
    self->AskForRepair();
  });
}

void BlockWriter::AskForRepair() {
  if (closing_ || state_ == State::kFailed) return;
  if (state_ != State::kOpen) return ArmRepair();
  idl::GetBlocksRequest request;
  request.inode = static_cast<int64_t>(params_.inode);
  request.session = static_cast<int64_t>(core_->session().id());
  request.offset = static_cast<int64_t>(params_.slot_offset);
  request.length = 1;
  core_->FillCaller(&request.caller);
  request.client_host_id = core_->options().host_id;
  Read<idl::kGetBlocks>(
      *core_, request, core_->Deadline(),
      [weak = weak_from_this(), stamp = target_.stamp](Result<idl::GetBlocksReply> reply) {
        if (auto self = weak.lock()) self->OnRepairAnswer(stamp, reply);
      });
}

void BlockWriter::OnRepairAnswer(uint64_t stamp, const Result<idl::GetBlocksReply>& reply) {
  if (closing_ || state_ == State::kFailed) return;
  if (reply && state_ == State::kOpen && target_.stamp == stamp) {
    for (const idl::LocatedBlock& b : reply->blocks) {
      repair_wanted_ |= static_cast<uint64_t>(b.block) == target_.block && b.state == kBlockOpen &&
                        static_cast<uint64_t>(b.stamp) == stamp && b.repair_wanted;
    }
  }
  if (!repair_wanted_) return ArmRepair();
  auto keep = shared_from_this();
  Changed();
}

}  // namespace dfs::client
