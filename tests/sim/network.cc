#include "tests/sim/network.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "common/base/check.h"

namespace dfs::sim {

struct SimNet::Frame {
  rpc::FrameHeader header;
  Buffer payload;
  size_t bytes() const { return payload.size() + 48; }
};

// One end of a connection.
struct SimNet::End {
  SimNode* node = nullptr;
  uint64_t epoch = 0;  // of the node when the connection was made
  rpc::PeerIdentity peer;
  rpc::Connection::Handler* handler = nullptr;
  std::deque<std::shared_ptr<Frame>> inbox;    // arrived, not yet handed over
  std::deque<std::shared_ptr<Frame>> stalled;  // sent by this end into a cut
  int64_t last_arrival_ns = 0;                 // of this end's frames at the other: keeps the order
  size_t queued = 0;                           // sent by this end and not yet taken by the other
  bool above_window = false;
  bool paused = false;
  bool closed = false;        // by its owner, or OnClosed was called
  bool delivery_due = false;  // an event that delivers is scheduled
  bool peer_closed = false;   // the other end closed; told after what is in the inbox
  Status closed_why;

  bool alive() const { return !closed && node->up() && node->epoch() == epoch; }
};

struct SimNet::Link {
  uint64_t id = 0;
  End ends[2];
  bool broken = false;
  bool lossy = false;  // between namenodes: one-way frames fare one by one
};

class SimNet::ConnectionImpl final : public rpc::Connection {
 public:
  ConnectionImpl(SimNet& net, LinkPtr link, int side)
      : net_(net), link_(std::move(link)), side_(side) {}
  ~ConnectionImpl() override { net_.Close(link_, side_); }

  void Start(Handler* handler) override {
    end().handler = handler;
    net_.ScheduleDelivery(link_, side_);
  }
  using rpc::Connection::Send;
  void Send(const rpc::FrameHeader& header, std::vector<Buffer> parts) override {
    net_.Send(link_, side_, header, std::move(parts));
  }
  size_t queued_bytes() const override { return link_->ends[side_].queued; }
  size_t send_window() const override { return net_.faults_.send_window_bytes; }
  void PauseReading(bool paused) override {
    end().paused = paused;
    if (!paused) net_.ScheduleDelivery(link_, side_);
  }
  void Close() override { net_.Close(link_, side_); }
  const rpc::PeerIdentity& peer() const override { return link_->ends[side_].peer; }
  Executor& executor() override { return end().node->executor(); }

 private:
  End& end() { return link_->ends[side_]; }
  SimNet& net_;
  const LinkPtr link_;
  const int side_;
};

class SimNet::ListenerImpl final : public rpc::Listener {
 public:
  ListenerImpl(SimNet& net, std::string node, std::string key, uint64_t id, rpc::Address address)
      : net_(net),
        node_(std::move(node)),
        key_(std::move(key)),
        id_(id),
        address_(std::move(address)) {}
  ~ListenerImpl() override {
    auto& ports = net_.ports_[node_];
    auto it = ports.find(key_);
    if (it != ports.end() && it->second.id == id_) ports.erase(it);
  }
  const rpc::Address& address() const override { return address_; }

 private:
  SimNet& net_;
  const std::string node_;
  const std::string key_;
  const uint64_t id_;
  const rpc::Address address_;
};

class SimNet::NetworkImpl final : public rpc::Network {
 public:
  NetworkImpl(SimNet& net, SimNode& node) : net_(net), node_(node) {}
  Executor& executor() override { return node_.executor(); }
  void Connect(const rpc::Address& address, const rpc::ConnectOptions& options,
               ConnectDone done) override {
    net_.Connect(node_, address, options, std::move(done));
  }
  Result<std::unique_ptr<rpc::Listener>> Listen(const rpc::Address& address,
                                                AcceptHandler accept) override {
    Port port;
    port.accept = std::move(accept);
    return net_.Bind(node_, address, std::move(port));
  }
  Result<std::unique_ptr<rpc::Listener>> ListenForStreams(const rpc::Address& address,
                                                          StreamAcceptHandler accept) override {
    Port port;
    port.accept_stream = std::move(accept);
    return net_.Bind(node_, address, std::move(port));
  }
  SimNode& node() { return node_; }

  rpc::PeerIdentity identity;

 private:
  SimNet& net_;
  SimNode& node_;
};

SimNet::SimNet(SimScheduler& scheduler) : scheduler_(scheduler) {}
SimNet::~SimNet() {
  scheduler_.Clear();
}  // tasks hold connections

rpc::Network& SimNet::Join(SimNode& node, const rpc::PeerIdentity& identity) {
  auto [it, fresh] = networks_.emplace(node.name(), std::make_unique<NetworkImpl>(*this, node));
  DFS_CHECK(fresh, "{} joined twice", node.name());
  it->second->identity = identity;
  return *it->second;
}

void SimNet::SetIdentity(SimNode& node, const rpc::PeerIdentity& identity) {
  networks_.at(node.name())->identity = identity;
}

std::string SimNet::PortKey(const rpc::Address& address) {
  if (address.kind == rpc::Address::Kind::kUnix) return "unix:" + address.host;
  return std::to_string(address.port);
}

Result<std::unique_ptr<rpc::Listener>> SimNet::Bind(SimNode& node, const rpc::Address& address,
                                                    Port port) {
  rpc::Address bound = address;
  auto& ports = ports_[node.name()];
  if (bound.kind == rpc::Address::Kind::kTcp) {
    bound.host = node.name();
    while (bound.port == 0 || (address.port == 0 && ports.contains(PortKey(bound)))) {
      bound.port = next_port_++;
      if (next_port_ == 60'000) next_port_ = 40'000;
    }
  }
  const std::string key = PortKey(bound);
  const uint64_t id = next_port_id_++;
  port.id = id;
  if (!ports.emplace(key, std::move(port)).second) {
    return Status(Code::kBusy, node.name() + ": port " + key + " is in use");
  }
  return std::unique_ptr<rpc::Listener>(
      std::make_unique<ListenerImpl>(*this, node.name(), key, id, bound));
}

SimNode* SimNet::FindTarget(SimNode& from, const rpc::Address& address) const {
  if (address.kind == rpc::Address::Kind::kUnix) return &from;
  auto it = networks_.find(address.host);
  return it == networks_.end() ? nullptr : &it->second->node();
}

int64_t SimNet::Latency(size_t bytes) {
  int64_t ns = scheduler_.random().Between(faults_.latency_min_ns, faults_.latency_max_ns);
  ns += static_cast<int64_t>(bytes) * kSecond / faults_.bytes_per_second;
  if (faults_.spike_one_in > 0 && scheduler_.random().OneIn(faults_.spike_one_in)) {
    ns += scheduler_.random().Between(0, faults_.spike_ns);
  }
  return ns;
}

int64_t SimNet::BreakDelay() {
  return scheduler_.random().Between(faults_.break_after_min_ns, faults_.break_after_max_ns);
}

void SimNet::Connect(SimNode& from, const rpc::Address& address, const rpc::ConnectOptions& options,
                     rpc::Network::ConnectDone done) {
  if (!from.up()) return;
  auto shared = std::make_shared<rpc::Network::ConnectDone>(std::move(done));
  const auto fail = [&](int64_t delay_ns, Code code, const std::string& why) {
    from.At(scheduler_.now_ns() + delay_ns,
            [shared, status = Status(code, address.host + ": " + why)] { (*shared)(status); });
  };
  SimNode* to = FindTarget(from, address);
  if (to == nullptr) {
    fail(Latency(0), Code::kUnavailable, "no such host");
    return;
  }
  if (IsCut(from, *to) || IsCut(*to, from)) {
    fail(options.timeout_ns, Code::kTimedOut, "connection timed out");
    return;
  }
  const std::string key = PortKey(address);
  scheduler_.After(Latency(0), [this, &from, to, key, shared, epoch = from.epoch(),
                                timeout_ns = options.timeout_ns] {
    if (!from.up() || from.epoch() != epoch) return;
    auto& ports = ports_[to->name()];
    if (!to->up() || !ports.contains(key)) {
      from.At(scheduler_.now_ns() + Latency(0), [shared, name = to->name()] {
        (*shared)(Status(Code::kUnavailable, name + ": connection refused"));
      });
      return;
    }
    if (to->paused()) {
      // The kernel would accept, but nobody completes the preamble before the time-out.
      from.At(scheduler_.now_ns() + timeout_ns, [shared, name = to->name()] {
        (*shared)(Status(Code::kTimedOut, name + ": no answer to the preamble"));
      });
      return;
    }
    Establish(from, *to, key, shared);
  });
}

void SimNet::Establish(SimNode& from, SimNode& to, const std::string& port_key,
                       std::shared_ptr<rpc::Network::ConnectDone> done) {
  if (++counters_.connections % 256 == 0) {
    std::erase_if(links_, [](const auto& entry) { return entry.second.expired(); });
  }
  auto link = std::make_shared<Link>();
  link->id = next_link_++;
  links_[link->id] = link;
  NetworkImpl& client = *networks_.at(from.name());
  NetworkImpl& server = *networks_.at(to.name());
  link->lossy =
      client.identity.role == rpc::Role::kNamenode && server.identity.role == rpc::Role::kNamenode;
  link->ends[0].node = &from;
  link->ends[0].epoch = from.epoch();
  link->ends[0].peer = server.identity;
  link->ends[0].peer.address = to.name();
  link->ends[1].node = &to;
  link->ends[1].epoch = to.epoch();
  link->ends[1].peer = client.identity;
  link->ends[1].peer.address = from.name();
  if (&from == &to) link->ends[0].peer.is_unix = link->ends[1].peer.is_unix = true;
  to.At(scheduler_.now_ns(), [this, link, port_key, &server] {
    auto& ports = ports_[server.node().name()];
    auto it = ports.find(port_key);
    auto connection = std::make_unique<ConnectionImpl>(*this, link, 1);
    if (it == ports.end()) return;  // closed meanwhile: the connection closes with its pointer
    if (it->second.accept_stream) {
      auto accept = it->second.accept_stream;
      accept(std::move(connection), server);
    } else {
      auto accept = it->second.accept;
      accept(std::move(connection));
    }
  });
  from.At(scheduler_.now_ns() + Latency(0), [this, link, done] {
    (*done)(rpc::ConnectionPtr(std::make_unique<ConnectionImpl>(*this, link, 0)));
  });
}

void SimNet::Send(const LinkPtr& link, int side, const rpc::FrameHeader& header,
                  std::vector<Buffer> parts) {
  End& end = link->ends[side];
  if (!end.alive() || link->broken) return;
  auto frame = std::make_shared<Frame>();
  frame->header = header;
  if (parts.size() == 1) {
    frame->payload = std::move(parts[0]);
  } else {
    std::string joined;
    for (const Buffer& part : parts) joined += part.view();
    frame->payload = Buffer(std::move(joined));
  }
  DFS_CHECK(frame->payload.size() <= rpc::kMaxPayload, "a frame of {} bytes",
            frame->payload.size());
  ++counters_.frames;
  if (link->lossy && header.type == rpc::FrameType::kOneWay) {
    SendLossy(link, side, std::move(frame));
    return;
  }
  end.queued += frame->bytes();
  if (end.queued > faults_.max_queued_bytes) {
    Break(link, Status(Code::kOverloaded, "send queue is full"));
    return;
  }
  if (end.queued >= faults_.send_window_bytes) end.above_window = true;
  if (faults_.break_one_in > 0 && scheduler_.random().OneIn(faults_.break_one_in)) {
    Break(link, Status(Code::kUnavailable, "connection reset"));
    return;
  }
  const int64_t at =
      std::max(end.last_arrival_ns, scheduler_.now_ns() + Latency(frame->payload.size()));
  end.last_arrival_ns = at;
  Schedule(link, side, std::move(frame), at);
}

// As a datagram: it is dropped, or comes once or twice, whenever.
void SimNet::SendLossy(const LinkPtr& link, int side, std::shared_ptr<Frame> frame) {
  Random& random = scheduler_.random();
  if (random.Chance(faults_.drop_per_mille, 1000)) {
    ++counters_.dropped;
    return;
  }
  int copies = 1;
  if (random.Chance(faults_.double_per_mille, 1000)) {
    ++counters_.doubled;
    copies = 2;
  }
  for (int i = 0; i < copies; ++i) {
    int64_t delay = Latency(frame->payload.size());
    if (random.Chance(faults_.delay_per_mille, 1000)) {
      ++counters_.delayed;
      delay += random.Between(0, faults_.oneway_delay_ns);
    }
    Schedule(link, side, frame, scheduler_.now_ns() + delay);
  }
}

void SimNet::Schedule(const LinkPtr& link, int side, std::shared_ptr<Frame> frame, int64_t at_ns) {
  scheduler_.After(at_ns - scheduler_.now_ns(), [this, link, side, frame = std::move(frame)] {
    if (!link->broken) Arrive(link, side, frame);
  });
}

// The frame reaches the other machine.
void SimNet::Arrive(const LinkPtr& link, int side, const std::shared_ptr<Frame>& frame) {
  End& from = link->ends[side];
  End& to = link->ends[1 - side];
  auto cut = cuts_.find({from.node->name(), to.node->name()});
  const bool lossy = link->lossy && frame->header.type == rpc::FrameType::kOneWay;
  if (cut != cuts_.end() || (!lossy && !from.stalled.empty())) {
    if (lossy) {
      ++counters_.dropped;
      return;
    }
    ++counters_.stalled;
    from.stalled.push_back(frame);
    if (cut != cuts_.end() && from.stalled.size() == 1) {
      scheduler_.After(BreakDelay(),
                       [this, link, side, id = cut->second] { BreakIfStillCut(link, side, id); });
    }
    return;
  }
  if (!to.node->up() || to.node->epoch() != to.epoch)
    return;  // nobody there: NodeDown tells the sender
  if (to.closed) {
    FailEnd(link, side, Status(Code::kClosed, "closed by the peer"), Latency(0));
    return;
  }
  to.inbox.push_back(frame);
  ScheduleDelivery(link, 1 - side);
}

void SimNet::ScheduleDelivery(const LinkPtr& link, int to_side) {
  End& to = link->ends[to_side];
  if (to.delivery_due || !to.alive()) return;
  to.delivery_due = true;
  // With the machine stopped this waits; the inbox keeps the order.
  to.node->At(scheduler_.now_ns(), [this, link, to_side] { Deliver(link, to_side); });
}

// Hands over the first frame of the inbox, or the end of the connection. On the receiver's node.
void SimNet::Deliver(const LinkPtr& link, int to_side) {
  End& to = link->ends[to_side];
  to.delivery_due = false;
  if (!to.alive() || to.handler == nullptr) return;
  if (to.inbox.empty()) {
    if (!to.peer_closed) return;
    to.closed = true;
    std::exchange(to.handler, nullptr)->OnClosed(to.closed_why);
    return;
  }
  if (to.paused) return;
  std::shared_ptr<Frame> frame = std::move(to.inbox.front());
  to.inbox.pop_front();
  if (!link->lossy || frame->header.type != rpc::FrameType::kOneWay) {
    Consumed(link, 1 - to_side, frame->bytes());
  }
  if (!to.inbox.empty() || to.peer_closed) ScheduleDelivery(link, to_side);
  to.handler->OnFrame(frame->header, frame->payload);
}

void SimNet::Consumed(const LinkPtr& link, int from_side, size_t bytes) {
  End& from = link->ends[from_side];
  from.queued -= std::min(from.queued, bytes);
  if (!from.above_window || from.queued > faults_.send_window_bytes / 2) return;
  from.above_window = false;
  if (!from.alive()) return;
  from.node->At(scheduler_.now_ns(), [link, from_side] {
    End& end = link->ends[from_side];
    if (end.alive() && !link->broken && end.handler != nullptr) end.handler->OnWritable();
  });
}

void SimNet::Close(const LinkPtr& link, int side) {
  End& end = link->ends[side];
  if (end.closed) return;
  const bool alive = end.alive();
  end.closed = true;
  end.handler = nullptr;
  end.inbox.clear();
  if (!alive || link->broken) return;
  // What was sent before is under way still, or was thrown away with the socket's buffers.
  End& other = link->ends[1 - side];
  const bool flush = scheduler_.random().OneIn(2) && end.stalled.empty();
  const int64_t at = flush ? std::max(end.last_arrival_ns, scheduler_.now_ns() + Latency(0))
                           : scheduler_.now_ns() + Latency(0);
  if (!flush) link->broken = true;
  if (!other.alive()) return;
  if (IsCut(*end.node, *other.node)) {
    FailEnd(link, 1 - side, Status(Code::kUnavailable, "connection timed out"), BreakDelay());
    return;
  }
  FailEnd(link, 1 - side, Status(Code::kClosed, "closed by the peer"), at - scheduler_.now_ns());
}

void SimNet::Break(const LinkPtr& link, const Status& why) {
  if (link->broken) return;
  link->broken = true;
  ++counters_.broken;
  for (int side : {0, 1}) FailEnd(link, side, why, Latency(0));
}

void SimNet::FailEnd(const LinkPtr& link, int side, const Status& why, int64_t delay_ns) {
  End& end = link->ends[side];
  if (!end.alive() || end.peer_closed) return;
  const uint64_t epoch = end.epoch;
  scheduler_.After(delay_ns, [this, link, side, why, epoch] {
    End& failed = link->ends[side];
    if (!failed.alive() || failed.epoch != epoch || failed.peer_closed) return;
    failed.peer_closed = true;
    failed.closed_why = why;
    ScheduleDelivery(link, side);
  });
}

void SimNet::BreakIfStillCut(const LinkPtr& link, int side, uint64_t cut_id) {
  if (link->broken || link->ends[side].stalled.empty()) return;
  auto cut = cuts_.find({link->ends[side].node->name(), link->ends[1 - side].node->name()});
  if (cut == cuts_.end() || cut->second != cut_id) return;
  link->broken = true;
  ++counters_.broken;
  // The sender's kernel gives up; the other end is told only if anything can reach it, else later.
  const Status why(Code::kUnavailable, "connection timed out");
  FailEnd(link, side, why, 0);
  FailEnd(link, 1 - side, why, BreakDelay());
}

void SimNet::Cut(SimNode& from, SimNode& to) {
  if (&from == &to) return;
  cuts_[{from.name(), to.name()}] = next_cut_++;
}

void SimNet::CutBoth(SimNode& a, SimNode& b) {
  Cut(a, b);
  Cut(b, a);
}

bool SimNet::IsCut(SimNode& from, SimNode& to) const {
  return cuts_.contains({from.name(), to.name()});
}

void SimNet::Heal(SimNode& from, SimNode& to) {
  if (cuts_.erase({from.name(), to.name()}) == 0) return;
  // What stalled is sent again.
  for (auto it = links_.begin(); it != links_.end();) {
    LinkPtr link = it->second.lock();
    if (!link) {
      it = links_.erase(it);
      continue;
    }
    ++it;
    if (link->broken) continue;
    for (int side : {0, 1}) {
      End& end = link->ends[side];
      if (end.node != &from || link->ends[1 - side].node != &to) continue;
      auto stalled = std::exchange(end.stalled, {});
      for (auto& frame : stalled) {
        const int64_t at =
            std::max(end.last_arrival_ns, scheduler_.now_ns() + Latency(frame->payload.size()));
        end.last_arrival_ns = at;
        Schedule(link, side, std::move(frame), at);
      }
    }
  }
}

void SimNet::HealAll() {
  const auto cuts = cuts_;
  for (const auto& [pair, id] : cuts) {
    Heal(networks_.at(pair.first)->node(), networks_.at(pair.second)->node());
  }
}

void SimNet::NodeDown(SimNode& node, bool silent) {
  DFS_CHECK(!node.up());
  ports_.erase(node.name());
  const auto links = links_;
  for (const auto& [id, weak] : links) {
    LinkPtr link = weak.lock();
    if (!link || link->broken) continue;
    for (int side : {0, 1}) {
      if (link->ends[side].node != &node) continue;
      link->ends[side].stalled.clear();
      const int64_t told_after_ns = silent ? BreakDelay() : Latency(0);
      if (silent) {
        // What it had sent is on its way still.
        scheduler_.After(told_after_ns, [link] { link->broken = true; });
      } else {
        link->broken = true;
      }
      FailEnd(link, 1 - side, Status(Code::kUnavailable, node.name() + ": connection reset"),
              told_after_ns);
    }
  }
}

void SimNet::BreakConnections(SimNode* a, SimNode* b) {
  const auto links = links_;
  for (const auto& [id, weak] : links) {
    LinkPtr link = weak.lock();
    if (!link || link->broken) continue;
    const auto matches = [&](int side) {
      return (a == nullptr || link->ends[side].node == a) &&
             (b == nullptr || link->ends[1 - side].node == b);
    };
    if (matches(0) || matches(1)) Break(link, Status(Code::kUnavailable, "connection reset"));
  }
}

}  // namespace dfs::sim
