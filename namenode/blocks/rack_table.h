// RackTable: where machines stand, from a table that an operator keeps. Immutable.
//
//   # host, address, or network    rack
//   10.0.1.0/24                    /dc1/r1
//   10.0.2.17                      /dc1/r7
//   fd00:2::/32                    /dc2/r1
//   disk-17.example.com            /dc1/r2
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace dfs::nn {

class RackTable {
 public:
  static constexpr size_t kMaxBytes = 4u << 20;
  static constexpr size_t kMaxRackBytes = 255;

  /// kInvalidArgument names the line that is wrong.
  static Result<RackTable> Parse(std::string_view text);

  /// Of a datanode that gave this address ("10.0.1.5:9866", "[fd00::1]:9866") and this id of its host; "" when the
  /// table says nothing. A name or an address in the table comes before a network, a smaller network before a larger.
  std::string_view Find(std::string_view address, std::string_view host_id) const;
  size_t size() const { return exact_.size() + networks_.size(); }

 private:
  struct Network {
    std::string bytes;  // 4 or 16
    int bits = 0;
    std::string rack;
  };
  std::map<std::string, std::string, std::less<>> exact_;
  std::vector<Network> networks_;  // the smallest first
};

}  // namespace dfs::nn
