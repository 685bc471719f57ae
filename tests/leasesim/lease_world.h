// The world of the lease simulation: a cluster, mounts with their kernels, one client without leases, and what is known of
// every thing that they look at and change.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "fuse/file_system.h"
#include "tests/leasesim/history.h"
#include "tests/leasesim/kernel_model.h"
#include "tests/sim/cluster.h"

namespace dfs::sim {

class LeaseWorld;

/// A machine with a mount. What programs on it had written and not synced is as good as lost when it dies, or when its
/// session's term ends.
class Mount {
 public:
  Mount(LeaseWorld& world, ClientHost& host);

  ClientHost& host() { return host_; }
  SimNode& kernel_node() { return kernel_node_; }
  KernelModel* kernel() { return kernel_.get(); }
  const std::string& name() const { return host_.name(); }
  /// For the mount that a program was started on: another one has begun since when it differs.
  uint64_t life() const { return life_; }

  struct Written {
    std::string cell;
    std::string size;  // the history of the file's size
    uint64_t file = 0;
    uint64_t when = 0;
  };
  void NoteWritten(Written written) { unsynced_.push_back(std::move(written)); }
  /// Everything of the file that was written before then is safe.
  void NoteSynced(uint64_t file, uint64_t when);
  /// What is not synced may be gone, and may come back.
  void NoteLost();
  uint64_t losses() const { return losses_; }

 private:
  void OnStart();
  void OnFall();
  void WatchTerm();

  LeaseWorld& world_;
  ClientHost& host_;
  SimNode& kernel_node_;
  std::shared_ptr<KernelModel> kernel_;
  std::unique_ptr<fuse::FileSystem> files_;
  std::vector<Written> unsynced_;
  uint64_t life_ = 0;
  uint64_t losses_ = 0;
  bool in_term_ = false;
};

class Program;

class LeaseWorld {
 public:
  explicit LeaseWorld(Cluster& cluster);
  ~LeaseWorld();

  /// Makes the directories and files, by the client without leases.
  void Prepare();
  bool prepared() const { return prepared_; }
  void Start();
  void Drain() { draining_ = true; }
  bool draining() const { return draining_; }
  void LeaveFilesAlone() { files_ = false; }
  /// Whether programs read and write.
  bool files() const { return files_; }
  std::string Busy() const;
  void CheckHistories();

  Cluster& cluster() { return cluster_; }
  Random& random() { return cluster_.random(); }
  std::vector<std::unique_ptr<Mount>>& mounts() { return mounts_; }
  ClientHost& plain() { return *cluster_.clients()[0]; }
  uint64_t Tick() { return ++clock_; }
  uint64_t NextValue() { return ++value_; }
  /// Values that are being written; they stay when the writer dies.
  std::set<uint64_t>& under_way() { return under_way_; }
  /// A thing with its history; states is what it is in the beginning.
  History& Of(const std::string& thing, const History::State& initial = {0});
  void StartPrograms(Mount& mount);
  void EndPrograms(const Mount& mount);

 private:
  void PrepareNext(size_t step);

  Cluster& cluster_;
  bool prepared_ = false;
  bool started_ = false;
  bool draining_ = false;
  bool files_ = true;
  uint64_t clock_ = 0;
  uint64_t value_ = 0;
  std::set<uint64_t> under_way_;
  std::map<std::string, History> histories_;
  std::vector<std::unique_ptr<Mount>> mounts_;
  std::vector<std::shared_ptr<Program>> programs_;
};

/// A sequence of calls of one process. Dies with its mount.
class Program : public std::enable_shared_from_this<Program> {
 public:
  Program(LeaseWorld& world, SimNode& node, std::string name)
      : world_(world), node_(node), name_(std::move(name)) {}
  virtual ~Program() = default;
  void Start() { Next(); }
  virtual const Mount* mount() const { return nullptr; }
  bool idle() const { return idle_; }
  std::string doing() const { return name_ + ": " + doing_; }

 protected:
  virtual void Act() = 0;
  /// While draining; false: nothing is left to do.
  virtual bool Finish() { return false; }
  void Next();
  void Doing(std::string what);
  void Note(const Status& status);
  void Fail(const std::string& why) { world_.cluster().Fail(name_ + " " + doing_ + ": " + why); }
  Random& random() { return world_.random(); }

  LeaseWorld& world_;
  SimNode& node_;

 private:
  const std::string name_;
  std::string doing_;
  bool idle_ = false;
};

std::shared_ptr<Program> MakeMountProgram(LeaseWorld& world, Mount& mount, size_t number);
std::shared_ptr<Program> MakePlainProgram(LeaseWorld& world);

/// What there is to work on.
struct Thing {
  const char* directory;
  const char* name;
};
/// Names that are made and removed, each with a history of its own.
inline constexpr Thing kSingles[] = {{"d1", "a"}, {"d1", "b"}, {"d2", "a"}, {"d1", "s"}};
/// Names that are renamed to each other and linked, with one history.
inline constexpr Thing kPair[] = {{"d1", "x"}, {"d2", "x"}, {"d1", "y"}};
/// Files that stay, with cells of kCell bytes at these offsets.
struct FileThing {
  const char* directory;
  const char* name;
  uint64_t cells[4];
};
inline constexpr uint64_t kCell = 64;
inline constexpr FileThing kFiles[] = {{"d1", "f1", {0, 192, 448, 896}},
                                       {"d2", "f2", {0, 2048, 4096, 70'016}}};

}  // namespace dfs::sim
