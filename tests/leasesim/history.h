// History: what was done to one thing that several look at and change (a name, a few names together, some bytes of a file, a
// size), checked for linearizability (Wing and Gong's search, with memory). As NameHistory, for any state that fits in a few
// numbers. An operation whose outcome is unknown may have had its effect at any time after its invocation, or never.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace dfs::sim {

class History {
 public:
  using State = std::vector<uint64_t>;
  /// Whether it can be so in that state, which it changes as the operation does.
  using Effect = std::function<bool(State&)>;
  enum class Verdict { kLinearizable, kViolation, kTooHard };

  explicit History(State initial) : initial_(std::move(initial)) {}

  /// if_unknown: what it does if it was never answered; null: nothing. Times grow with every call. Returns its number.
  size_t Invoke(std::string what, uint64_t time, Effect if_unknown);
  void Return(size_t op, const std::string& how, uint64_t time, Effect effect);
  void Forget(size_t op);

  Verdict Check(size_t max_states = 100'000) const;
  /// Everything until the first answer that cannot be.
  std::string Describe() const;
  size_t size() const { return ops_.size(); }

 private:
  struct Op {
    std::string what;
    Effect effect;
    bool known = false;
    bool looks = false;  // and changes nothing
    uint64_t invoked = 0;
    uint64_t returned = UINT64_MAX;
  };
  struct Search;
  Verdict CheckUntil(uint64_t time, size_t max_states) const;
  uint64_t FirstViolation() const;

  State initial_;
  std::vector<Op> ops_;
};

}  // namespace dfs::sim
