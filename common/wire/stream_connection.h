// Connections to datanodes' block ports, and a pool of them: a connection carries one stream at a time and
// is kept for the next one.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/base/executor.h"
#include "common/base/task.h"
#include "common/rpc/transport.h"

namespace dfs::wire {

/// Where a replica is, as namenodes tell it (idl::ReplicaLocation).
struct Member {
  uint64_t datanode = 0;
  std::string tcp_address;
  std::string unix_address;  // usable on host_id only
  std::string host_id;
  std::string rack;
};

/// One connection; its frames go to whoever uses it now. Confined to its executor.
class StreamConnection final : private rpc::Connection::Handler {
 public:
  class User {
   public:
    virtual ~User() = default;
    virtual void OnStreamFrame(const rpc::FrameHeader& header, Buffer payload) = 0;
    /// Last call; the connection is of no more use.
    virtual void OnStreamClosed(const Status& why) = 0;
    virtual void OnStreamWritable() {}
  };

  StreamConnection(rpc::ConnectionPtr connection, std::string key);
  ~StreamConnection() override;

  /// Null: nobody; a frame then closes the connection, for nothing is expected.
  void SetUser(User* user) { user_ = user; }
  rpc::Connection& connection() { return *connection_; }
  /// Unique on this connection; names the next stream.
  uint64_t NewStream() { return ++last_stream_; }
  /// Nothing was ever sent on it.
  bool fresh() const { return last_stream_ == 0; }
  bool closed() const { return closed_; }
  void Close();
  const std::string& key() const { return key_; }

  int64_t idle_since_ns = 0;  // the pool's

 private:
  void OnFrame(const rpc::FrameHeader& header, Buffer payload) override;
  void OnClosed(const Status& why) override;
  void OnWritable() override;

  rpc::ConnectionPtr connection_;
  const std::string key_;
  User* user_ = nullptr;
  uint64_t last_stream_ = 0;
  bool closed_ = false;
};
using StreamConnectionPtr = std::shared_ptr<StreamConnection>;

/// Confined to the network's executor.
class StreamPool : public std::enable_shared_from_this<StreamPool> {
 public:
  using GetDone = UniqueFunction<void(Result<StreamConnectionPtr>)>;

  /// local_host_id: members of this host are reached by their Unix socket.
  static std::shared_ptr<StreamPool> Create(rpc::Network& network, std::string local_host_id);
  ~StreamPool();

  /// A kept connection, or a new one. done comes on the executor, perhaps within the call.
  /// max_idle_ns: a kept one that was idle for longer is not taken.
  void Get(const Member& member, int64_t timeout_ns, int64_t max_idle_ns, GetDone done);
  /// Gives a connection back whose last stream ended in order.
  void Release(StreamConnectionPtr connection);
  void CloseAll();
  bool IsLocal(const Member& member) const;
  const std::string& local_host_id() const { return local_host_id_; }

  static constexpr size_t kMaxIdlePerMember = 16;
  static constexpr int64_t kMaxIdleNs = 60 * kSecond;

 private:
  StreamPool(rpc::Network& network, std::string local_host_id);
  void Connect(const Member& member, bool by_unix, int64_t timeout_ns, GetDone done);
  void DropOld(std::deque<StreamConnectionPtr>* idle);

  rpc::Network& network_;
  const std::string local_host_id_;
  std::map<std::string, std::deque<StreamConnectionPtr>> idle_;  // by key, oldest first
  bool closed_ = false;
};

}  // namespace dfs::wire
