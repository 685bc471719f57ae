// A datanode of the fake cluster. It plays the whole chain behind it, too: what a chain of members would store and
// answer, this one stores and answers for all of them.
#pragma once

#include <memory>
#include <vector>

#include "tests/client/fake_cluster.h"

namespace dfs::client {

class FakeCluster::DatanodeImpl {
 public:
  DatanodeImpl(FakeCluster& cluster, uint64_t id, rpc::Network& network);
  ~DatanodeImpl();

  /// Streams that go on to that member break, as the chain's members find out.
  void MemberDown(uint64_t id);

 private:
  struct Stream;

  FakeCluster& cluster_;
  const uint64_t id_;
  std::unique_ptr<rpc::Listener> listener_;
  std::vector<std::unique_ptr<Stream>> streams_;
};

}  // namespace dfs::client
