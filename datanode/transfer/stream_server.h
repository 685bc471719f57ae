// BlockStreamServer: answers open_write and open_read on the block port's connections.
//
// Each connection has an executor of its own (a thread in daemons, the one scheduler in simulation)
// and may block on the disk there. The server itself is thread-safe; a session is confined to its
// executor.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/rpc/transport.h"
#include "datanode/store/block_store.h"

namespace dfs::dn {

/// What streams need to know of the daemon; written by control, read by stream threads.
struct StreamContext {
  BlockStore& store;
  const Clock& clock;
  std::string host_id;
  std::string token_key;  // "": signatures are not looked at
  /// BootNs until which open replicas may be served (protocols, section 2.1).
  std::atomic<int64_t> lease_until_ns{0};
  std::atomic<int32_t> active_streams{0};
  /// Of blocks, since the start.
  std::atomic<uint64_t> stored_bytes{0};
  std::atomic<uint64_t> served_bytes{0};
  /// A member waits so long for the next one, and a bit more for each member behind that.
  int64_t next_ack_timeout_ns = 3500 * kMillisecond;
  int64_t next_ack_timeout_step_ns = 500 * kMillisecond;
  /// And so much longer while a SYNC packet is under way (a writer waits 30 s then).
  int64_t sync_ack_extra_ns = 20 * kSecond;

  StreamContext(BlockStore& s, const Clock& c) : store(s), clock(c) {}
};

class StreamSession;

class BlockStreamServer {
 public:
  explicit BlockStreamServer(StreamContext& context);
  /// In daemons after the stream threads have ended; what lives then (in simulation) is closed.
  ~BlockStreamServer();

  /// For Network::ListenForStreams: takes a connection and the network of its executor.
  void Accept(rpc::ConnectionPtr connection, rpc::Network& network);
  /// No new streams are opened from now on.
  void Stop();

 private:
  friend class StreamSession;
  /// The sessions there are; each removes itself when its connection closes. Thread-safe.
  class Sessions {
   public:
    void Add(std::shared_ptr<StreamSession> session);
    void Remove(const std::shared_ptr<StreamSession>& session);
    std::set<std::shared_ptr<StreamSession>> TakeAll();
    void Stop() { stopped_ = true; }
    bool stopped() const { return stopped_; }

   private:
    std::mutex mutex_;
    std::set<std::shared_ptr<StreamSession>> sessions_;
    std::atomic<bool> stopped_{false};
  };

  StreamContext& context_;
  const std::shared_ptr<Sessions> sessions_;
};

}  // namespace dfs::dn
