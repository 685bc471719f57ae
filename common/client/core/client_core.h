// ClientCore: the asynchronous client. Everything of one client that is confined to one executor: the link
// to the namenodes, the session, the connections to datanodes. libdfs runs it on an event loop, the
// simulator on its scheduler. Nothing here blocks; nothing here has a thread.
//
// Typed calls (Read, Change) are templates in calls.h, which needs the generated structs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/executor.h"
#include "common/base/random.h"
#include "common/client/core/leases.h"
#include "common/client/core/namenode_link.h"
#include "common/client/core/open_files.h"
#include "common/client/core/session.h"
#include "common/idl/idl_fwd.h"
#include "common/rpc/transport.h"
#include "common/wire/chain_writer.h"
#include "common/wire/stream_connection.h"

namespace dfs::client {

struct CoreOptions {
  std::vector<rpc::Address> namenodes;
  std::string client_name;
  std::string host_id;
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;
  /// Of each operation. A read that no replica can answer is tried again for so long (a datanode may be starting).
  int64_t timeout_ns = 60 * kSecond;
  size_t read_ahead_bytes = 8u << 20;
  size_t write_buffer_bytes = 8u << 20;
  /// Silence of a datanode after which a read goes on at another replica.
  int64_t read_patience_ns = 3 * kSecond;
  /// Block locations may be used for this long (protocols: a reader without a session).
  int64_t location_age_ns = 3 * kSecond;
  /// An open block that is short of members is looked after so long after that, and again (protocols 4.4).
  int64_t repair_after_ns = 5 * kSecond;
  wire::ChainWriterLimits chain;
};

/// Owned by shared_ptr. Open files hold it. Callbacks come on the executor, some within the call.
class ClientCore : public std::enable_shared_from_this<ClientCore> {
 public:
  static std::shared_ptr<ClientCore> Create(rpc::Network& network, Random random,
                                            CoreOptions options);
  ~ClientCore();

  Executor& executor() { return executor_; }
  int64_t Now() const { return executor_.clock().BootNs(); }
  int64_t Deadline() const { return Now() + options_.timeout_ns; }
  Random& random() { return random_; }
  const CoreOptions& options() const { return options_; }
  /// Blocks closed by their writer to be brought back to their number of replicas.
  void CountRepair() { ++repairs_; }
  uint64_t repairs() const { return repairs_; }
  NamenodeLink& link() { return *link_; }
  Session& session() { return *session_; }
  Leases& leases() { return leases_; }
  const std::shared_ptr<wire::StreamPool>& pool() { return pool_; }
  OpenFiles& files() { return files_; }

  void FillCaller(idl::Caller* caller) const;
  /// The inline limit of the cluster; asked once.
  void InlineLimit(Done<uint32_t> done);
  /// The leader's view of the cluster.
  void ClusterStatus(int64_t deadline_ns, Done<idl::ClusterStatusReply> done);

  /// Datanodes that just failed a read come last for a while.
  void MarkSlow(uint64_t datanode);
  bool IsSlow(uint64_t datanode) const;

  /// Keeps something alive that ends by itself (an abandoned file being closed), until Release.
  void Keep(std::shared_ptr<void> object) { kept_[object.get()] = object; }
  void Release(const void* object);

  /// Fails what is under way with kClosed, closes all connections.
  void Shutdown();
  bool closed() const { return closed_; }

 private:
  ClientCore(rpc::Network& network, Random random, CoreOptions options);
  void AskForLeader(int64_t deadline_ns, std::vector<rpc::Address> left,
                    Done<idl::ClusterStatusReply> done);

  Executor& executor_;
  Random random_;
  const CoreOptions options_;
  std::shared_ptr<NamenodeLink> link_;
  std::shared_ptr<Session> session_;
  std::shared_ptr<wire::StreamPool> pool_;
  OpenFiles files_{*this};
  Leases leases_{*this};
  uint64_t repairs_ = 0;
  uint32_t inline_limit_ = 0;
  bool inline_limit_known_ = false;
  mutable std::map<uint64_t, int64_t> slow_until_ns_;
  std::map<const void*, std::shared_ptr<void>> kept_;
  bool closed_ = false;
};

}  // namespace dfs::client
