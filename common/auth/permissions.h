// POSIX permission evaluation by numeric ids, as Linux does it. Pure functions: Apply calls them on
// credentials that travel in the command, so they must give the same answer on every member.
//
// kAccessDenied (EACCES) is about permission bits, kNotPermitted (EPERM) about ownership.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/auth/credentials.h"
#include "common/base/status.h"

namespace dfs {

/// What of an inode decides access.
struct Ownership {
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mode = 0;  // permission bits, 07777; type bits are ignored
  bool is_directory = false;
};

/// Bits of `wanted`; as in access(2).
inline constexpr uint32_t kMayRead = 4;
inline constexpr uint32_t kMayWrite = 2;
inline constexpr uint32_t kMayExecute = 1;  // of a directory: search

/// Only the first class that matches counts: owner, else group, else other. Root reads and writes
/// everything, searches every directory, and executes files that have any execute bit.
bool MayAccess(const Credentials& who, const Ownership& node, uint32_t wanted);
/// kAccessDenied unless MayAccess.
Status CheckAccess(const Credentials& who, const Ownership& node, uint32_t wanted);

/// Adding a name to a directory: write and search.
Status CheckCreateIn(const Credentials& who, const Ownership& directory);
/// Removing (or renaming away, or replacing) entry in directory: write and search, and under the
/// sticky bit one must own the entry or the directory, or be root (kNotPermitted).
Status CheckRemove(const Credentials& who, const Ownership& directory, const Ownership& entry);
/// Moving a directory to another parent changes its "..": it must be writable, too.
Status CheckMoveDirectory(const Credentials& who, const Ownership& moved);

/// Owner or root.
Status CheckOwner(const Credentials& who, const Ownership& node);
/// chmod: owner or root.
Status CheckChmod(const Credentials& who, const Ownership& node);
/// The mode chmod really sets: setgid is dropped when the caller is neither root nor in the group
/// the node has (or gets in the same operation).
uint32_t ModeAfterChmod(const Credentials& who, uint32_t new_mode, uint32_t gid_of_node);

/// chown: only root gives a node away; an owner may set a group that he is in. Setting what is
/// there already is allowed to the owner. new_uid and new_gid: what is asked for, the node's own
/// when unchanged.
Status CheckChown(const Credentials& who, const Ownership& node, uint32_t new_uid,
                  uint32_t new_gid);
/// Any chown of a file, root's too, drops setuid, and setgid where it means "run as group"
/// (group-execute) or the caller is not in the group. Directories keep theirs.
uint32_t ModeAfterChown(const Credentials& who, const Ownership& node);
/// Writing to or truncating a file drops the same bits, except for root.
uint32_t ModeAfterWrite(const Credentials& who, const Ownership& node);

/// utimensat: explicit times need ownership (kNotPermitted); "now" for both is also allowed to
/// whoever may write (kAccessDenied otherwise).
Status CheckSetTimes(const Credentials& who, const Ownership& node, bool both_are_now);
/// truncate(2): write permission.
Status CheckTruncate(const Credentials& who, const Ownership& node);

/// Group and mode of a new node: a setgid directory passes on its group, and to directories the bit
/// itself; setgid together with group-execute is dropped from files of a group that the caller is
/// not in. is_directory tells what is made; mode comes with the umask already applied.
Ownership OwnershipOfNew(const Credentials& who, const Ownership& parent, uint32_t mode,
                         bool is_directory);

/// Extended attributes by name space: "user." follows the permission bits (on sticky directories
/// only the owner writes), "trusted." is root's, "security." is read by all and written by root,
/// "system." is not supported.
Status CheckGetXattr(const Credentials& who, const Ownership& node, std::string_view name);
Status CheckSetXattr(const Credentials& who, const Ownership& node, std::string_view name);
/// Whether a listing shows the name to the caller ("trusted." only to root).
bool XattrVisible(const Credentials& who, std::string_view name);

}  // namespace dfs
