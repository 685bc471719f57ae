#include "common/auth/permissions.h"

namespace dfs {

namespace {
constexpr uint32_t kSetUid = 04000;
constexpr uint32_t kSetGid = 02000;
constexpr uint32_t kSticky = 01000;
constexpr uint32_t kGroupExecute = 010;
constexpr uint32_t kAnyExecute = 0111;
constexpr uint32_t kAllBits = 07777;

bool InGroupOrRoot(const Credentials& who, uint32_t gid) {
  return who.IsRoot() || who.InGroup(gid);
}

/// The setuid and setgid bits that go when a file's content or owner changes.
uint32_t WithoutPrivilegeBits(const Credentials& who, const Ownership& node) {
  uint32_t mode = node.mode & kAllBits;
  if (node.is_directory) return mode;
  mode &= ~kSetUid;
  // Without group-execute the bit marks mandatory locking, not a privilege, so members keep it.
  if ((mode & kGroupExecute) != 0 || !InGroupOrRoot(who, node.gid)) mode &= ~kSetGid;
  return mode;
}

bool HasPrefix(std::string_view name, std::string_view prefix) {
  return name.substr(0, prefix.size()) == prefix && name.size() > prefix.size();
}
}  // namespace

bool MayAccess(const Credentials& who, const Ownership& node, uint32_t wanted) {
  if (who.IsRoot()) {
    if ((wanted & kMayExecute) == 0 || node.is_directory) return true;
    return (node.mode & kAnyExecute) != 0;
  }
  uint32_t granted = node.mode & 7;
  if (who.uid == node.uid) {
    granted = (node.mode >> 6) & 7;
  } else if (who.InGroup(node.gid)) {
    granted = (node.mode >> 3) & 7;
  }
  return (wanted & 7 & ~granted) == 0;
}

Status CheckAccess(const Credentials& who, const Ownership& node, uint32_t wanted) {
  if (MayAccess(who, node, wanted)) return Status();
  return Status(Code::kAccessDenied, "permission denied");
}

Status CheckCreateIn(const Credentials& who, const Ownership& directory) {
  return CheckAccess(who, directory, kMayWrite | kMayExecute);
}

Status CheckRemove(const Credentials& who, const Ownership& directory, const Ownership& entry) {
  DFS_RETURN_IF_ERROR(CheckAccess(who, directory, kMayWrite | kMayExecute));
  if ((directory.mode & kSticky) == 0 || who.IsRoot()) return Status();
  if (who.uid == entry.uid || who.uid == directory.uid) return Status();
  return Status(Code::kNotPermitted, "sticky directory: only the owner may remove this");
}

Status CheckMoveDirectory(const Credentials& who, const Ownership& moved) {
  return CheckAccess(who, moved, kMayWrite);
}

Status CheckOwner(const Credentials& who, const Ownership& node) {
  if (who.IsRoot() || who.uid == node.uid) return Status();
  return Status(Code::kNotPermitted, "not the owner");
}

Status CheckChmod(const Credentials& who, const Ownership& node) {
  return CheckOwner(who, node);
}

uint32_t ModeAfterChmod(const Credentials& who, uint32_t new_mode, uint32_t gid_of_node) {
  new_mode &= kAllBits;
  if (!InGroupOrRoot(who, gid_of_node)) new_mode &= ~kSetGid;
  return new_mode;
}

Status CheckChown(const Credentials& who, const Ownership& node, uint32_t new_uid,
                  uint32_t new_gid) {
  if (who.IsRoot()) return Status();
  if (who.uid != node.uid) return Status(Code::kNotPermitted, "not the owner");
  if (new_uid != node.uid) return Status(Code::kNotPermitted, "only root may change the owner");
  if (new_gid != node.gid && !who.InGroup(new_gid)) {
    return Status(Code::kNotPermitted, "not a member of the new group");
  }
  return Status();
}

uint32_t ModeAfterChown(const Credentials& who, const Ownership& node) {
  return WithoutPrivilegeBits(who, node);
}

uint32_t ModeAfterWrite(const Credentials& who, const Ownership& node) {
  if (who.IsRoot()) return node.mode & kAllBits;
  return WithoutPrivilegeBits(who, node);
}

Status CheckSetTimes(const Credentials& who, const Ownership& node, bool both_are_now) {
  if (who.IsRoot() || who.uid == node.uid) return Status();
  if (both_are_now) return CheckAccess(who, node, kMayWrite);
  return Status(Code::kNotPermitted, "not the owner");
}

Status CheckTruncate(const Credentials& who, const Ownership& node) {
  return CheckAccess(who, node, kMayWrite);
}

Ownership OwnershipOfNew(const Credentials& who, const Ownership& parent, uint32_t mode,
                         bool is_directory) {
  Ownership made;
  made.uid = who.uid;
  made.gid = who.gid;
  made.mode = mode & kAllBits;
  made.is_directory = is_directory;
  if ((parent.mode & kSetGid) != 0) {
    made.gid = parent.gid;
    if (is_directory) made.mode |= kSetGid;
  }
  constexpr uint32_t kRunAsGroup = kSetGid | kGroupExecute;
  if (!is_directory && (made.mode & kRunAsGroup) == kRunAsGroup && !InGroupOrRoot(who, made.gid)) {
    made.mode &= ~kSetGid;
  }
  return made;
}

Status CheckGetXattr(const Credentials& who, const Ownership& node, std::string_view name) {
  if (HasPrefix(name, "user.")) return CheckAccess(who, node, kMayRead);
  if (HasPrefix(name, "security.")) return Status();
  if (HasPrefix(name, "trusted.")) {
    // As Linux: to others they do not exist.
    return who.IsRoot() ? Status() : Status(Code::kNoAttribute, "no such attribute");
  }
  return Status(Code::kNotSupported, "attribute name space not supported");
}

Status CheckSetXattr(const Credentials& who, const Ownership& node, std::string_view name) {
  if (HasPrefix(name, "user.")) {
    if (node.is_directory && (node.mode & kSticky) != 0) DFS_RETURN_IF_ERROR(CheckOwner(who, node));
    return CheckAccess(who, node, kMayWrite);
  }
  if (HasPrefix(name, "trusted.") || HasPrefix(name, "security.")) {
    return who.IsRoot() ? Status() : Status(Code::kNotPermitted, "only root may set this");
  }
  return Status(Code::kNotSupported, "attribute name space not supported");
}

bool XattrVisible(const Credentials& who, std::string_view name) {
  return who.IsRoot() || !HasPrefix(name, "trusted.");
}

}  // namespace dfs
