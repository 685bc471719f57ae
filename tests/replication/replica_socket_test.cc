// Three replicas on real sockets, threads and files, in one process.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <thread>

#include "common/base/logging.h"
#include "common/rpc/socket_network.h"
#include "namenode/replication/replica.h"
#include "tests/replication/test_applier.h"

namespace dfs::nn {
namespace {

const std::string kCluster = "11111111-2222-3333-4444-555555555555";

/// One member with a loop thread of its own. Everything but the constructor and destructor runs on the loop.
class Server {
 public:
  Server(const std::string& path, NodeId id, ReplicaOptions options)
      : loop_(SystemClock()), network_(loop_, Identity(id)) {
    auto directory = MemberDirectory::Open(PosixEnv(), path, kCluster, id);
    EXPECT_TRUE(directory) << directory.error().ToString();
    directory_ = std::move(*directory);
    applier_ = std::make_unique<TestApplier>(PosixEnv(), directory_->state_path());
    replica_ = std::make_unique<Replica>(
        std::move(options), *directory_, network_, PosixEnv(), *applier_,
        [](LogStorage& storage, Executor& executor) {
          return NewThreadedLogWriter(storage, executor);
        },
        Random::FromSystem(), [](Status why) { ADD_FAILURE() << why.ToString(); });
    Status started = replica_->Start();
    EXPECT_TRUE(started) << started.ToString();
    thread_ = std::thread([this] { loop_.Run(); });
  }
  ~Server() {
    On([this] {
      replica_.reset();
      return 0;
    });
    loop_.Stop();
    thread_.join();
  }
  template <class F>
  auto On(F f) -> decltype(f()) {
    std::promise<decltype(f())> result;
    loop_.Post([&] { result.set_value(f()); });
    return result.get_future().get();
  }
  Replica& replica() { return *replica_; }
  TestApplier& applier() { return *applier_; }

 private:
  static std::shared_ptr<const rpc::NetworkIdentity> Identity(NodeId id) {
    auto identity = std::make_shared<rpc::NetworkIdentity>();
    identity->cluster_id = kCluster;
    identity->role = rpc::Role::kNamenode;
    identity->node_id = id.value;
    identity->cluster_key = std::string(32, 'k');
    return identity;
  }
  rpc::EventLoop loop_;
  rpc::SocketNetwork network_;
  std::unique_ptr<MemberDirectory> directory_;
  std::unique_ptr<TestApplier> applier_;
  std::unique_ptr<Replica> replica_;
  std::thread thread_;
};

class ReplicaSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    SetLogLevel(LogLevel::kError);
    char name[] = "/tmp/dfs_replica_XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
    Random random = Random::FromSystem();
    for (uint64_t id = 1; id <= 3; ++id) {
      ASSERT_TRUE(MemberDirectory::Format(PosixEnv(), Path(id), kCluster, NodeId(id), random));
      Member member;
      member.id = NodeId(id);
      // Sockets beside the data: no port can be taken.
      member.raft_address = *rpc::Address::Parse("unix:" + root_ + "/raft" + std::to_string(id));
      member.client_address = "client" + std::to_string(id);
      options_.members.push_back(member);
    }
    options_.log.segment_bytes = 4u << 20;
    options_.keep_log_bytes = 1u << 20;
    options_.flush_after_commands = 3000;
  }
  void TearDown() override {
    for (auto& server : servers_) server.reset();
    std::filesystem::remove_all(root_);
  }
  std::string Path(uint64_t id) const { return root_ + "/m" + std::to_string(id); }
  void Start(uint64_t id) {
    ReplicaOptions options = options_;
    options.listen = options.members[id - 1].raft_address;
    servers_[id] = std::make_unique<Server>(Path(id), NodeId(id), options);
  }
  bool WaitFor(const std::function<bool()>& done) {
    const int64_t until = SystemClock().BootNs() + 240 * kSecond;
    while (SystemClock().BootNs() < until) {
      if (done()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  uint64_t Leader() {
    for (uint64_t id = 1; id <= 3; ++id) {
      Server* s = servers_[id].get();
      if (s != nullptr && s->On([&] { return s->replica().is_leader(); })) return id;
    }
    return 0;
  }
  /// `callers` proposals at a time, `total` together; returns how many were acknowledged.
  int Load(uint64_t leader, int callers, int total) {
    Server& s = *servers_[leader];
    struct Run {
      int next = 0;
      int ok = 0;
      int answered = 0;
      std::promise<void> finished;
    };
    auto run = std::make_shared<Run>();
    auto propose = std::make_shared<std::function<void()>>();
    *propose = [&s, run, total, weak = std::weak_ptr<std::function<void()>>(propose)] {
      auto again = weak.lock();
      if (run->next == total) return;
      s.replica().Propose("command-" + std::to_string(run->next++) + std::string(150, 'x'),
                          [run, again, total](Result<std::string> reply) {
                            run->ok += reply.ok();
                            if (++run->answered == total) run->finished.set_value();
                            (*again)();
                          });
    };
    s.On([&] {
      for (int i = 0; i < callers; ++i) (*propose)();
      return 0;
    });
    run->finished.get_future().get();
    return run->ok;
  }
  /// Until `total` were acknowledged, by whoever leads: on a busy machine leadership may move meanwhile,
  /// and then some commands of unknown outcome are applied, too.
  void LoadAll(int callers, int total) {
    for (int acknowledged = 0; acknowledged < total;) {
      uint64_t leader = 0;
      ASSERT_TRUE(WaitFor([&] { return (leader = Leader()) != 0; }));
      acknowledged += Load(leader, callers, total - acknowledged);
    }
  }
  uint64_t Applied(uint64_t id) {
    return servers_[id]->On([&] { return servers_[id]->applier().count(); });
  }
  bool Equal() {
    uint64_t hash = 0;
    uint64_t count = 0;
    bool first = true;
    for (uint64_t id = 1; id <= 3; ++id) {
      Server* s = servers_[id].get();
      if (s == nullptr) continue;
      auto [h, c] =
          s->On([&] { return std::make_pair(s->applier().hash(), s->applier().count()); });
      if (!first && (h != hash || c != count)) return false;
      hash = h;
      count = c;
      first = false;
    }
    return true;
  }

  std::string root_;
  ReplicaOptions options_;
  std::unique_ptr<Server> servers_[4];
};

TEST_F(ReplicaSocketTest, ElectsReplicatesAndSurvives) {
  for (uint64_t id = 1; id <= 3; ++id) Start(id);
  ASSERT_TRUE(WaitFor([&] { return Leader() != 0; }));
  uint64_t leader = 0;
  LoadAll(16, 1000);
  ASSERT_TRUE(WaitFor([&] { return Equal(); }));
  ASSERT_TRUE(WaitFor([&] { return (leader = Leader()) != 0; }));

  servers_[leader].reset();
  LoadAll(16, 20'000);  // past what the log keeps
  ASSERT_TRUE(WaitFor([&] {
    const uint64_t next = Leader();
    return next != 0 &&
           servers_[next]->On([&] { return servers_[next]->replica().first_log_index() > 2000; });
  }));

  Start(leader);
  Server& back = *servers_[leader];
  ASSERT_TRUE(WaitFor([&] { return Applied(leader) >= 21'000u && Equal(); }));
  EXPECT_GE(back.On([&] { return back.replica().metrics().snapshots_installed; }), 1u);

  // All at once, and again.
  for (auto& server : servers_) server.reset();
  for (uint64_t id = 1; id <= 3; ++id) Start(id);
  ASSERT_TRUE(WaitFor([&] { return Leader() != 0; }));
  ASSERT_TRUE(WaitFor([&] { return Applied(1) >= 21'000u && Equal(); }));
}

}  // namespace
}  // namespace dfs::nn
