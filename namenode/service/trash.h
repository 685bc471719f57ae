// Trash: the leader's part of the trash (docs/operations.md). It makes the places that what is removed is renamed to,
// and takes away for good what was kept long enough: one RemoveTree at a time, whose trees Reclaimer takes apart.
//
// /.Trash belongs to root and nobody else may list or write it; /.Trash/UID belongs to UID and to nobody else. They are
// made by the leader, since no user may be able to make another's.
//
// Confined to the namenode's executor. Nothing of it is replicated: all that a new leader needs is in the names.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "common/auth/credentials.h"
#include "common/base/executor.h"
#include "namenode/state/commands.h"
#include "namenode/state/reader.h"

namespace dfs::nn {

/// How long something is kept: the whole time while more than 10% of the datanodes' space is free, a 24th of it from 5%
/// down, in proportion between. So the trash gives space back when it is needed, and a mistake can still be undone.
int64_t EffectiveTrashKeep(int64_t keep_ns, uint64_t available_bytes, uint64_t capacity_bytes);

class Trash {
 public:
  struct Space {
    uint64_t capacity_bytes = 0;
    uint64_t available_bytes = 0;
  };
  using SpaceSource = std::function<Space()>;
  /// Into the log on behalf of somebody, outside every session.
  using Proposer =
      std::function<void(Credentials who, CommandBody, UniqueFunction<void(Result<std::string>)>)>;

  Trash(int64_t keep_ns, Executor& executor, StateReader& state, SpaceSource space,
        Proposer proposer);
  ~Trash();

  bool keeps() const { return keep_ns_ > 0; }
  /// As things are now; 0 when there is no trash.
  int64_t effective_keep_ns() const;

  struct Place {
    InodeId directory;  // in which to put it under its own name
    std::string directory_path;
    std::string of;  // the path that it was made for
  };
  /// Makes a place for what is at the path now: absolute, below the root, no "." nor ".." in it.
  void Prepare(const Credentials& who, const std::string& path,
               UniqueFunction<void(Result<Place>)> done);

  void OnLeading();
  void OnLeadershipLost();

 private:
  struct Preparation;
  void PrepareStep(std::shared_ptr<Preparation> p);
  void MakeEntry(std::shared_ptr<Preparation> p, InodeId own);
  void Continue(std::shared_ptr<Preparation> p, Credentials who, CommandBody body);

  void StepAfter(int64_t delay_ns);
  void Step();
  /// One page of one user's entries; false when that was the last of all.
  Result<bool> Look();
  void RemoveNext();

  const int64_t keep_ns_;
  Executor& executor_;
  StateReader& state_;
  SpaceSource space_;
  Proposer proposer_;
  int64_t last_entry_ns_ = 0;

  // Where the pass over the trash is.
  Executor::TimerId timer_ = 0;
  bool leading_ = false;
  uint64_t user_cookie_ = 0;  // of the last user that is done
  InodeId user_;              // whose entries are looked at; invalid: the next one's
  uint64_t next_user_cookie_ = 0;
  uint64_t entry_cookie_ = 0;
  std::deque<std::string> due_;  // entries of user_ that have to go
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace dfs::nn
