// A trivial replicated state machine: the list of commands applied, as a hash chain and a count. What it holds
// is durable as of its last flush, which can be made to take its time.
#pragma once

#include <set>
#include <string>

#include "common/base/checksum.h"
#include "common/base/codec.h"
#include "common/base/env.h"
#include "namenode/replication/applier.h"

namespace dfs::nn {

class TestApplier final : public Applier {
 public:
  TestApplier(Env& env, std::string directory) : env_(env), directory_(std::move(directory)) {
    if (env_.Exists(directory_ + "/state")) {
      auto data = env_.ReadFile(directory_ + "/state");
      if (data) Load(*data);
    } else {
      (void)env_.CreateDirs(directory_).ok();
    }
    flushed_ = applied_;
  }

  LogPosition applied() const override { return applied_; }
  LogPosition flushed() const override {
    if (flush_pending_ && ++polls_ >= flush_delay_polls) const_cast<TestApplier*>(this)->FlushNow();
    return flushed_;
  }
  Status Apply(LogIndex index, Term term, std::string_view command,
               Result<std::string>* reply) override {
    if (command == "poison") return Status(Code::kVersionMismatch, "unknown command");
    if (index != applied_.index + 1) return Status(Code::kInternal, "applied out of order");
    applied_ = {index, term};
    hash_ = Hash64(command, hash_);
    ++count_;
    commands_.insert(std::string(command));
    *reply = std::string(command) + "@" + std::to_string(index);
    return Status();
  }
  Status Skip(LogIndex index, Term term) override {
    if (index != applied_.index + 1) return Status(Code::kInternal, "skipped out of order");
    applied_ = {index, term};
    return Status();
  }
  Status Commit() override { return Status(); }
  Status StartFlush() override {
    flush_pending_ = true;
    polls_ = 0;
    return Status();
  }
  Result<LogPosition> CreateCheckpoint(const std::string& directory) override {
    DFS_RETURN_IF_ERROR(env_.CreateDir(directory));
    DFS_RETURN_IF_ERROR(env_.WriteFileAtomically(directory + "/state", Save()));
    DFS_RETURN_IF_ERROR(env_.WriteFileAtomically(directory + "/empty", ""));
    DFS_RETURN_IF_ERROR(env_.WriteFileAtomically(directory + "/padding", std::string(70'000, 'p')));
    return applied_;
  }
  Status InstallCheckpoint(const std::string& directory) override {
    DFS_ASSIGN_OR_RETURN(std::string data, env_.ReadFile(directory + "/state"));
    DFS_RETURN_IF_ERROR(env_.WriteFileAtomically(directory_ + "/state", data));
    DFS_RETURN_IF_ERROR(env_.RemoveTree(directory));
    Load(data);
    flushed_ = applied_;
    flush_pending_ = false;
    return Status();
  }

  uint64_t hash() const { return hash_; }
  uint64_t count() const { return count_; }
  const std::set<std::string>& commands() const { return commands_; }
  int flush_delay_polls = 1;

 private:
  void FlushNow() {
    if (!env_.WriteFileAtomically(directory_ + "/state", Save())) return;
    flushed_ = applied_;
    flush_pending_ = false;
  }
  std::string Save() const {
    std::string out;
    Encoder e(&out);
    e.U64(applied_.index);
    e.U64(applied_.term);
    e.U64(hash_);
    e.U64(count_);
    e.Varint(commands_.size());
    for (const std::string& c : commands_) e.Bytes(c);
    return out;
  }
  void Load(std::string_view data) {
    Decoder d(data);
    applied_.index = d.U64();
    applied_.term = d.U64();
    hash_ = d.U64();
    count_ = d.U64();
    commands_.clear();
    for (size_t n = d.Count(1); n > 0; --n) commands_.insert(std::string(d.Bytes()));
  }

  Env& env_;
  const std::string directory_;
  LogPosition applied_;
  mutable LogPosition flushed_;
  mutable bool flush_pending_ = false;
  mutable int polls_ = 0;
  uint64_t hash_ = 0;
  uint64_t count_ = 0;
  std::set<std::string> commands_;
};

}  // namespace dfs::nn
