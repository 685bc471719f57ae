// A file that stays open for long while datanodes come and go (protocols 4.4), on the whole cluster.
#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/defects.h"
#include "common/client/core/file_reader.h"
#include "common/client/core/file_writer.h"
#include "datanode/control/datanode.h"
#include "namenode/service/namenode.h"
#include "namenode/state/reader.h"
#include "tests/sim/cluster.h"

namespace dfs::sim {
namespace {

using client::FileReader;
using client::FileWriter;

constexpr uint64_t kBytes = 32u << 10;

/// A client that writes one file, one operation after the other.
class Database {
 public:
  explicit Database(size_t datanodes) : cluster_(7, OptionsOf(datanodes)), bytes_(kBytes, 'a') {
    cluster_.Start();
    EXPECT_TRUE(RunUntil([&] { return cluster_.Leader() != nullptr; }));
    cluster_.scheduler().RunFor(2 * kSecond);
    client::FileCreate how;
    how.path = "/db";
    how.replication = 3;
    Result<FileWriter::Ptr> made = Wait<FileWriter::Ptr>(
        [&](auto done) { FileWriter::Create(core(), how, 4, std::move(done)); });
    EXPECT_TRUE(made.ok()) << made.status().ToString();
    if (made.ok()) file_ = *made;
    In([&] { file_->Write(0, Buffer(bytes_)); });
    EXPECT_TRUE(Sync().ok());
  }
  ~Database() {
    In([&] { file_.reset(); });
    for (Host* host : cluster_.AllHosts()) host->Fall(FallMode::kKillProcess, false);
    cluster_.scheduler().RunFor(0);
  }

  Status Sync() {
    Result<bool> done = Wait<bool>([&](auto then) {
      file_->Sync([then = std::move(then)](Status s) { then(s.ok() ? Result<bool>(true) : s); });
    });
    return done.status();
  }
  /// Overwrites somewhere, synced.
  Status Write() {
    const uint64_t at = cluster_.random().Uniform(kBytes / 512) * 512;
    const std::string data(512, static_cast<char>('b' + cluster_.random().Uniform(20)));
    std::copy(data.begin(), data.end(), bytes_.begin() + static_cast<long>(at));
    In([&] { file_->Write(at, Buffer(data)); });
    return Sync();
  }
  std::string Read() {
    auto reader = Wait<std::shared_ptr<FileReader>>(
        [&](auto done) { FileReader::Open(core(), "/db", std::move(done)); });
    if (!reader.ok()) return reader.status().ToString();
    std::string out(kBytes, '\0');
    auto guard = std::make_shared<FileReader::Guard>();
    auto got = Wait<size_t>(
        [&](auto done) { (*reader)->ReadAt(0, out.data(), out.size(), guard, std::move(done)); });
    In([&] { reader = Status(Code::kClosed, ""); });
    return got.ok() ? out : got.status().ToString();
  }
  nn::BlockRecord Record() {
    nn::Namenode* leader = cluster_.Leader();
    if (leader == nullptr) return {};
    nn::BlockRecord record;
    (void)leader->state().ForEachBlock(BlockId(), [&](BlockId, const nn::BlockRecord& r) {
      record = r;
      return false;
    });
    return record;
  }
  DatanodeHost& HostOf(DatanodeId id) {
    for (auto& host : cluster_.datanodes()) {
      if (host->datanode() != nullptr && host->datanode()->id() == id) return *host;
    }
    ADD_FAILURE() << "no such datanode";
    return *cluster_.datanodes()[0];
  }
  /// Writes without a pause until the block is open on three members, `gone` not among them.
  bool Regains(DatanodeId gone, int64_t limit_ns) {
    const int64_t until = cluster_.scheduler().now_ns() + limit_ns;
    while (cluster_.scheduler().now_ns() < until) {
      const Status wrote = Write();
      EXPECT_TRUE(wrote.ok()) << wrote.ToString();
      if (!wrote.ok()) return false;
      const nn::BlockRecord record = Record();
      const auto& members = record.members;
      if (record.state == nn::BlockState::kOpen && members.size() == 3 &&
          std::find(members.begin(), members.end(), gone) == members.end()) {
        return true;
      }
    }
    return false;
  }

  const std::shared_ptr<client::ClientCore>& core() { return cluster_.clients()[0]->core(); }
  Cluster& cluster() { return cluster_; }
  const std::string& bytes() const { return bytes_; }

 private:
  static ClusterOptions OptionsOf(size_t datanodes) {
    ClusterOptions options;
    options.datanodes = datanodes;
    options.clients = 1;
    return options;
  }
  template <class F>
  void In(F f) {
    cluster_.clients()[0]->node().Run(f);
  }
  bool RunUntil(const std::function<bool()>& done) {
    const int64_t until = cluster_.scheduler().now_ns() + 60 * kSecond;
    while (!done() && cluster_.scheduler().now_ns() < until) {
      if (!cluster_.scheduler().Step()) return false;
    }
    return done();
  }
  template <class T, class F>
  Result<T> Wait(F call) {
    auto out = std::make_shared<std::optional<Result<T>>>();
    In([&] { call([out](Result<T> r) { out->emplace(std::move(r)); }); });
    if (!RunUntil([&] { return out->has_value(); })) return Status(Code::kTimedOut, "no answer");
    return std::move(**out);
  }

  Cluster cluster_;
  FileWriter::Ptr file_;
  std::string bytes_;
};

TEST(OpenBlock, ThatStaysOpenIsBroughtBackToItsReplicas) {
  Database db(4);
  const std::vector<DatanodeId> first = db.Record().members;
  ASSERT_EQ(first.size(), 3u);
  db.HostOf(first[1]).Fall(FallMode::kPowerDropAll, true);
  ASSERT_TRUE(db.Regains(first[1], 60 * kSecond));
  EXPECT_GE(db.core()->repairs(), 1u);
  // What was synced before and after is there, also when those go that had it from the beginning.
  for (DatanodeId old : {first[0], first[2]}) {
    db.HostOf(old).Fall(FallMode::kPowerDropAll, true);
  }
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(db.Write().ok());
  EXPECT_EQ(db.Read(), db.bytes());
  EXPECT_FALSE(db.cluster().failed()) << db.cluster().failure();
}

TEST(OpenBlock, WithNowhereToGoIsLeftAlone) {
  Database db(3);
  const std::vector<DatanodeId> first = db.Record().members;
  DatanodeHost& fallen = db.HostOf(first[1]);
  fallen.Fall(FallMode::kPowerDropAll, true);
  EXPECT_FALSE(db.Regains(first[1], 20 * kSecond));
  EXPECT_EQ(db.core()->repairs(), 0u) << "it was closed for nothing";
  fallen.Start();
  EXPECT_TRUE(db.Regains(DatanodeId(), 60 * kSecond)) << "the same datanode, with another copy";
  EXPECT_EQ(db.Read(), db.bytes());
}

TEST(OpenBlock, ThatIsReopenedBeforeItIsCopiedStaysShort) {
  SetDefect(Defect::kReopenedBeforeCopied, true);
  {
    Database db(4);
    const std::vector<DatanodeId> first = db.Record().members;
    db.HostOf(first[1]).Fall(FallMode::kPowerDropAll, true);
    EXPECT_FALSE(db.Regains(first[1], 60 * kSecond));
  }
  SetDefect(Defect::kReopenedBeforeCopied, false);
}

}  // namespace
}  // namespace dfs::sim
