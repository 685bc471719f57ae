#include "fuse/lock_support.h"

#include <utility>

#include "dfs_types.h"

namespace dfs::fuse {
namespace {

/// From which on lock commands may be in the log (nn::kFeatureCaches).
constexpr int32_t kLevelOfLocks = 3;
constexpr int64_t kPatienceNs = 2 * kSecond;
constexpr int64_t kAgainNs = 100 * kMillisecond;

void Ask(std::shared_ptr<client::ClientCore> core, int64_t until_ns, int64_t deadline_ns,
         client::Done<bool> done) {
  client::ClientCore& asked = *core;
  asked.ClusterStatus(deadline_ns, [core = std::move(core), until_ns, deadline_ns,
                                    done = std::move(done)](
                                       Result<idl::ClusterStatusReply> reply) mutable {
    if (!reply) return done(reply.error());
    if (reply->feature_level >= kLevelOfLocks) return done(true);
    if (core->Now() >= until_ns) return done(false);
    Executor& executor = core->executor();
    executor.RunAfter(kAgainNs, [core = std::move(core), until_ns, deadline_ns,
                                 done = std::move(done)]() mutable {
      Ask(std::move(core), until_ns, deadline_ns, std::move(done));
    });
  });
}

}  // namespace

void FindLockSupport(client::ClientCore& core, int64_t deadline_ns, client::Done<bool> done) {
  Ask(core.shared_from_this(), core.Now() + kPatienceNs, deadline_ns, std::move(done));
}

}  // namespace dfs::fuse
