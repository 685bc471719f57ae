// RemoteReader: reads a replica of another datanode over a block stream (recovery). Confined to the
// network's executor.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/task.h"
#include "common/idl/idl_fwd.h"
#include "common/rpc/transport.h"

namespace dfs::dn {

struct RemoteRange {
  uint64_t block = 0;
  uint64_t stamp = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  std::string token;
  bool sums_only = false;
  bool open_block = false;
};

class RemoteReader : public std::enable_shared_from_this<RemoteReader> {
 public:
  /// on_data is called for each packet (whole chunks, verified against the sums that came with
  /// them; no data when sums_only); an error of its ends the read. done is called once, last, never
  /// from within Start.
  using OnData = std::function<Status(uint64_t offset, Buffer data, std::vector<uint64_t> sums)>;
  using Done = UniqueFunction<void(Status)>;
  /// source: its Unix socket is used when it is on this host.
  static std::shared_ptr<RemoteReader> Start(rpc::Network& network,
                                             const idl::ReplicaLocation& source,
                                             const std::string& own_host_id, RemoteRange range,
                                             OnData on_data, Done done);
  virtual ~RemoteReader() = default;
  virtual void Cancel() = 0;

 protected:
  RemoteReader() = default;
};

/// Where to reach a datanode from host_id: its Unix socket on the same host, else TCP.
Result<rpc::Address> AddressFrom(const std::string& host_id, const idl::ReplicaLocation& location);

}  // namespace dfs::dn
