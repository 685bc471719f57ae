// dfs top: the status, again and again, with rates.
#include <fmt/format.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/clock.h"
#include "tools/cli/cluster_health.h"
#include "tools/cli/commands.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

// Keys come one by one and are not shown, as long as it lives.
class RawTerminal {
 public:
  RawTerminal() {
    if (isatty(0) != 1 || tcgetattr(0, &before_) != 0) return;
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    changed_ = tcsetattr(0, TCSANOW, &raw) == 0;
  }
  ~RawTerminal() {
    if (changed_) tcsetattr(0, TCSANOW, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

  /// Until the time is over or somebody wants to stop: then false.
  bool Wait(int64_t ms) const {
    const int64_t until = SystemClock().BootNs() + ms * kMillisecond;
    while (!Interrupted()) {
      const int64_t left = (until - SystemClock().BootNs()) / kMillisecond;
      if (left <= 0) return true;
      pollfd in{changed_ ? 0 : -1, POLLIN, 0};
      if (poll(&in, 1, static_cast<int>(left)) <= 0) continue;
      char key = 0;
      if (read(0, &key, 1) != 1 || key == 'q' || key == 'Q') return false;
    }
    return false;
  }

 private:
  termios before_{};
  bool changed_ = false;
};

/// What grows with work, summed over the namenodes that answer, and when it was asked.
struct Counts {
  int64_t at_ns = 0;
  uint64_t changes = 0;
  uint64_t syncs = 0;
};

Counts CountsOf(const std::vector<MemberAnswer>& members) {
  Counts out;
  out.at_ns = SystemClock().BootNs();
  for (const MemberAnswer& m : members) {
    if (!m.status) continue;
    out.changes = std::max(out.changes, m.status->commit_index);
    out.syncs += m.status->log_fsyncs;
  }
  return out;
}

/// Per second; 0 after a member has begun anew.
double Rate(uint64_t before, uint64_t now, int64_t ns) {
  return now < before || ns <= 0
             ? 0
             : static_cast<double>(now - before) * 1e9 / static_cast<double>(ns);
}

struct Screen {
  bool json = false;
  bool terminal = false;
  Counts before;

  void Show(const ClusterStatus& status, const std::vector<MemberAnswer>& members) {
    const Counts now = CountsOf(members);
    const int64_t ns = before.at_ns == 0 ? 0 : now.at_ns - before.at_ns;
    const double changes = Rate(before.changes, now.changes, ns);
    const double syncs = Rate(before.syncs, now.syncs, ns);
    before = now;
    const std::vector<Finding> findings = Examine(status, members);
    if (json) {
      nlohmann::json j = ClusterAsJson(status);
      j["schema"] = "dfs.top/1";
      j["changes_per_second"] = changes;
      j["log_fsyncs_per_second"] = syncs;
      PrintJson(j);
    } else {
      std::string text = terminal ? "\x1b[H\x1b[J" : "";
      text += StatusText(status, members, findings);
      text += fmt::format("\n{:.0f} changes/s, {:.0f} log syncs/s{}\n", changes, syncs,
                          terminal ? "    q: quit" : "");
      std::fputs(text.c_str(), stdout);
    }
    std::fflush(stdout);
  }
};

}  // namespace

int RunTop(const Arguments& arguments) {
  Verb verb("top", "The state of the cluster and what it is doing, renewed until q or Ctrl-C.",
            "  dfs top\n  dfs top --interval 10s --json >> cluster.ndjson");
  std::string interval = "2s";
  int64_t rounds = 0;
  verb.args().Option("--interval", &interval, "Between two looks (2s)");
  verb.args().Option("-n,--rounds", &rounds, "End after so many (never)", 1, INT64_MAX);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  int64_t interval_ns = 0;
  if (!ParseDuration(interval, &interval_ns) || interval_ns < 100 * kMillisecond) {
    return verb.args().UsageError("'" + interval + "' is not a time of 100ms or more");
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  CatchInterrupts();
  Screen screen;
  screen.json = verb.json();
  screen.terminal = StdoutIsTerminal() && !verb.json();
  const RawTerminal keys;
  for (int64_t round = 1;; ++round) {
    const Result<ClusterStatus> status = client->cluster_status();
    if (status) {
      screen.Show(*status, client->member_status());
      verb.Succeeded();
    } else if (Interrupted()) {
      break;
    } else {
      verb.Failed("get the status of", "the cluster", status.error());
    }
    if (std::ferror(stdout) != 0 || round == rounds) break;
    if (!keys.Wait(interval_ns / kMillisecond)) return kExitOk;  // that is how it ends
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
