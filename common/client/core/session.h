// Session: the client's replicated session. Opened at the first change, kept alive each second, and the
// source of every change's exactly-once header: (session, incarnation, sequence, first_outstanding), with
// several changes in flight. A retry on a new leader carries the same header and gets the stored reply.
//
// A session that the namenodes do not know any more is an error to whoever used it; a new one is opened
// for new work only. Confined to its executor; owned by shared_ptr.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "common/base/executor.h"
#include "common/base/random.h"
#include "common/client/core/namenode_link.h"

namespace dfs::client {

class Leases;

struct OpHeader {
  uint64_t session = 0;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;
  uint64_t first_outstanding = 0;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  /// Writes the header into the request and encodes it.
  using EncodeRequest = UniqueFunction<Buffer(const OpHeader&)>;
  using IdDone = UniqueFunction<void(Result<uint64_t>)>;

  static std::shared_ptr<Session> Create(Executor& executor, std::shared_ptr<NamenodeLink> link,
                                         Random random, std::string client_name,
                                         int64_t timeout_ns);
  ~Session();

  /// Opens the session when there is none; its id.
  void Ensure(IdDone done);
  /// A change. scope: the session it must belong to (an open file's), 0: any; when that session is over
  /// the change fails with kUnknownSession and is not sent.
  void Submit(rpc::Method method, uint64_t scope, int64_t deadline_ns, EncodeRequest encode,
              rpc::ReplyCallback done);
  /// An inode that the session has open, so that keep-alives say so. Counted.
  void AddOpenInode(uint64_t inode);
  /// Whether the session still has it open.
  bool RemoveOpenInode(uint64_t inode);
  /// For what cannot wait for the next one: a namenode's question, a new leader.
  void KeepAliveNow();
  /// Whether the session holds leases, and who keeps their term. Before it opens.
  void SetLeases(Leases* leases) { leases_ = leases; }
  /// Says goodbye without waiting.
  void Close();

  /// 0: none is open.
  uint64_t id() const { return id_; }
  bool open() const { return id_ != 0; }
  /// Called whenever a session begins or ends.
  void SetObserver(std::function<void()> observer) { observer_ = std::move(observer); }

  /// The server refuses more than 1,024 above first_outstanding.
  static constexpr uint64_t kMaxInFlight = 512;
  static constexpr int64_t kKeepAliveNs = 1 * kSecond;

 private:
  struct Waiting {
    rpc::Method method;
    uint64_t scope;
    int64_t deadline_ns;
    EncodeRequest encode;
    rpc::ReplyCallback done;
  };
  Session(Executor& executor, std::shared_ptr<NamenodeLink> link, Random random,
          std::string client_name, int64_t timeout_ns);
  void Open();
  void OnOpened(Result<rpc::Reply> reply);
  void Send(Waiting change);
  void OnReply(uint64_t session, uint64_t sequence, rpc::ReplyCallback done,
               Result<rpc::Reply> reply);
  void SendWaiting();
  void ScheduleKeepAlive();
  void SendKeepAlive();
  void OnKeptAlive(uint64_t session, int64_t sent_ns, Result<rpc::Reply> reply);
  void Lost(uint64_t session, const Status& why);

  Executor& executor_;
  const std::shared_ptr<NamenodeLink> link_;
  Random random_;
  const std::string client_name_;
  const int64_t timeout_ns_;
  uint64_t id_ = 0;
  uint64_t incarnation_ = 0;
  uint64_t next_sequence_ = 1;
  int64_t expiry_ns_ = 30 * kSecond;
  std::set<uint64_t> outstanding_;
  std::deque<Waiting> waiting_;  // for the session to open, or for room in the window
  std::deque<IdDone> waiting_ids_;
  std::map<uint64_t, int> open_inodes_;
  bool opening_ = false;
  bool closed_ = false;
  bool keep_alive_in_flight_ = false;
  bool keep_alive_wanted_ = false;  // once the one under way is answered
  Leases* leases_ = nullptr;
  Executor::TimerId timer_ = 0;
  std::function<void()> observer_;
};

}  // namespace dfs::client
