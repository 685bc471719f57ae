// HttpServer: answers GET and HEAD on one TCP address. Read-only by nature: a request has a path and
// nothing else. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/base/status.h"

namespace dfs {

struct HttpRequest {
  std::string path;  // without the query; begins with '/'
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

struct HttpLimits {
  size_t header_bytes = 8 << 10;
  size_t connections = 64;              // further ones are closed at once
  int64_t request_timeout_ms = 10'000;  // to send a request, to take an answer
  int64_t answer_timeout_ms = 5'000;    // of the handler: then 503
};

class HttpServer {
 public:
  using Reply = std::function<void(HttpResponse)>;
  /// Called on the server's thread; must not block. Reply may be called from any thread, then or later, also
  /// after the server is gone; calls after the first have no effect. The handler is kept until no reply is
  /// being called any more, so what it refers to must be reached weakly or outlive them.
  using Handler = std::function<void(const HttpRequest&, Reply)>;

  /// address: "127.0.0.1:9870", "[::]:9870"; port 0: any. kBusy when the port is in use, kInvalidArgument.
  static Result<std::unique_ptr<HttpServer>> Listen(const std::string& address, Handler handler,
                                                    HttpLimits limits = {});
  /// Stops and joins the thread; open connections are cut.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// As bound: "127.0.0.1:9870".
  std::string address() const;

 private:
  struct Impl;
  explicit HttpServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace dfs
