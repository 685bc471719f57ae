// The fiber that opens the same block twice at once, as no FileWriter does: of two opens that name the same stamp one at
// most may succeed (protocols 4.1).
#include <fmt/core.h>

#include <string>
#include <vector>

#include "common/client/core/calls.h"
#include "common/idl/methods.h"
#include "dfs_types.h"
#include "tests/sim/fiber.h"

namespace dfs::sim {

namespace {

class OpenFiber final : public Fiber {
 public:
  OpenFiber(Workload& workload, ClientHost& host) : Fiber(workload, host, host.name() + ".opens") {}

 private:
  template <rpc::Method kMethod, class Request, class DoneFn>
  void Call(Request request, DoneFn done) {
    core_->FillCaller(&request.caller);
    client::Change<kMethod>(*core_, std::move(request), 0, core_->Deadline(),
                            [self = shared_from_this(), done = std::move(done)](
                                Result<rpc::ReplyOf<kMethod>> reply) { done(reply); });
  }

  void Act() override {
    path_ = fmt::format("/opens.{}.{}", name(), random().Next());
    left_over_.push_back(path_);
    Doing("open twice " + path_);
    idl::CreateRequest create;
    create.ref.path = path_;
    create.mode = 0644;
    create.exclusive = true;
    Call<idl::kCreate>(std::move(create), [this](const Result<idl::CreateReply>& made) {
      if (!made) return End(made.status());
      inode_ = made->attr.inode;
      Open(0, [this](const Result<idl::OpenBlockReply>& opened) {
        if (!opened) return End(opened.status());
        const int64_t stamp = opened->block.stamp;
        left_ = 2;
        for (int i = 0; i < 2; ++i) {
          Open(stamp, [this, stamp](const Result<idl::OpenBlockReply>& again) {
            if (again && again->block.old_stamp != stamp) {
              Fail(fmt::format("{}: opened at stamp {}, and had named {}", doing(),
                               again->block.old_stamp, stamp));
            }
            if (--left_ == 0) End(again.status());
          });
        }
      });
    });
  }

  template <class DoneFn>
  void Open(int64_t expected_stamp, DoneFn done) {
    idl::OpenBlockRequest request;
    request.inode = inode_;
    request.expected_stamp = expected_stamp;
    Call<idl::kOpenBlock>(std::move(request), std::move(done));
  }

  void End(const Status& status) {
    Note(status);
    Remove();
  }

  /// Its block would stay open for as long as the session lives.
  void Remove() {
    idl::UnlinkRequest unlink;
    unlink.ref.path = left_over_.back();
    Call<idl::kUnlink>(std::move(unlink), [this](const Result<idl::NamesReply>& gone) {
      if (gone || gone.error().Is(Code::kNotFound)) left_over_.pop_back();
      Next(100 * kMillisecond, 1500 * kMillisecond);
    });
  }

  bool Finish() override {
    if (left_over_.empty()) return false;
    Doing("remove " + left_over_.back());
    Remove();
    return true;
  }

  std::string path_;
  std::vector<std::string> left_over_;  // or perhaps not made at all
  int64_t inode_ = 0;
  int left_ = 0;
};

}  // namespace

std::shared_ptr<Fiber> MakeOpenFiber(Workload& workload, ClientHost& host) {
  return std::make_shared<OpenFiber>(workload, host);
}

}  // namespace dfs::sim
