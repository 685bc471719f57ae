// BlockRecovery: closes a block whose writer is gone, by the rules of protocols section 6. A pure state machine:
// it takes answers and ticks and returns what to propose and send; RecoveryDriver does that.
//
//   fence -> ask every listed member -> (exclude the silent ones by commit, ask again) -> make equal -> close
//   ^------------------------------------------------ the source is lost: exclude it by commit <----'
//
// Nothing is ever decided because nobody answered. A replica's length counts only after the recovery stamp
// that fences its writer was committed and the replica has taken it on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "namenode/blocks/block_map.h"

namespace dfs::nn {

struct RecoveryOptions {
  /// How long a member that does not answer is waited for while another has answered.
  int64_t patience_ns = 5'000'000'000;
  /// Before a question that failed is asked again, and a proposal that failed is made again.
  int64_t retry_ns = 1'000'000'000;
};

/// What a member said to InitRecovery.
struct RecoveryAnswer {
  bool found = false;
  Stamp stamp;
  uint64_t length = 0;
  ReplicaState state = ReplicaState::kRbw;  // before it became rur
};

/// The length rule, and whom the others are made equal to. none: no member that answered has a replica.
struct RecoveryChoice {
  uint64_t length = 0;
  DatanodeId source;
};
struct MemberAnswer {
  DatanodeId datanode;
  RecoveryAnswer answer;
};
/// was_closed: 6.4, a closed block of committed_length none of whose replicas is finalized; then a
/// replica that has all of the committed length gives exactly that.
std::optional<RecoveryChoice> ChooseRecovery(const std::vector<MemberAnswer>& answers,
                                             bool was_closed, uint64_t committed_length);

class BlockRecovery {
 public:
  struct Target {
    BlockId block;
    Stamp stamp;
    uint64_t committed_length = 0;
    bool was_closed = false;
    std::vector<DatanodeId> members;
    /// A truncation left garbage from cut_length on in replicas of at most this stamp.
    Stamp cut_stamp;
    uint64_t cut_length = 0;
  };
  struct Action {
    enum class Kind {
      kProposeFence,    // a recovery stamp, compare-and-set on `stamp`
      kSendInit,        // to `to`, recovery stamp `stamp`
      kProposeExclude,  // keep `members`, compare-and-set on `stamp`
      kSendFinish,      // to `to`: `length` at `stamp`, from `source` (0: it is the source)
      kProposeClose,    // `length`, `members`, compare-and-set on `stamp`
      kProposeAbandon,  // nothing was ever stored: every member answered and none has a replica, nothing
                        // was committed
    };
    Kind kind;
    Stamp stamp;
    DatanodeId to;
    DatanodeId source;
    uint64_t length = 0;
    std::vector<DatanodeId> members;
    bool allow_shorter = false;  // close: less than was committed (6.4)
  };
  using Actions = std::vector<Action>;
  enum class Phase { kFencing, kAsking, kExcluding, kFinishing, kClosing, kDone };

  BlockRecovery(Target target, RecoveryOptions options)
      : target_(std::move(target)), options_(options) {}

  Actions Start(int64_t now_ns);
  /// The fence was applied: what the record says now. target.stamp is the recovery stamp.
  Actions OnFenced(Target target, int64_t now_ns);
  /// The exclusion was applied: these are left, under the same recovery stamp. When the source is not among them, all
  /// begins again with another fence.
  Actions OnExcluded(const std::vector<DatanodeId>& members, int64_t now_ns);
  /// The last proposal failed in a way that is worth a retry.
  void OnProposalFailed(int64_t now_ns);
  Actions OnInit(DatanodeId from, Stamp stamp, const RecoveryAnswer& answer, int64_t now_ns);
  void OnInitFailed(DatanodeId from, Stamp stamp, int64_t now_ns);
  Actions OnFinish(DatanodeId from, Stamp stamp, uint64_t length, int64_t now_ns);
  void OnFinishFailed(DatanodeId from, Stamp stamp, int64_t now_ns);
  void OnClosed() { phase_ = Phase::kDone; }
  Actions OnTick(int64_t now_ns);

  Phase phase() const { return phase_; }
  bool done() const { return phase_ == Phase::kDone; }
  Stamp stamp() const { return target_.stamp; }
  BlockId block() const { return target_.block; }
  uint64_t length() const { return length_; }
  /// For the log: why it does not go on.
  std::string Describe() const;

 private:
  struct Member {
    DatanodeId id;
    std::optional<RecoveryAnswer> answer;
    bool asked = false;  // a question or a finish is under way
    int64_t ask_again_ns = 0;
    bool finished = false;
  };

  Actions Ask(int64_t now_ns);
  Actions Decide(int64_t now_ns);
  Actions Exclude(std::vector<DatanodeId> survivors);
  Actions Finish(int64_t now_ns);
  Actions Propose(Action action);
  Member* Find(DatanodeId id);
  Action SendFinish(Member& member);

  Target target_;
  RecoveryOptions options_;
  Phase phase_ = Phase::kFencing;
  std::vector<Member> members_;
  int64_t phase_began_ns_ = 0;
  std::optional<Action> proposal_;  // under way, or to be repeated
  int64_t propose_again_ns_ = 0;    // 0: under way
  DatanodeId source_;
  uint64_t length_ = 0;
};

}  // namespace dfs::nn
