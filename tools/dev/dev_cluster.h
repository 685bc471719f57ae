// DevCluster: a whole cluster of real processes on this machine, for trying things out and for tests.
// Holds the lock of its directory while it exists. Thread-compatible.
#pragma once

#include <dfs/client.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/env.h"
#include "common/base/status.h"
#include "tools/dev/layout.h"

namespace dfs::dev {

struct CreateSpec {
  int namenodes = 1;
  int datanodes = 3;
  int port_base = 0;    // 0: the usual ports when they are free, otherwise free ones
  int replication = 0;  // 0: the smaller of 3 and the number of datanodes
  bool tcp = false;
  std::string log_level = "info";
  std::vector<std::string> namenode_settings;
  std::vector<std::string> datanode_settings;
};

struct MemberState {
  const Member* member = nullptr;
  ProcessState state = ProcessState::kGone;
  bool leader = false;
};

/// Everything `dfs dev status` shows.
struct DevStatus {
  std::vector<MemberState> members;
  bool reachable = false;  // a leader answered
  std::string why_not;
  ClusterStatus cluster;  // the leader's, when reachable
};

class DevCluster {
 public:
  /// Called when a member is ready, with the time since the start.
  using OnReady = std::function<void(const Member& member, int64_t elapsed_ns)>;

  /// kNotFound when the directory holds no cluster.
  static Result<std::unique_ptr<DevCluster>> Open(const std::string& directory);
  /// The directory must be absent or empty.
  static Result<std::unique_ptr<DevCluster>> Create(const std::string& directory,
                                                    const CreateSpec& spec);

  const Layout& layout() const { return layout_; }

  /// More datanodes, up to this number in all; they are started by Start().
  Status AddDatanodes(int total);
  /// Starts the named members, all when none is named, except those that run; returns when all are ready.
  /// When one fails, those started here are stopped again, and the error shows the end of its log.
  Status Start(const std::vector<std::string>& names, const OnReady& on_ready);
  /// Until there is a leader and every running datanode is registered with it.
  Status WaitUntilHealthy(int64_t timeout_ns);
  /// In order; what has not ended after timeout_ns is killed.
  Status Stop(int64_t timeout_ns);
  /// Kills everything and removes every file that dfs dev made.
  Status Destroy();

  /// The member by its name; "leader" is the namenode that leads now.
  Result<Member> Resolve(const std::string& name);
  Status Kill(const Member& member);
  Status Pause(const Member& member);
  Status Resume(const Member& member);

  ProcessState StateOfMember(const Member& member) const { return StateOf(member.process); }
  bool AnyRunning() const;
  DevStatus GetStatus(std::chrono::milliseconds timeout) const;
  Options ClientOptions() const;
  /// Makes `dfs` find this cluster.
  Status Announce() { return WriteDiscovery(layout_); }

 private:
  DevCluster(Layout layout, std::unique_ptr<FileLock> lock)
      : layout_(std::move(layout)), lock_(std::move(lock)) {}
  Status AssignPorts(int port_base);
  Status MakeVolume(const Member& member);
  Status WriteConfigs();
  Status CheckPorts(const std::vector<Member*>& starting);
  Status Format(const std::vector<Member*>& starting);
  Status AwaitReady(std::vector<Member*> waiting, int64_t started_ns, const OnReady& on_ready);
  std::string EndOfLog(const Member& member) const;

  Layout layout_;
  std::unique_ptr<FileLock> lock_;
};

}  // namespace dfs::dev
