// Report: what a benchmark prints, as text while it runs and as one JSON document at the end; and the costs of a
// measurement, which are read before and after it: fsyncs of the logs, CPU time and memory of daemons.
#pragma once

#include <dfs/client.h>

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/bench/workers.h"
#include "tools/dev/dev_cluster.h"

namespace dfs::bench {

/// One number beside the measurement, e.g. an aim or a part of the whole.
using Extras = std::map<std::string, double>;

struct Costs {
  std::map<std::string, uint64_t> log_fsyncs;  // by namenode
  std::map<std::string, double> cpu_seconds;   // by daemon; empty when their pids are not known
};

/// What the parts of the benchmark share.
struct Bench {
  Options client;
  dev::DevCluster* cluster = nullptr;  // null: a cluster that is not ours, no pids, no kills
  std::string scratch;  // a directory on the disk of the datanodes, for the bare parts
  double seconds = 3;   // of each timed measurement
  bool quick = false;
  bool as_json = false;
};

class Report {
 public:
  explicit Report(const Bench& bench);
  ~Report();

  void Section(const std::string& title);
  /// Starts the clock of costs.
  void Begin();
  /// One measurement of calls: rate, p50, p99, costs since Begin().
  void Calls(const std::string& name, int callers, const WorkerTotals& totals,
             const Extras& extras = {});
  /// A rate of bytes.
  void Throughput(const std::string& name, uint64_t bytes, double seconds,
                  const Extras& extras = {});
  /// Any other number.
  void Number(const std::string& name, double value, const std::string& unit,
              const Extras& extras = {});
  void Failed(const std::string& name, const Status& why);
  bool any_failed() const { return failed_; }
  /// The whole, with --json.
  void PrintJson() const;

 private:
  Costs ReadCosts() const;
  std::string CostsAsText(const Costs& since) const;
  void Add(nlohmann::json row, const Extras& extras, bool with_costs);

  const Bench& bench_;
  std::unique_ptr<Client> client_;  // asks for status only
  std::unique_ptr<nlohmann::json> rows_;
  std::string section_;
  Costs before_;
  bool failed_ = false;
};

/// Prints to stderr when the output is JSON, else to stdout.
void Say(const Bench& bench, const std::string& line);

}  // namespace dfs::bench
