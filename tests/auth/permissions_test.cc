#include "common/auth/permissions.h"

#include <gtest/gtest.h>

namespace dfs {
namespace {

constexpr uint32_t kOwner = 100;
constexpr uint32_t kGroup = 200;
const Credentials kRoot;
const Credentials kAlice{kOwner, 1, {}};        // owns
const Credentials kBob{101, kGroup, {}};        // primary group
const Credentials kCarol{102, 1, {7, kGroup}};  // supplementary group
const Credentials kDave{103, 1, {}};            // other

Ownership File(uint32_t mode) {
  return {kOwner, kGroup, mode, false};
}
Ownership Directory(uint32_t mode) {
  return {kOwner, kGroup, mode, true};
}

TEST(Permissions, OneClassDecides) {
  struct Row {
    const Credentials& who;
    uint32_t mode;
    uint32_t wanted;
    bool allowed;
  };
  const Row rows[] = {
      {kAlice, 0400, kMayRead, true},
      {kAlice, 0077, kMayRead, false},  // the owner is not also "other"
      {kAlice, 0600, kMayRead | kMayWrite, true},
      {kAlice, 0500, kMayWrite, false},
      {kBob, 0040, kMayRead, true},
      {kBob, 0707, kMayRead, false},  // nor is the group
      {kCarol, 0060, kMayRead | kMayWrite, true},
      {kCarol, 0706, kMayWrite, false},
      {kDave, 0004, kMayRead, true},
      {kDave, 0770, kMayRead, false},
      {kDave, 0001, kMayExecute, true},
      {kDave, 0005, kMayRead | kMayWrite, false},
      {kRoot, 0000, kMayRead | kMayWrite, true},
      {kRoot, 0000, kMayExecute, false},
      {kRoot, 0010, kMayExecute, true},
      {kDave, 0000, 0, true},  // existence only
  };
  for (const Row& row : rows) {
    EXPECT_EQ(MayAccess(row.who, File(row.mode), row.wanted), row.allowed)
        << std::oct << row.mode << " uid " << std::dec << row.who.uid << " wants " << row.wanted;
  }
  EXPECT_TRUE(MayAccess(kRoot, Directory(0), kMayExecute));
  EXPECT_EQ(CheckAccess(kDave, File(0), kMayRead).code(), Code::kAccessDenied);
}

TEST(Permissions, ExhaustivelyAgainstTheDefinition) {
  for (const Credentials* who : {&kAlice, &kBob, &kCarol, &kDave}) {
    uint32_t shift = who->uid == kOwner ? 6 : who->InGroup(kGroup) ? 3 : 0;
    for (uint32_t mode = 0; mode < 01000; ++mode) {
      for (uint32_t wanted = 0; wanted < 8; ++wanted) {
        EXPECT_EQ(MayAccess(*who, File(mode), wanted), ((mode >> shift) & wanted) == wanted);
      }
    }
  }
}

TEST(Permissions, CreatingAndRemovingNames) {
  EXPECT_TRUE(CheckCreateIn(kAlice, Directory(0300)).ok());
  EXPECT_EQ(CheckCreateIn(kAlice, Directory(0200)).code(), Code::kAccessDenied);  // no search
  EXPECT_EQ(CheckCreateIn(kDave, Directory(0775)).code(), Code::kAccessDenied);

  Ownership bobs{kBob.uid, 1, 0600, false};
  EXPECT_TRUE(CheckRemove(kDave, Directory(0777), bobs).ok());
  EXPECT_EQ(CheckRemove(kDave, Directory(01777), bobs).code(), Code::kNotPermitted);
  EXPECT_TRUE(CheckRemove(kBob, Directory(01777), bobs).ok());    // owns the entry
  EXPECT_TRUE(CheckRemove(kAlice, Directory(01777), bobs).ok());  // owns the directory
  EXPECT_TRUE(CheckRemove(kRoot, Directory(01000), bobs).ok());
  EXPECT_EQ(CheckRemove(kBob, Directory(01755), bobs).code(),
            Code::kAccessDenied);  // bits come first

  EXPECT_TRUE(CheckMoveDirectory(kAlice, Directory(0200)).ok());
  EXPECT_FALSE(CheckMoveDirectory(kDave, Directory(0775)).ok());
}

TEST(Permissions, Chmod) {
  EXPECT_TRUE(CheckChmod(kAlice, File(0)).ok());
  EXPECT_TRUE(CheckChmod(kRoot, File(0)).ok());
  EXPECT_EQ(CheckChmod(kBob, File(0777)).code(), Code::kNotPermitted);
  EXPECT_EQ(ModeAfterChmod(kAlice, 06755, kGroup), 04755u);  // not in the group
  EXPECT_EQ(ModeAfterChmod(kCarol, 06755, kGroup), 06755u);
  EXPECT_EQ(ModeAfterChmod(kRoot, 0107777, kGroup), 07777u);
}

TEST(Permissions, Chown) {
  EXPECT_TRUE(CheckChown(kRoot, File(0), 5, 6).ok());
  EXPECT_TRUE(CheckChown(kAlice, File(0), kOwner, 1).ok());       // own primary group
  EXPECT_TRUE(CheckChown(kAlice, File(0), kOwner, kGroup).ok());  // nothing changes
  EXPECT_EQ(CheckChown(kAlice, File(0), kOwner, 9).code(), Code::kNotPermitted);
  EXPECT_EQ(CheckChown(kAlice, File(0), 5, kGroup).code(), Code::kNotPermitted);
  EXPECT_EQ(CheckChown(kBob, File(0777), kOwner, kGroup).code(), Code::kNotPermitted);

  EXPECT_EQ(ModeAfterChown(kRoot, File(06755)), 0755u);
  EXPECT_EQ(ModeAfterChown(kRoot, File(06745)), 02745u);  // no group-execute: mandatory locking
  EXPECT_EQ(ModeAfterChown(kAlice, File(06745)), 0745u);  // not in the group
  EXPECT_EQ(ModeAfterChown(kAlice, Directory(06755)), 06755u);
}

TEST(Permissions, WritingDropsPrivilegeBits) {
  EXPECT_EQ(ModeAfterWrite(kRoot, File(06755)), 06755u);
  EXPECT_EQ(ModeAfterWrite(kBob, File(06775)), 0775u);
  EXPECT_EQ(ModeAfterWrite(kBob, File(0644)), 0644u);
}

TEST(Permissions, Times) {
  EXPECT_TRUE(CheckSetTimes(kAlice, File(0), false).ok());
  EXPECT_TRUE(CheckSetTimes(kRoot, File(0), false).ok());
  EXPECT_EQ(CheckSetTimes(kBob, File(0777), false).code(), Code::kNotPermitted);
  EXPECT_TRUE(CheckSetTimes(kBob, File(0020), true).ok());
  EXPECT_EQ(CheckSetTimes(kBob, File(0755), true).code(), Code::kAccessDenied);
  EXPECT_FALSE(CheckTruncate(kBob, File(0755)).ok());
}

TEST(Permissions, NewNodes) {
  Ownership made = OwnershipOfNew(kAlice, {5, 6, 0777, true}, 0644, false);
  EXPECT_EQ(made.uid, kOwner);
  EXPECT_EQ(made.gid, 1u);
  EXPECT_EQ(made.mode, 0644u);
  made = OwnershipOfNew(kAlice, {5, 6, 02777, true}, 0755, true);
  EXPECT_EQ(made.gid, 6u);
  EXPECT_EQ(made.mode, 02755u);
  made = OwnershipOfNew(kAlice, {5, 6, 02777, true}, 02755, false);
  EXPECT_EQ(made.gid, 6u);
  EXPECT_EQ(made.mode, 0755u) << "setgid of a foreign group";
  made = OwnershipOfNew(kCarol, {5, kGroup, 02777, true}, 02755, false);
  EXPECT_EQ(made.mode, 02755u);
}

TEST(Permissions, Xattrs) {
  EXPECT_TRUE(CheckGetXattr(kDave, File(0004), "user.a").ok());
  EXPECT_FALSE(CheckGetXattr(kDave, File(0), "user.a").ok());
  EXPECT_FALSE(CheckSetXattr(kDave, File(0004), "user.a").ok());
  EXPECT_TRUE(CheckSetXattr(kDave, Directory(0777), "user.a").ok());
  EXPECT_EQ(CheckSetXattr(kDave, Directory(01777), "user.a").code(), Code::kNotPermitted);
  EXPECT_EQ(CheckGetXattr(kAlice, File(0777), "trusted.a").code(), Code::kNoAttribute);
  EXPECT_EQ(CheckSetXattr(kAlice, File(0777), "trusted.a").code(), Code::kNotPermitted);
  EXPECT_TRUE(CheckSetXattr(kRoot, File(0), "trusted.a").ok());
  EXPECT_TRUE(CheckGetXattr(kDave, File(0), "security.capability").ok());
  EXPECT_EQ(CheckSetXattr(kRoot, File(0), "system.x").code(), Code::kNotSupported);
  EXPECT_EQ(CheckSetXattr(kRoot, File(0), "user.").code(), Code::kNotSupported);
  EXPECT_FALSE(XattrVisible(kAlice, "trusted.a"));
  EXPECT_TRUE(XattrVisible(kRoot, "trusted.a"));
}

}  // namespace
}  // namespace dfs
