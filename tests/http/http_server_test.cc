// The server against bare sockets: late answers, answers that never come, and too many connections.
#include "common/http/http_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <mutex>
#include <thread>

namespace dfs {
namespace {

class Peer {
 public:
  explicit Peer(const std::string& address) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0;
  }
  ~Peer() { ::close(fd_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void Send(const std::string& text) {
    EXPECT_TRUE(connected_);
    EXPECT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  /// Until the other side closes.
  std::string Rest() {
    std::string out;
    char buffer[4096];
    for (ssize_t n; (n = ::recv(fd_, buffer, sizeof(buffer), 0)) > 0;) {
      out.append(buffer, static_cast<size_t>(n));
    }
    return out;
  }

 private:
  int fd_ = -1;
  bool connected_ = false;
};

constexpr const char* kGet = "GET /x?y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

TEST(HttpServer, AnswersOnTheSameConnectionAgain) {
  auto server =
      HttpServer::Listen("127.0.0.1:0", [](const HttpRequest& r, HttpServer::Reply reply) {
        reply({.body = "path " + r.path});
        reply({.status = 500, .body = "a second answer has no effect"});
      });
  ASSERT_TRUE(server.ok()) << server.error().message();
  Peer peer((*server)->address());
  peer.Send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
  peer.Send(kGet);
  const std::string all = peer.Rest();
  const size_t first = all.find("path /a");
  EXPECT_NE(first, std::string::npos) << all;
  EXPECT_NE(all.find("path /x", first), std::string::npos) << all;
  EXPECT_EQ(all.find("500"), std::string::npos) << all;
}

TEST(HttpServer, SaysBusyWhenTheHandlerIsSilent) {
  HttpLimits limits;
  limits.answer_timeout_ms = 20;
  std::mutex mutex;
  std::vector<HttpServer::Reply> kept;
  auto server = HttpServer::Listen(
      "127.0.0.1:0",
      [&](const HttpRequest&, HttpServer::Reply reply) {
        const std::lock_guard<std::mutex> lock(mutex);
        kept.push_back(std::move(reply));
      },
      limits);
  ASSERT_TRUE(server.ok());
  Peer peer((*server)->address());
  peer.Send(kGet);
  EXPECT_EQ(peer.Rest().substr(0, 12), "HTTP/1.1 503");
  const std::lock_guard<std::mutex> lock(mutex);
  ASSERT_EQ(kept.size(), 1u);
  kept[0]({.body = "late"});  // nobody listens any more
}

TEST(HttpServer, AnswersMayComeAfterTheServerIsGone) {
  std::promise<HttpServer::Reply> asked;
  auto server = HttpServer::Listen("127.0.0.1:0", [&](const HttpRequest&, HttpServer::Reply reply) {
    asked.set_value(std::move(reply));
  });
  ASSERT_TRUE(server.ok());
  Peer peer((*server)->address());
  peer.Send(kGet);
  const HttpServer::Reply reply = asked.get_future().get();
  *server = nullptr;
  reply({.body = "late"});
  EXPECT_EQ(peer.Rest(), "");
}

TEST(HttpServer, AnswersComeFromAnyThread) {
  auto server = HttpServer::Listen("127.0.0.1:0", [](const HttpRequest&, HttpServer::Reply reply) {
    std::thread([reply = std::move(reply)] { reply({.body = "from elsewhere"}); }).detach();
  });
  ASSERT_TRUE(server.ok());
  for (int i = 0; i < 50; ++i) {
    Peer peer((*server)->address());
    peer.Send(kGet);
    EXPECT_NE(peer.Rest().find("from elsewhere"), std::string::npos);
  }
}

TEST(HttpServer, ClosesConnectionsAboveTheLimit) {
  HttpLimits limits;
  limits.connections = 2;
  auto server = HttpServer::Listen(
      "127.0.0.1:0", [](const HttpRequest&, HttpServer::Reply reply) { reply({.body = "served"}); },
      limits);
  ASSERT_TRUE(server.ok());
  auto first = std::make_unique<Peer>((*server)->address());
  Peer second((*server)->address());
  Peer third((*server)->address());
  EXPECT_EQ(third.Rest(), "");
  first->Send(kGet);
  EXPECT_NE(first->Rest().find("served"), std::string::npos);
}

TEST(HttpServer, GivesUpOnThoseWhoSayNothing) {
  HttpLimits limits;
  limits.request_timeout_ms = 20;
  auto server = HttpServer::Listen(
      "127.0.0.1:0", [](const HttpRequest&, HttpServer::Reply reply) { reply({.body = "served"}); },
      limits);
  ASSERT_TRUE(server.ok());
  Peer silent((*server)->address());
  EXPECT_EQ(silent.Rest(), "");  // returns: the server closed
}

TEST(HttpServer, RefusesAddresses) {
  const auto handler = [](const HttpRequest&, HttpServer::Reply) {};
  for (const char* bad : {"", "nowhere", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "h:80"}) {
    EXPECT_FALSE(HttpServer::Listen(bad, handler).ok()) << bad;
  }
  auto one = HttpServer::Listen("127.0.0.1:0", handler);
  ASSERT_TRUE(one.ok());
  const auto two = HttpServer::Listen((*one)->address(), handler);
  ASSERT_FALSE(two.ok());
  EXPECT_NE(two.error().message().find((*one)->address()), std::string::npos);
}

}  // namespace
}  // namespace dfs
