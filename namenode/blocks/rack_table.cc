#include "namenode/blocks/rack_table.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace dfs::nn {

namespace {

/// The bytes of an IPv4 or IPv6 address; "" when it is none.
std::string AddressBytes(std::string_view text) {
  const std::string terminated(text);
  char bytes[16];
  if (::inet_pton(AF_INET, terminated.c_str(), bytes) == 1) return std::string(bytes, 4);
  if (::inet_pton(AF_INET6, terminated.c_str(), bytes) == 1) return std::string(bytes, 16);
  return "";
}

bool Within(std::string_view address, std::string_view network, int bits) {
  if (address.size() != network.size()) return false;
  const size_t whole = static_cast<size_t>(bits) / 8;
  if (address.substr(0, whole) != network.substr(0, whole)) return false;
  if (bits % 8 == 0) return true;
  const int mask = 0xFF << (8 - bits % 8);
  return ((address[whole] ^ network[whole]) & mask & 0xFF) == 0;
}

/// Without the port, and the brackets of an IPv6 address.
std::string_view HostOf(std::string_view address) {
  if (address.starts_with('[')) {
    const size_t end = address.find(']');
    return end == address.npos ? address : address.substr(1, end - 1);
  }
  const size_t colon = address.rfind(':');
  return colon == address.npos ? address : address.substr(0, colon);
}

constexpr std::string_view kBlank = " \t\r";

std::string_view TakeWord(std::string_view* line) {
  line->remove_prefix(std::min(line->find_first_not_of(kBlank), line->size()));
  const std::string_view word = line->substr(0, line->find_first_of(kBlank));
  line->remove_prefix(word.size());
  return word;
}

}  // namespace

Result<RackTable> RackTable::Parse(std::string_view text) {
  if (text.size() > kMaxBytes) return Status(Code::kInvalidArgument, "more than 4 MiB");
  RackTable table;
  for (int number = 1; !text.empty(); ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    line = line.substr(0, line.find('#'));
    const std::string_view who = TakeWord(&line), rack = TakeWord(&line), more = TakeWord(&line);
    const auto wrong = [&](const char* what) {
      return Status(Code::kInvalidArgument, fmt::format("line {}: {}", number, what));
    };
    if (who.empty()) continue;
    if (rack.empty() || !more.empty()) return wrong("not a host and its rack");
    if (!rack.starts_with('/') || rack.size() < 2 || rack.size() > kMaxRackBytes) {
      return wrong("a rack begins with / and has up to 255 bytes");
    }
    const size_t slash = who.find('/');
    if (slash == who.npos) {
      if (!table.exact_.emplace(who, rack).second) return wrong("the same host again");
      continue;
    }
    Network network{AddressBytes(who.substr(0, slash)), -1, std::string(rack)};
    const std::string_view bits = who.substr(slash + 1);
    const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), network.bits);
    if (network.bytes.empty() || error != std::errc() || end != bits.data() + bits.size() ||
        network.bits < 0 || network.bits > static_cast<int>(network.bytes.size() * 8)) {
      return wrong("not a network such as 10.0.1.0/24");
    }
    table.networks_.push_back(std::move(network));
  }
  std::stable_sort(table.networks_.begin(), table.networks_.end(),
                   [](const Network& a, const Network& b) { return a.bits > b.bits; });
  return table;
}

std::string_view RackTable::Find(std::string_view address, std::string_view host_id) const {
  const std::string_view host = HostOf(address);
  for (const std::string_view name : {address, host, host_id}) {
    if (auto it = exact_.find(name); it != exact_.end()) return it->second;
  }
  const std::string bytes = AddressBytes(host);
  if (bytes.empty()) return "";
  for (const Network& network : networks_) {
    if (Within(bytes, network.bytes, network.bits)) return network.rack;
  }
  return "";
}

}  // namespace dfs::nn
