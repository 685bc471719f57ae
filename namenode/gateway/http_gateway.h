// HttpGateway: a namenode's pages for browsers, Prometheus and load balancers. Confined to the namenode's
// executor; the namenode must outlive it and be started.
#pragma once

#include <deque>

#include "common/base/executor.h"
#include "common/http/http_server.h"
#include "namenode/service/namenode.h"

namespace dfs::nn {

class HttpGateway {
 public:
  HttpGateway(Namenode& namenode, Executor& executor);
  ~HttpGateway();
  HttpGateway(const HttpGateway&) = delete;
  HttpGateway& operator=(const HttpGateway&) = delete;

  HttpResponse Handle(const HttpRequest& request) const;

 private:
  /// What grows, once a second: the page shows rates over the last ten.
  struct Sample {
    int64_t at_ns = 0;
    uint64_t requests = 0;
    uint64_t changes = 0;
    uint64_t syncs = 0;
  };
  void TakeSample();
  HttpResponse Ready() const;
  HttpResponse Metrics() const;
  HttpResponse StatusPage() const;

  Namenode& namenode_;
  Executor& executor_;
  std::deque<Sample> samples_;
  Executor::TimerId timer_ = 0;
};

}  // namespace dfs::nn
