// HttpGateway: a datanode's pages for browsers, Prometheus and load balancers. Confined to the control
// executor; the datanode must outlive it.
#pragma once

#include "common/http/http_server.h"
#include "datanode/control/datanode.h"

namespace dfs::dn {

class HttpGateway {
 public:
  explicit HttpGateway(Datanode& datanode) : datanode_(datanode) {}

  HttpResponse Handle(const HttpRequest& request) const;

 private:
  HttpResponse Ready() const;
  HttpResponse Metrics() const;
  HttpResponse StatusPage() const;

  Datanode& datanode_;
};

}  // namespace dfs::dn
