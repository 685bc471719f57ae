#include "common/http/http_server.h"

#include <fmt/format.h>
#include <pthread.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <chrono>
#include <optional>
#include <thread>

namespace dfs {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

/// What a session needs of its server. Sessions live in what waits in io, and end with it.
struct Shared {
  HttpServer::Handler handler;
  HttpLimits limits;
  size_t connections = 0;  // the server's thread only
  asio::io_context io{1};
};

/// One connection: reads a request, has it answered, writes the answer, and again.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, const std::shared_ptr<Shared>& shared)
      : stream_(std::move(socket)), timer_(shared->io), shared_(*shared), weak_shared_(shared) {
    ++shared_.connections;
  }
  ~Session() { --shared_.connections; }

  void Read() {
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(shared_.limits.header_bytes));
    parser_->body_limit(0);
    stream_.expires_after(std::chrono::milliseconds(shared_.limits.request_timeout_ms));
    http::async_read(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](error_code error, size_t) { self->OnRead(error); });
  }

 private:
  void OnRead(error_code error) {
    if (error == http::error::header_limit) return Refuse(431, "too large\n");
    if (error == http::error::body_limit) return Refuse(413, "a body is not taken\n");
    if (error == http::error::end_of_stream || error == http::error::partial_message) return;
    if (error && error.category() == http::make_error_code(http::error::bad_method).category()) {
      return Refuse(400, "not HTTP\n");
    }
    if (error) return;  // the peer went away, or took too long
    const auto& request = parser_->get();
    keep_alive_ = request.keep_alive();
    head_ = request.method() == http::verb::head;
    if (!head_ && request.method() != http::verb::get) return Refuse(405, "only GET and HEAD\n");
    HttpRequest out;
    out.path = std::string(request.target().substr(0, request.target().find('?')));
    if (out.path.empty() || out.path[0] != '/') return Refuse(400, "the path must begin with /\n");
    Ask(out);
  }

  void Ask(const HttpRequest& request) {
    const uint64_t number = ++asked_;
    stream_.expires_never();
    timer_.expires_after(std::chrono::milliseconds(shared_.limits.answer_timeout_ms));
    // What waits for the timer keeps the session; the reply, which others hold, must not.
    timer_.async_wait([self = shared_from_this(), number](error_code error) {
      if (!error) self->Answer(number, {503, "text/plain", "the daemon is busy\n"});
    });
    shared_.handler(request, [weak_shared = weak_shared_, weak = weak_from_this(),
                              number](HttpResponse response) {
      const std::shared_ptr<Shared> shared = weak_shared.lock();
      if (!shared) return;  // the server is gone
      asio::post(shared->io, [weak, number, response = std::move(response)]() mutable {
        if (auto self = weak.lock()) self->Answer(number, std::move(response));
      });
    });
  }

  void Refuse(int status, std::string why) {
    keep_alive_ = false;
    Answer(++asked_, {status, "text/plain; charset=utf-8", std::move(why)});
  }

  void Answer(uint64_t number, HttpResponse answer) {
    if (number != asked_ || number == answered_) return;
    answered_ = number;
    timer_.cancel();
    response_ = {};
    response_.version(11);
    response_.result(static_cast<unsigned>(answer.status));
    response_.set(http::field::content_type, answer.content_type);
    response_.set(http::field::cache_control, "no-store");
    response_.set("X-Content-Type-Options", "nosniff");
    response_.set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    if (answer.status == 405) response_.set(http::field::allow, "GET, HEAD");
    response_.keep_alive(keep_alive_);
    response_.body() = std::move(answer.body);
    response_.prepare_payload();
    if (head_) response_.body().clear();  // the length stays
    stream_.expires_after(std::chrono::milliseconds(shared_.limits.request_timeout_ms));
    http::async_write(stream_, response_, [self = shared_from_this()](error_code error, size_t) {
      if (error) return;
      if (self->keep_alive_) return self->Read();
      error_code ignored;
      self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    });
  }

  beast::tcp_stream stream_;
  beast::flat_buffer buffer_{64 << 10};
  std::optional<http::request_parser<http::empty_body>> parser_;
  http::response<http::string_body> response_;
  asio::steady_timer timer_;
  Shared& shared_;
  std::weak_ptr<Shared> weak_shared_;
  uint64_t asked_ = 0;
  uint64_t answered_ = 0;
  bool keep_alive_ = false;
  bool head_ = false;
};

Result<tcp::endpoint> ParseEndpoint(const std::string& text) {
  const Status bad(Code::kInvalidArgument, fmt::format("'{}' is not ADDRESS:PORT", text));
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return bad;
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (host == "localhost") host = "127.0.0.1";
  uint16_t port = 0;
  const auto [end, wrong] =
      std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
  if (wrong != std::errc() || end != text.data() + text.size()) return bad;
  error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (error) return bad;
  return tcp::endpoint(address, port);
}

}  // namespace

struct HttpServer::Impl {
  explicit Impl(std::shared_ptr<Shared> s) : shared(std::move(s)), acceptor(shared->io) {}

  Status Open(const tcp::endpoint& endpoint) {
    error_code error;
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) return Status::FromSystem(error.value(), "cannot listen for HTTP");
    return Status::Ok();
  }

  void Accept() {
    acceptor.async_accept([this](error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (error) return AcceptLater();
      if (shared->connections < shared->limits.connections) {
        std::make_shared<Session>(std::move(socket), shared)->Read();
      }
      Accept();
    });
  }

  // Out of descriptors, most likely: not at once again.
  void AcceptLater() {
    pause.expires_after(std::chrono::milliseconds(100));
    pause.async_wait([this](error_code error) {
      if (!error) Accept();
    });
  }

  std::shared_ptr<Shared> shared;
  tcp::acceptor acceptor;
  asio::steady_timer pause{shared->io};
  std::thread thread;
};

Result<std::unique_ptr<HttpServer>> HttpServer::Listen(const std::string& address, Handler handler,
                                                       HttpLimits limits) {
  DFS_ASSIGN_OR_RETURN(const tcp::endpoint endpoint, ParseEndpoint(address));
  auto shared = std::make_shared<Shared>();
  shared->handler = std::move(handler);
  shared->limits = limits;
  auto impl = std::make_shared<Impl>(shared);
  const Status opened = impl->Open(endpoint);
  if (!opened) return opened.WithContext(address);
  impl->Accept();
  impl->thread = std::thread([shared] {
    ::pthread_setname_np(::pthread_self(), "dfs-http");
    shared->io.run();
  });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() {
  impl_->shared->io.stop();
  impl_->thread.join();
}

std::string HttpServer::address() const {
  error_code error;
  const tcp::endpoint bound = impl_->acceptor.local_endpoint(error);
  const std::string host = bound.address().to_string();
  return bound.address().is_v6() ? fmt::format("[{}]:{}", host, bound.port())
                                 : fmt::format("{}:{}", host, bound.port());
}

}  // namespace dfs
