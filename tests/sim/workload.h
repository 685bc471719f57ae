// Workload: what the simulated clients do, and whether what they see is right.
//
// Each client's process runs eight fibers, each one operation at a time:
//  * names: exclusive create, unlink and stat of a few names that all clients share; every name's history
//    must be linearizable;
//  * tree: mkdir, create, link, rename, unlink, rmdir, xattrs and list in a directory of its own, against an exact model:
//    an operation that was applied twice, or never, shows at once;
//  * writer: append, overwrite, truncate, flush, sync, close of files, one writer at a time, taken over from dead ones;
//  * reader: reads of any file, checked against the writes that it may show;
//  * contest: writes and reads of two small files that all clients write at once;
//  * session: changes under a session that the clients take over from each other;
//  * locks: two files that all lock, of which what one held exclusively nobody else may have held.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/cluster.h"
#include "tests/sim/file_model.h"
#include "tests/sim/name_history.h"

namespace dfs::sim {

/// A directory that one fiber of one client has for itself, as far as is known.
struct TreeModel {
  struct Entry {
    bool is_dir = false;
    uint64_t inode = 0;
  };
  std::string root;
  bool root_made = false;
  std::map<std::string, Entry> entries;  // by path below root
  /// What user.sim of an inode may be; several while the fate of a change is unknown.
  std::map<uint64_t, std::set<std::string>> xattrs;
  /// Names whose fate is unknown: an operation on them never returned. Never used again.
  std::set<std::string> unknown;
  uint64_t next_name = 1;
};

struct SharedFile {
  explicit SharedFile(uint64_t id) : model(id) {}
  std::string path;
  FileModel model;
  bool exists = false;  // a create was acknowledged
  bool owned = false;   // some live fiber has it open
};

/// A small file that every client may write at any time: a register, which must be linearizable. Write n is the
/// n-th in writes; it fills the file with its number.
struct ContestedFile {
  struct Write {
    uint64_t invoked = 0;
    uint64_t returned = UINT64_MAX;  // synced and closed
  };
  std::string path;
  uint64_t size = 0;
  std::vector<Write> writes;

  /// "" or why a read that was invoked then may not show this write; 0: nothing.
  std::string Check(uint64_t number, uint64_t invoked) const;
};

/// A file that the clients lock, and who held it from when to when, as far as that is certain.
struct LockedFile {
  struct Hold {
    std::string who;
    int kind = 0;
    bool exclusive = false;
    uint64_t token = 0;
    uint64_t from = 0;
    uint64_t until = 0;
  };
  std::string path;
  uint64_t inode = 0;
  std::vector<Hold> holds;

  /// "" or why this cannot have been.
  std::string Add(const Hold& hold);
};

/// A session that any process may resume by its id and secret; whoever did it before is fenced from then on.
struct ResumableSession {
  int64_t id = 0;
  std::string secret;
  int64_t incarnation = 0;  // highest that was acknowledged
  uint64_t next_name = 1;
};

class Fiber;

class Workload {
 public:
  explicit Workload(Cluster& cluster);
  ~Workload();

  /// Begins on every client that is up, and on those that come.
  void Start();
  /// No new operations; handles are closed.
  void Drain() { draining_ = true; }
  bool draining() const { return draining_; }
  /// Everything that was begun has ended.
  bool Idle() const;
  std::string BusyFibers() const;

  /// The whole truth, by one client of a healed cluster: reads every file, lists every tree. done when
  /// Verified().
  void Verify();
  bool Verified() const;
  /// Linearizability of the shared names.
  void CheckHistories();

  Cluster& cluster() { return cluster_; }
  uint64_t Tick() { return ++clock_; }
  std::vector<std::unique_ptr<SharedFile>>& files() { return files_; }
  std::map<std::string, NameHistory>& names() { return names_; }
  std::vector<ContestedFile>& contested() { return contested_; }
  std::vector<LockedFile>& locked() { return locked_; }
  ResumableSession& session() { return session_; }

 private:
  friend class Fiber;
  void OnClientStart(size_t client);
  void OnClientFall(size_t client);

  Cluster& cluster_;
  bool draining_ = false;
  uint64_t clock_ = 0;
  std::vector<std::unique_ptr<SharedFile>> files_;
  std::map<std::string, NameHistory> names_;
  std::vector<ContestedFile> contested_;
  std::vector<LockedFile> locked_;
  ResumableSession session_;
  std::vector<std::unique_ptr<TreeModel>> trees_;            // by client
  std::vector<std::vector<std::shared_ptr<Fiber>>> fibers_;  // by client
  std::vector<std::shared_ptr<Fiber>> verifiers_;
};

/// True for outcomes that say nothing about whether the operation had its effect.
bool OutcomeUnknown(const Status& status);

}  // namespace dfs::sim
