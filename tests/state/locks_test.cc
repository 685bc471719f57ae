// File locks: what excludes what, how an owner's own locks merge and split, and when they go.
#include "namenode/state/locks.h"

#include <array>
#include <deque>
#include <map>

#include "common/base/random.h"
#include "namenode/state/consistency.h"
#include "tests/state/harness.h"

namespace dfs::nn {
namespace {

LockCommand Of(InodeId inode, LockType type, uint64_t owner, uint64_t start = 0,
               uint64_t end = kMaxLockEnd, LockKind kind = LockKind::kPosix) {
  LockCommand c;
  c.inode = inode;
  c.kind = kind;
  c.type = type;
  c.owner = owner;
  c.start = start;
  c.end = end;
  c.pid = static_cast<uint32_t>(owner);
  return c;
}
LockCommand Flock(InodeId inode, LockType type, uint64_t owner) {
  return Of(inode, type, owner, 0, kMaxLockEnd, LockKind::kFlock);
}
UnlockCommand Un(const LockCommand& lock) {
  UnlockCommand c;
  c.inode = lock.inode;
  c.kind = lock.kind;
  c.owner = lock.owner;
  c.start = lock.start;
  c.end = lock.end;
  return c;
}

constexpr LockType kShared = LockType::kShared, kExclusive = LockType::kExclusive;

class LocksTest : public testing::Test {
 protected:
  LocksTest() {
    a_ = sh_.OpenSession();
    b_ = sh_.OpenSession();
    EXPECT_OK(sh_.Create("/f"));
    f_ = sh_.Id("/f");
  }
  void TearDown() override { EXPECT_OK(CheckConsistency(*member_.store)); }

  LockResult Lock(SessionId session, const LockCommand& command) {
    CommandReply reply = sh_.RunIn(session, command);
    EXPECT_OK(reply.status());
    return Shell::Payload<LockResult>(reply);
  }
  bool Granted(SessionId session, const LockCommand& command) {
    return Lock(session, command).granted;
  }
  /// "1:0-9s 1:10-19x": owner, range, type.
  std::string Held(LockKind kind = LockKind::kPosix) {
    std::string out;
    auto locks = sh_.reader().ListLocks(f_, kind);
    EXPECT_OK(locks);
    for (const nn::Lock& lock : *locks) {
      if (!out.empty()) out += ' ';
      out += std::to_string(lock.owner.owner) + ":" + std::to_string(lock.start) + "-" +
             (lock.end == kMaxLockEnd ? "" : std::to_string(lock.end)) +
             (lock.type == kShared ? "s" : "x");
    }
    return out;
  }

  Member member_;
  Shell sh_{&member_};
  SessionId a_, b_;
  InodeId f_;
};

TEST_F(LocksTest, OwnersExcludeEachOtherAcrossSessionsAndWithin) {
  EXPECT_TRUE(Granted(a_, Of(f_, kShared, 1, 0, 9)));
  EXPECT_TRUE(Granted(a_, Of(f_, kShared, 2, 5, 14)));
  EXPECT_TRUE(Granted(b_, Of(f_, kShared, 1, 0, 99)));
  const LockResult refused = Lock(b_, Of(f_, kExclusive, 7, 9, 12));
  EXPECT_FALSE(refused.granted);
  EXPECT_EQ(refused.conflict.owner, (LockOwner{a_, 1}));
  EXPECT_EQ(refused.conflict.end, 9u);
  EXPECT_EQ(refused.conflict.pid, 1u);
  EXPECT_FALSE(Granted(a_, Of(f_, kExclusive, 1, 0, 9))) << "another owner shares it";
  EXPECT_TRUE(Granted(b_, Of(f_, kExclusive, 7, 100)));
  EXPECT_FALSE(Granted(a_, Of(f_, kShared, 1, 1000, 1000)));
}

TEST_F(LocksTest, AnOwnersLocksMergeSplitAndConvert) {
  EXPECT_TRUE(Granted(a_, Of(f_, kShared, 1, 0, 9)));
  EXPECT_TRUE(Granted(a_, Of(f_, kShared, 1, 20, 29)));
  EXPECT_TRUE(Granted(a_, Of(f_, kShared, 1, 10, 19)));
  EXPECT_EQ(Held(), "1:0-29s");
  EXPECT_TRUE(Granted(a_, Of(f_, kExclusive, 1, 10, 14)));
  EXPECT_EQ(Held(), "1:0-9s 1:10-14x 1:15-29s");
  ASSERT_OK(sh_.RunIn(a_, Un(Of(f_, kShared, 1, 12, 20))).status());
  EXPECT_EQ(Held(), "1:0-9s 1:10-11x 1:21-29s");
  EXPECT_TRUE(Granted(a_, Of(f_, kShared, 1, 10, 11)));
  EXPECT_EQ(Held(), "1:0-11s 1:21-29s");
  EXPECT_TRUE(Granted(a_, Of(f_, kExclusive, 1)));
  EXPECT_EQ(Held(), "1:0-x");
  ASSERT_OK(sh_.RunIn(a_, Un(Of(f_, kShared, 1, 5, kMaxLockEnd))).status());
  EXPECT_EQ(Held(), "1:0-4x");
  ASSERT_OK(sh_.RunIn(a_, Un(Of(f_, kShared, 1))).status());
  EXPECT_EQ(Held(), "");
  ASSERT_OK(sh_.RunIn(a_, Un(Of(f_, kShared, 1))).status());  // nothing is locked
}

TEST_F(LocksTest, FlockIsAWorldOfItsOwnAndGivesUpWhatItConverts) {
  EXPECT_TRUE(Granted(a_, Of(f_, kExclusive, 1)));
  EXPECT_TRUE(Granted(a_, Flock(f_, kShared, 5)));
  EXPECT_TRUE(Granted(b_, Flock(f_, kShared, 6)));
  EXPECT_FALSE(Granted(b_, Flock(f_, kExclusive, 6)));
  EXPECT_EQ(Held(LockKind::kFlock), "5:0-s") << "lost by the conversion that failed";
  EXPECT_TRUE(Granted(a_, Flock(f_, kExclusive, 5)));
  EXPECT_FALSE(Granted(b_, Flock(f_, kShared, 6)));
  EXPECT_TRUE(Granted(a_, Flock(f_, kShared, 5)));
  EXPECT_TRUE(Granted(b_, Flock(f_, kShared, 6)));
  EXPECT_EQ(Held(), "1:0-x");
}

TEST_F(LocksTest, TokensGrowFromHolderToHolder) {
  LogIndex last = 0;
  for (int i = 0; i < 5; ++i) {
    const SessionId session = i % 2 == 0 ? a_ : b_;
    const LockResult granted = Lock(session, Of(f_, kExclusive, 1));
    EXPECT_TRUE(granted.granted);
    EXPECT_GT(granted.token, last);
    last = granted.token;
    EXPECT_EQ((*sh_.reader().ListLocks(f_, LockKind::kPosix))[0].token, last);
    ASSERT_OK(sh_.RunIn(session, Un(Of(f_, kExclusive, 1))).status());
  }
}

TEST_F(LocksTest, ARetryIsAnsweredAsBefore) {
  CommandHeader header;
  header.session = a_;
  header.incarnation = 1;
  header.sequence = header.first_outstanding = 1;
  const LockCommand command = Of(f_, kExclusive, 1);
  const CommandReply first = sh_.Run(header, command);
  EXPECT_TRUE(Shell::Payload<LockResult>(first).granted);
  header.sequence = 2;
  ASSERT_OK(sh_.Run(header, Un(command)).status());
  header.sequence = 1;
  EXPECT_EQ(sh_.Run(header, command).payload, first.payload);
  EXPECT_EQ(Held(), "") << "not taken again";
}

TEST_F(LocksTest, ARequestThatWaitedIsTakenOnceMoreUntilItsSessionIsDoneWithIt) {
  LockCommand waited = Of(f_, kExclusive, 1);
  waited.session = a_;
  waited.incarnation = 1;
  waited.wait_id = 3;
  waited.first_wait = 2;
  const auto run = [&] { return sh_.Run(waited); };
  EXPECT_TRUE(Shell::Payload<LockResult>(run()).granted);
  EXPECT_TRUE(Shell::Payload<LockResult>(run()).granted) << "its answer was lost";
  EXPECT_EQ(Held(), "1:0-x");
  UnlockCommand unlock = Un(waited);
  unlock.first_wait = 4;
  ASSERT_OK(sh_.RunIn(a_, unlock).status());
  EXPECT_CODE(run().status(), Code::kStaleSequence);
  EXPECT_EQ(Held(), "") << "a copy that was delayed takes nothing";
  waited.wait_id = 4;
  waited.incarnation = 2;
  EXPECT_CODE(run().status(), Code::kStaleIncarnation);
  waited.session = SessionId(99);
  EXPECT_CODE(run().status(), Code::kUnknownSession);
  waited.session = SessionId();
  EXPECT_CODE(run().status(), Code::kInvalidArgument);
  waited.session = a_;
  waited.wait_id = 0;
  EXPECT_CODE(run().status(), Code::kInvalidArgument);
}

TEST_F(LocksTest, WhatIsNoLockIsRefused) {
  EXPECT_CODE(sh_.RunIn(a_, Of(f_, kShared, 1, 5, 4)).status(), Code::kInvalidArgument);
  EXPECT_CODE(sh_.RunIn(a_, Of(f_, kShared, 1, 0, kMaxLockEnd + 1)).status(),
              Code::kInvalidArgument);
  EXPECT_CODE(sh_.RunIn(a_, Of(f_, kShared, 1, 0, 9, LockKind::kFlock)).status(),
              Code::kInvalidArgument);
  EXPECT_CODE(sh_.RunIn(a_, Of(f_, static_cast<LockType>(3), 1)).status(), Code::kInvalidArgument);
  EXPECT_CODE(sh_.RunIn(a_, Of(f_, kShared, 1, 0, 9, static_cast<LockKind>(0))).status(),
              Code::kInvalidArgument);
  EXPECT_CODE(sh_.RunIn(a_, Of(InodeId(999), kShared, 1)).status(), Code::kStaleHandle);
  EXPECT_CODE(sh_.Run(Of(f_, kShared, 1)).status(), Code::kInvalidArgument) << "nobody's";
  EXPECT_CODE(sh_.Run(Un(Of(f_, kShared, 1))).status(), Code::kInvalidArgument);
  ASSERT_OK(sh_.Chmod("/f", 0700));
  sh_.who = User(10);
  EXPECT_CODE(sh_.RunIn(a_, Of(f_, kShared, 1)).status(), Code::kAccessDenied);
}

TEST_F(LocksTest, TheEndOfASessionReleasesItsLocksAndFencesItsBlocksInOneCommand) {
  for (int how = 0; how < 3; ++how) {
    SessionId s = sh_.OpenSession();
    const uint64_t slot = static_cast<uint64_t>(how);
    auto opened = sh_.RunIn(s, OpenBlockCommand{f_, slot, Stamp(), {DatanodeId(1)}});
    ASSERT_OK(opened.status());
    EXPECT_TRUE(Granted(s, Of(f_, kExclusive, 1, 0, 9)));
    EXPECT_TRUE(Granted(s, Of(f_, kExclusive, 1, 20, 29)));
    EXPECT_TRUE(Granted(s, Flock(f_, kExclusive, 2)));
    EXPECT_FALSE(Granted(a_, Of(f_, kExclusive, 1)));
    // Protocols, 1.4: a lock passes on only after the open blocks of who had it are fenced. No command is between.
    if (how == 0) ASSERT_OK(sh_.Run(ExpireSessionCommand{s, 1}).status());
    if (how == 1) ASSERT_OK(sh_.Run(CloseSessionCommand{s, 1}).status());
    if (how == 2) ASSERT_OK(sh_.Run(ResumeSessionCommand{s, "secret", 1}).status());
    EXPECT_EQ(Held(), "");
    EXPECT_EQ(Held(LockKind::kFlock), "");
    EXPECT_EQ(sh_.reader().ListBlocksToRecover()->size(), static_cast<size_t>(how) + 1);
    EXPECT_TRUE(Granted(a_, Of(f_, kExclusive, 1)));
    ASSERT_OK(sh_.RunIn(a_, Un(Of(f_, kExclusive, 1))).status());
    EXPECT_OK(CheckConsistency(*member_.store));
  }
}

TEST_F(LocksTest, LocksGoWithTheirFile) {
  EXPECT_TRUE(Granted(a_, Of(f_, kExclusive, 1)));
  EXPECT_TRUE(Granted(b_, Flock(f_, kShared, 1)));
  ASSERT_OK(sh_.Unlink("/f", {a_}));
  EXPECT_FALSE(Granted(b_, Of(f_, kShared, 1))) << "an orphan is a file, too";
  ASSERT_OK(sh_.Run(CloseOrphanCommand{f_, a_}).status());
  EXPECT_EQ(Held(), "");
  EXPECT_CODE(sh_.RunIn(a_, Of(f_, kShared, 1)).status(), Code::kStaleHandle);
  ASSERT_OK(sh_.RunIn(b_, Un(Of(f_, kShared, 1))).status());
}

TEST_F(LocksTest, LocksGoWhenTheirFileWaitsToBeReclaimed) {
  auto opened = sh_.RunIn(a_, OpenBlockCommand{f_, 0, Stamp(), {DatanodeId(1)}});
  ASSERT_OK(opened.status());
  EXPECT_TRUE(Granted(a_, Of(f_, kExclusive, 1)));
  ASSERT_OK(sh_.Unlink("/f"));
  EXPECT_EQ(sh_.reader().ListTodo(9)->size(), 1u);
  EXPECT_EQ(Held(), "");
  EXPECT_CODE(sh_.RunIn(a_, Of(f_, kShared, 1)).status(), Code::kStaleHandle);
  sh_.ReclaimAll();
}

TEST_F(LocksTest, LocksAreBounded) {
  // Thousands of commands would come to this.
  WriteBatch batch;
  std::deque<std::string> bytes;
  const auto put = [&](std::string key, std::string value) {
    bytes.push_back(std::move(key));
    bytes.push_back(std::move(value));
    batch.Put(bytes[bytes.size() - 2], bytes.back());
  };
  for (uint64_t i = 0; i < kMaxLocksPerInode; ++i) {
    nn::Lock lock{LockKind::kPosix, {a_, 1}, 10 * i, 10 * i + 5, kShared, 0, 1};
    put(LockKey(f_, lock), EncodeLock(lock));
    put(SessionLockKey(a_, f_, lock), {});
  }
  put(LockCountKey(f_), EncodeLockCount(kMaxLocksPerInode));
  put(SessionLocksKey(a_), EncodeSessionLocks({kMaxLocksPerInode, 0}));
  ASSERT_OK(member_.store->Write(batch));
  ASSERT_OK(CheckConsistency(*member_.store));
  EXPECT_CODE(sh_.RunIn(a_, Of(f_, kShared, 1, 10 * kMaxLocksPerInode)).status(),
              Code::kTooManyLocks);
  EXPECT_CODE(sh_.RunIn(a_, Un(Of(f_, kShared, 1, 2, 3))).status(), Code::kTooManyLocks);
  EXPECT_CODE(sh_.RunIn(b_, Of(f_, kShared, 1)).status(), Code::kTooManyLocks);
  // What makes them fewer goes.
  EXPECT_TRUE(Granted(a_, Of(f_, kShared, 1, 5, 15)));
  ASSERT_OK(sh_.Run(ExpireSessionCommand{a_, 1}).status());
  EXPECT_TRUE(Granted(b_, Of(f_, kExclusive, 1)));
  // And those of a session on many files.
  batch.Clear();
  SessionId c = sh_.OpenSession();
  put(SessionLocksKey(c), EncodeSessionLocks({kMaxLocksPerSession, 0}));
  ASSERT_OK(member_.store->Write(batch));
  EXPECT_CODE(sh_.RunIn(c, Flock(f_, kShared, 1)).status(), Code::kTooManyLocks);
  ASSERT_OK(sh_.Run(ExpireSessionCommand{c, 1}).status());
}

TEST_F(LocksTest, WhoWaitsIsToldWhenLessIsHeld) {
  struct Observer : StateObserver {
    void OnLocksReleased(InodeId inode) override { released.push_back(inode); }
    std::vector<InodeId> released;
  } observer;
  member_.machine->SetObserver(&observer);
  const auto times = [&] { return std::exchange(observer.released, {}).size(); };
  Lock(a_, Of(f_, kShared, 1, 0, 9));
  Lock(a_, Of(f_, kExclusive, 1, 0, 19));
  EXPECT_EQ(times(), 0u) << "more is held";
  Lock(a_, Of(f_, kShared, 1, 5, 9));
  EXPECT_EQ(times(), 1u) << "a part is only shared now";
  ASSERT_OK(sh_.RunIn(a_, Un(Of(f_, kShared, 1, 0, 4))).status());
  EXPECT_EQ(times(), 1u);
  ASSERT_OK(sh_.RunIn(a_, Un(Of(f_, kShared, 1, 0, 4))).status());
  EXPECT_EQ(times(), 0u) << "nothing was there any more";
  ASSERT_OK(sh_.Run(ExpireSessionCommand{a_, 1}).status());
  EXPECT_EQ(times(), 1u);
  Lock(b_, Of(f_, kShared, 1));
  ASSERT_OK(sh_.Unlink("/f"));
  EXPECT_EQ(times(), 1u);
  member_.machine->SetObserver(nullptr);
}

// ---- Against a model -----------------------------------------------------------------------------

constexpr size_t kCells = 24;  // the last one stands for the rest of the file

/// Who holds which byte how, and nothing else.
struct CellModel {
  std::map<LockOwner, std::array<char, kCells>> posix;  // '.', 's', 'x'
  std::map<LockOwner, char> flock;

  static bool Excludes(char a, char b) { return a != '.' && (a == 'x' || b == 'x'); }
  bool LockRange(LockOwner who, size_t from, size_t to, char type) {
    for (const auto& [owner, cells] : posix) {
      for (size_t i = from; i <= to; ++i) {
        if (owner != who && Excludes(cells[i], type)) return false;
      }
    }
    Set(who, from, to, type);
    return true;
  }
  void Set(LockOwner who, size_t from, size_t to, char type) {
    auto [it, fresh] = posix.try_emplace(who);
    if (fresh) it->second.fill('.');
    std::fill(it->second.begin() + static_cast<long>(from),
              it->second.begin() + static_cast<long>(to) + 1, type);
  }
  bool LockWhole(LockOwner who, char type) {
    if (auto mine = flock.find(who); mine != flock.end() && mine->second == type) return true;
    flock.erase(who);
    for (const auto& [owner, held] : flock) {
      if (Excludes(held, type)) return false;
    }
    flock[who] = type;
    return true;
  }
  void EndOf(SessionId session) {
    std::erase_if(posix, [&](const auto& e) { return e.first.session == session; });
    std::erase_if(flock, [&](const auto& e) { return e.first.session == session; });
  }
};

uint64_t EndOf(size_t cell) {
  return cell + 1 == kCells ? kMaxLockEnd : cell;
}

class LocksModelTest : public testing::Test {
 protected:
  void Compare(InodeId file, const CellModel& model) {
    std::map<LockOwner, std::array<char, kCells>> cells;
    std::map<LockOwner, nn::Lock> last;
    auto held = sh_.reader().ListLocks(file, LockKind::kPosix);
    ASSERT_OK(held);
    for (const nn::Lock& lock : *held) {
      auto [it, fresh] = cells.try_emplace(lock.owner);
      if (fresh) it->second.fill('.');
      for (size_t i = lock.start; i < kCells && i <= lock.end; ++i)
        it->second[i] = lock.type == kShared ? 's' : 'x';
      if (!fresh) {
        const nn::Lock& before = last[lock.owner];
        ASSERT_LT(before.end, lock.start);
        ASSERT_FALSE(before.end + 1 == lock.start && before.type == lock.type) << "not merged";
      }
      last[lock.owner] = lock;
    }
    for (const auto& [owner, expected] : model.posix) {
      const std::string want(expected.begin(), expected.end());
      const auto& found = cells[owner];
      if (want == std::string(kCells, '.') && !last.contains(owner)) continue;
      ASSERT_EQ(std::string(found.begin(), found.end()), want);
    }
    for (const auto& [owner, lock] : last) ASSERT_TRUE(model.posix.contains(owner));
    std::map<LockOwner, char> flocks;
    auto held_whole = sh_.reader().ListLocks(file, LockKind::kFlock);
    ASSERT_OK(held_whole);
    for (const nn::Lock& lock : *held_whole)
      flocks[lock.owner] = lock.type == kShared ? 's' : 'x';
    ASSERT_EQ(flocks, model.flock);
  }

  Member member_;
  Shell sh_{&member_};
};

TEST_F(LocksModelTest, RandomOperations) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    std::vector<SessionId> sessions{sh_.OpenSession(), sh_.OpenSession()};
    const std::string name = "/f" + std::to_string(seed);
    ASSERT_OK(sh_.Create(name));
    const InodeId file = sh_.Id(name);
    CellModel model;
    int granted = 0, refused = 0;
    for (int step = 0; step < 600; ++step) {
      SessionId& session = sessions[random.Uniform(2)];
      const LockOwner who{session, 1 + random.Uniform(2)};
      size_t from = random.Uniform(kCells), to = random.Uniform(kCells);
      if (from > to) std::swap(from, to);
      const char type = random.OneIn(2) ? 's' : 'x';
      const LockType as = type == 's' ? kShared : kExclusive;
      const uint64_t dice = random.Uniform(100);
      if (dice < 45) {
        auto reply = sh_.RunIn(session, Of(file, as, who.owner, from, EndOf(to)));
        ASSERT_OK(reply.status());
        const LockResult result = Shell::Payload<LockResult>(reply);
        ASSERT_EQ(result.granted, model.LockRange(who, from, to, type));
        ++(result.granted ? granted : refused);
        if (!result.granted) {
          ASSERT_TRUE(Conflict(result.conflict, {LockKind::kPosix, who, from, EndOf(to), as}));
        }
      } else if (dice < 70) {
        ASSERT_OK(sh_.RunIn(session, Un(Of(file, as, who.owner, from, EndOf(to)))).status());
        model.Set(who, from, to, '.');
      } else if (dice < 85) {
        auto reply = sh_.RunIn(session, Flock(file, as, who.owner));
        ASSERT_EQ(Shell::Payload<LockResult>(reply).granted, model.LockWhole(who, type));
      } else if (dice < 97) {
        ASSERT_OK(sh_.RunIn(session, Un(Flock(file, as, who.owner))).status());
        model.flock.erase(who);
      } else {
        ASSERT_OK(sh_.Run(ExpireSessionCommand{session, 1}).status());
        model.EndOf(session);
        session = sh_.OpenSession();
      }
      Compare(file, model);
      if (HasFatalFailure()) return;
    }
    EXPECT_GT(granted, 20);
    EXPECT_GT(refused, 20);
    ASSERT_OK(CheckConsistency(*member_.store));
  }
}

}  // namespace
}  // namespace dfs::nn
