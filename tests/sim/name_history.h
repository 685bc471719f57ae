// NameHistory: the history of one name under concurrent create, unlink and stat, checked for linearizability
// (Wing and Gong's search, with memory). An operation whose outcome is unknown may have had its effect at any
// time after its invocation, or never.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dfs::sim {

class NameHistory {
 public:
  enum class Kind { kCreate, kUnlink, kStat };
  enum class Outcome {
    kOk,       // create: it was made (inode); unlink: it was there; stat: it is there (inode)
    kRefused,  // create: kAlreadyExists; unlink and stat: kNotFound
    kUnknown,
  };
  enum class Verdict { kLinearizable, kViolation, kTooHard };

  /// Returns the operation's number. Times grow with every call.
  size_t Invoke(Kind kind, uint64_t time);
  void Return(size_t op, Outcome outcome, uint64_t inode, uint64_t time);

  Verdict Check(size_t max_states = 200'000) const;
  std::string Describe() const;
  size_t size() const { return ops_.size(); }

 private:
  struct Op {
    Kind kind;
    Outcome outcome = Outcome::kUnknown;
    uint64_t inode = 0;
    uint64_t invoked = 0;
    uint64_t returned = UINT64_MAX;
  };
  struct Search;
  std::vector<Op> ops_;
};

}  // namespace dfs::sim
