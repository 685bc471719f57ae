// What is behind a Client: the event loop, the network, the asynchronous core, and how a calling thread
// waits. A caller drives the loop itself; a background thread only looks in four times a second while a
// session is open, so that keep-alives go out and acknowledgements come in while nobody calls.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "common/client/core/client_core.h"
#include "common/rpc/event_loop.h"
#include "common/rpc/socket_network.h"
#include "dfs/client.h"

namespace dfs {
inline namespace v1 {

struct Client::Impl {
  static Result<std::shared_ptr<Impl>> Create(Options options);
  ~Impl();

  /// Ok when calls may be made: not closed, not in a forked child.
  Status Usable() const;
  bool in_child() const;

  /// Starts something on the loop and drives until it called back. poll: also reads what the sockets
  /// have, even when the answer is there at once.
  template <class T>
  Result<T> Run(std::function<void(client::Done<T>)> start, bool poll = false) {
    if (Status usable = Usable(); !usable.ok()) return usable;
    auto answer = std::make_shared<std::optional<Result<T>>>();
    loop->Post([start = std::move(start), answer] {
      start([answer](Result<T> result) { answer->emplace(std::move(result)); });
    });
    auto polled = std::make_shared<bool>(!poll);
    if (poll) PostPoll(polled);
    loop->RunUntil([&] { return *polled && answer->has_value(); });
    return std::move(**answer);
  }
  /// The same for calls without a value.
  Status RunStatus(std::function<void(client::StatusDone)> start, bool poll = false);
  /// One round of the loop: tasks, timers, sockets.
  void RunOnce();
  /// Destroys something of the core's on the loop, without waiting.
  template <class T>
  void Drop(std::shared_ptr<T> object) {
    if (object != nullptr && !in_child()) loop->Post([object = std::move(object)] {});
  }
  void Close();

  Options options;
  std::unique_ptr<rpc::EventLoop> loop;
  std::unique_ptr<rpc::SocketNetwork> network;
  std::shared_ptr<client::ClientCore> core;

 private:
  Impl() = default;
  /// Sets *polled after the sockets were read once.
  void PostPoll(std::shared_ptr<bool> polled);
  void OnSessionChange();
  void Background();

  pid_t pid_ = 0;
  std::atomic<bool> closed_{false};
  std::mutex mu_;
  std::condition_variable wake_;
  bool session_open_ = false;
  bool stop_ = false;
  std::thread background_;
};

namespace internal {
/// "/a/b" as the namenode wants it: relative to the root.
std::string FromRoot(std::string_view path);
}  // namespace internal

}  // namespace v1
}  // namespace dfs
