// A cluster for tests of the client: namenodes that share one perfect state and answer by the rules of the
// IDL (exactly once, compare-and-set on stamps), and datanodes that keep blocks in memory, in the simulated
// world. The fakes check what a client must never do; faults are made by the test.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/client/core/client_core.h"
#include "common/client/core/file_reader.h"
#include "common/client/core/file_writer.h"
#include "common/rpc/peer.h"
#include "dfs_types.h"
#include "tests/sim/network.h"
#include "tests/sim/scheduler.h"

namespace dfs::client {

struct FakeBlock {
  uint64_t id = 0;
  uint64_t stamp = 0;
  uint64_t length = 0;
  bool open = false;
  uint64_t writer = 0;
  std::vector<uint64_t> members;
};

struct FakeFile {
  idl::Attr attr;
  bool has_inline = false;
  std::string inline_data;
  std::map<uint64_t, FakeBlock> slots;
};

struct FakeReplica {
  uint64_t stamp = 0;
  std::string data;
  std::string synced;
  bool finalized = false;
};

class FakeCluster {
 public:
  explicit FakeCluster(uint64_t seed, int namenodes = 3, int datanodes = 3);
  ~FakeCluster();

  std::shared_ptr<ClientCore> MakeClient(int64_t timeout_ns = 30 * kSecond);
  /// Runs the client's code.
  void OnClient(const std::function<void()>& code) { client_node_->Run(code); }
  /// Runs the world until done() or the time is over; whether done.
  bool RunUntil(const std::function<bool()>& done, int64_t limit_ns = 120 * kSecond);
  /// Holds an object of the client's until the end: it must go on the client's node.
  template <class T>
  const T& Adopt(const T& object) {
    adopted_.push_back(object);
    return object;
  }
  template <class T>
  Result<T> Wait(std::function<void(Done<T>)> start) {
    auto answer = std::make_shared<std::optional<Result<T>>>();
    OnClient([&] { start([answer](Result<T> r) { answer->emplace(std::move(r)); }); });
    if (!RunUntil([&] { return answer->has_value(); })) return Status(Code::kInternal, "no answer");
    if constexpr (requires(T t) { std::shared_ptr<void>(t); }) {
      if (answer->value().ok()) Adopt(*answer->value());
    }
    return std::move(**answer);
  }
  Status WaitStatus(std::function<void(StatusDone)> start);

  // Faults.
  int leader = 0;        // -1: none
  int drop_replies = 0;  // changes that are applied but not answered, then the connection ends
  uint64_t drop_reply_one_in = 0;                // the same at random
  std::map<rpc::Method, int64_t> delay_next_ns;  // the next call of the method comes so much later
  void DatanodeDown(uint64_t id);
  void CutClientFrom(int namenode);
  bool DatanodeUp(uint64_t id) const { return !down_.count(id); }
  std::set<uint64_t> silent;   // datanodes that take streams and say nothing
  std::set<uint64_t> corrupt;  // datanodes whose reads are damaged
  std::set<uint64_t> unknown_sessions;
  bool forget_sessions = false;  // every session is unknown
  uint64_t refuse_exclude = 0;
  int64_t recovery_ns = 2 * kSecond;  // that the recovery of a block that was given up takes
  /// What block recovery does: the shortest of the members' replicas, under a new stamp, closed.
  void Recover(uint64_t inode, uint64_t slot);

  // What happened.
  std::map<std::string, uint64_t> names;  // path -> inode
  std::map<uint64_t, FakeFile> files;
  std::map<uint64_t, std::map<uint64_t, FakeReplica>> replicas;  // datanode -> block
  std::map<rpc::Method, int> applied;                            // by method, once per change
  std::vector<std::pair<uint64_t, uint64_t>> bad_reports;        // block, datanode
  std::vector<std::string> violations;
  int next_member = 0;
  uint64_t next_stamp = 1;
  uint32_t inline_limit = 16384;
  size_t replication = 3;

  /// The content as the committed state and the members say.
  std::string Content(uint64_t inode);

  sim::SimScheduler scheduler;
  sim::SimNet net;

 private:
  class NamenodeImpl;
  class DatanodeImpl;
  friend class NamenodeImpl;
  friend class DatanodeImpl;

  static rpc::Address NamenodeAddress(int i);
  static rpc::Address DatanodeAddress(uint64_t id);
  Result<Buffer> Handle(rpc::Method method, const Buffer& request);
  template <rpc::Method kMethod, class Apply>
  Result<Buffer> Change(const Buffer& request, Apply apply);
  Result<Buffer> OpenSession();
  Result<Buffer> Create(const Buffer& request);
  Result<Buffer> OpenBlock(const Buffer& request);
  Result<Buffer> Exclude(const Buffer& request);
  Result<Buffer> Release(const Buffer& request);
  uint64_t OpenNew(FakeBlock& block, uint64_t session, const std::vector<int64_t>& exclude);
  Result<Buffer> CloseBlock(const Buffer& request);
  Result<Buffer> Mkdir(const Buffer& request);
  Result<Buffer> Stat(const Buffer& request);
  Result<Buffer> OpenFile(const Buffer& request);
  Result<Buffer> GetBlocks(const Buffer& request);
  Result<Buffer> CommitLength(const Buffer& request);
  Result<Buffer> WriteInline(const Buffer& request);
  Result<Buffer> SetAttr(const Buffer& request);
  Result<Buffer> Rest(rpc::Method method, const Buffer& request);
  void CheckClose(const idl::CloseBlockRequest& request, const FakeFile& file,
                  const FakeBlock& block);
  idl::ReplicaLocation LocationOf(uint64_t id) const;
  idl::WritableBlock Writable(const FakeBlock& block, uint64_t slot, uint64_t old_stamp) const;
  std::vector<idl::LocatedBlock> Located(const FakeFile& file);
  std::optional<uint64_t> Inode(const idl::Ref& ref) const;
  FakeBlock* FindBlock(uint64_t id);
  void Touch(FakeFile& file, int64_t mtime_ns = 0);
  std::vector<uint64_t> ChooseMembers(const std::vector<int64_t>& exclude);

  sim::SimNode* client_node_ = nullptr;
  rpc::Network* client_net_ = nullptr;
  std::vector<std::shared_ptr<ClientCore>> clients_;
  std::vector<std::shared_ptr<void>> adopted_;
  std::vector<sim::SimNode*> nn_nodes_;
  std::map<uint64_t, sim::SimNode*> dn_nodes_;
  std::vector<std::unique_ptr<NamenodeImpl>> namenodes_;
  std::map<uint64_t, std::unique_ptr<DatanodeImpl>> datanodes_;
  std::set<uint64_t> down_;
  std::map<std::pair<int64_t, int64_t>, Result<Buffer>> replies_;
  uint64_t next_inode_ = 100;
  uint64_t next_block_ = 1000;
  uint64_t next_session_ = 1;
  Random random_;
};

}  // namespace dfs::client
