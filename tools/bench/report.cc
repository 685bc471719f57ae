#include "tools/bench/report.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/json_out.h"
#include "tools/cli/text.h"

namespace dfs::bench {

using nlohmann::json;

void Say(const Bench& bench, const std::string& line) {
  std::FILE* out = bench.as_json ? stderr : stdout;
  std::fputs((line + "\n").c_str(), out);
  std::fflush(out);
}

Report::Report(const Bench& bench) : bench_(bench), rows_(std::make_unique<json>(json::array())) {
  Options options = bench.client;
  options.client_name = "dfs-bench";
  Result<Client> client = Client::connect(options);
  if (client) client_ = std::make_unique<Client>(std::move(*client));
}

Report::~Report() = default;

void Report::Section(const std::string& title) {
  section_ = title;
  Say(bench_, "\n" + title);
}

Costs Report::ReadCosts() const {
  Costs out;
  if (client_ != nullptr) {
    for (const MemberAnswer& m : client_->member_status()) {
      if (m.status) {
        out.log_fsyncs[fmt::format("namenode-{}", m.status->node_id)] = m.status->log_fsyncs;
      }
    }
  }
  if (bench_.cluster != nullptr) {
    for (const dev::Member& m : bench_.cluster->layout().members) {
      out.cpu_seconds[m.name] = dev::UsageOf(m.process).cpu_seconds;
    }
  }
  return out;
}

void Report::Begin() {
  before_ = ReadCosts();
}

std::string Report::CostsAsText(const Costs& now) const {
  std::string out;
  uint64_t fsyncs = 0;
  for (const auto& [name, value] : now.log_fsyncs) {
    const auto it = before_.log_fsyncs.find(name);
    if (it != before_.log_fsyncs.end() && value >= it->second) fsyncs += value - it->second;
  }
  out += fmt::format("log fsyncs {}", fsyncs);
  if (now.cpu_seconds.empty()) return out;
  out += "; CPU s";
  for (const auto& [name, value] : now.cpu_seconds) {
    const auto it = before_.cpu_seconds.find(name);
    const double used = it == before_.cpu_seconds.end() ? value : value - it->second;
    const std::string shorter = (name[0] == 'n' ? "nn" : "dn") + name.substr(name.rfind('-') + 1);
    out += fmt::format(" {} {:.2f}", shorter, used);
  }
  return out;
}

void Report::Add(json row, const Extras& extras, bool with_costs) {
  row["section"] = section_;
  for (const auto& [key, value] : extras) row[key] = value;
  if (with_costs) {
    const Costs now = ReadCosts();
    json fsyncs = json::object();
    for (const auto& [name, value] : now.log_fsyncs) {
      const auto it = before_.log_fsyncs.find(name);
      if (it != before_.log_fsyncs.end()) {
        fsyncs[name] = static_cast<int64_t>(value) - static_cast<int64_t>(it->second);
      }
    }
    json cpu = json::object();
    for (const auto& [name, value] : now.cpu_seconds) {
      const auto it = before_.cpu_seconds.find(name);
      cpu[name] = it == before_.cpu_seconds.end() ? value : value - it->second;
    }
    row["log_fsyncs"] = fsyncs;
    row["cpu_seconds"] = cpu;
  }
  rows_->push_back(std::move(row));
}

void Report::Calls(const std::string& name, int callers, const WorkerTotals& t,
                   const Extras& extras) {
  const auto us = [](int64_t ns) { return static_cast<double>(ns) / 1e3; };
  const double p50 = us(t.latency.Percentile(0.5));
  const double p99 = us(t.latency.Percentile(0.99));
  std::string more;
  for (const auto& [key, value] : extras) more += fmt::format("  {} {:.4g}", key, value);
  Say(bench_, fmt::format("  {:<22} {:>3} callers  {:>9.0f} /s  p50 {:>8.0f} us  p99 {:>8.0f} us  "
                          "[{} calls; {}]{}",
                          name, callers, t.per_second(), p50, p99, t.latency.total,
                          CostsAsText(ReadCosts()), more));
  Add({{"name", name},
       {"callers", callers},
       {"calls", t.latency.total},
       {"seconds", t.seconds},
       {"per_second", t.per_second()},
       {"p50_us", p50},
       {"p99_us", p99},
       {"max_us", us(t.latency.max_ns)},
       {"failed", t.failed}},
      extras, true);
  if (t.failed > 0) Failed(name, Status(Code::kInternal, t.first_error));
}

void Report::Throughput(const std::string& name, uint64_t bytes, double seconds,
                        const Extras& extras) {
  const double rate = seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
  std::string more;
  for (const auto& [key, value] : extras) more += fmt::format("  {} {:.3g}", key, value);
  Say(bench_, fmt::format("  {:<34} {:>8.0f} MiB/s  {:>7.2f} s  [{}]{}", name, rate / (1 << 20),
                          seconds, CostsAsText(ReadCosts()), more));
  Add({{"name", name}, {"bytes", bytes}, {"seconds", seconds}, {"bytes_per_second", rate}}, extras,
      true);
}

void Report::Number(const std::string& name, double value, const std::string& unit,
                    const Extras& extras) {
  std::string more;
  for (const auto& [key, extra] : extras) more += fmt::format("  {} {:.4g}", key, extra);
  Say(bench_, fmt::format("  {:<44} {:>10.4g} {}{}", name, value, unit, more));
  Add({{"name", name}, {"value", value}, {"unit", unit}}, extras, false);
}

void Report::Failed(const std::string& name, const Status& why) {
  failed_ = true;
  Say(bench_, fmt::format("  {} FAILED: {}", name, why.ToString()));
  Add({{"name", name}, {"error", why.ToString()}}, {}, false);
}

void Report::PrintJson() const {
  if (!bench_.as_json) return;
  cli::PrintJson({{"schema", "dfs.bench/1"}, {"ok", !failed_}, {"rows", *rows_}});
}

}  // namespace dfs::bench
