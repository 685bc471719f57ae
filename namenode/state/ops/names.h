// What operations on names share: directories, entries, links, usage. All keep these invariants:
// an inode's nlink is the number of its names (directories: 2 and one per subdirectory), a
// directory's `entries` the number of names in it, and usage is exact for every live directory.
#pragma once

#include <string_view>
#include <vector>

#include "common/auth/permissions.h"
#include "namenode/state/txn.h"

namespace dfs::nn {

Ownership OwnershipOf(const InodeAttr& attr);

/// The command's time, never before the inode's last change.
int64_t NowFor(const Txn& txn, const InodeAttr& attr);
/// Contents of a directory or a file changed.
void TouchContent(const Txn& txn, InodeAttr* attr);
/// Attributes or links changed.
void TouchAttributes(const Txn& txn, InodeAttr* attr);

/// A directory in which names may be changed: kStaleHandle, kNotDirectory; kNotFound when removed.
Result<Inode> LoadDirectory(Txn& txn, InodeId id);

enum class ChargeMode {
  kMustBeLive,  // kNotFound inside a tree that was removed; kNameTooLong when nested too deeply
  kAlways,      // in a removed tree it just ends there
};
/// Adds to the usage of directory and all above it.
Status Charge(Txn& txn, InodeId directory, const Usage& delta, ChargeMode mode);
/// kNotFound when the directory is inside a tree that was removed.
Status CheckLive(Txn& txn, InodeId directory);
/// From directory up to the root, or to the top of the removed tree; directory first.
Result<std::vector<InodeId>> Ancestors(Txn& txn, InodeId directory);
/// What an inode counts for where its home link is.
Result<Usage> ChargeOf(Txn& txn, const Inode& inode);
Usage Negated(const Usage& usage);

/// Put the entry and account for it in the parent (which the caller puts).
void AddEntry(Txn& txn, Inode* parent, std::string_view name, const Dentry& dentry);
void RemoveEntry(Txn& txn, Inode* parent, std::string_view name, FileType type);

/// A new inode with the ids, owner and times of the command; not put yet, not linked.
Inode NewInode(Txn& txn, const Inode& parent, std::string_view name, FileType type, uint32_t mode);
/// Checks, makes, links, charges and puts a directory; parent is put, too.
Result<Inode> MakeDirectory(Txn& txn, Inode* parent, std::string_view name, uint32_t mode);
/// For `parents`: walks path from start, making what is missing, and leaves the last component.
/// kConflict when it meets a symlink or "..": the caller of the command resolves the path again.
struct Walked {
  Inode parent;
  std::string_view name;
};
Result<Walked> WalkParents(Txn& txn, InodeId start, std::string_view path, uint32_t directory_mode);

/// Whether (parent, name) is the inode's home link and not a further one.
Result<bool> IsHomeLink(Txn& txn, const Inode& inode, InodeId parent, std::string_view name);
/// One name of a file is gone (its entry was removed by the caller). Moves the home or uncharges it;
/// with the last name the inode becomes an orphan of those of open_sessions that live, or is freed.
/// charged false: in a removed tree, whose usage was taken off as a whole.
Status DropLink(Txn& txn, Inode* inode, InodeId parent, std::string_view name,
                const std::vector<SessionId>& open_sessions, bool charged);
/// An empty directory is gone (its entry was removed by the caller).
Status DropDirectory(Txn& txn, const Inode& directory);
/// Deletes the inode, or leaves it to be reclaimed when that is not one step.
Status FreeInode(Txn& txn, const Inode& inode);
/// `session` no longer keeps the orphan. Ok when it did not.
Status ReleaseOrphan(Txn& txn, InodeId inode, SessionId session);

/// The rename proper, for RenameCommand and CloseBlockCommand.
struct RenameArguments {
  InodeId source_parent;
  std::string_view source_name;
  InodeId target_parent;
  std::string_view target_name;
  uint32_t flags = 0;
  const std::vector<SessionId>* open_sessions = nullptr;
};
Status RenameEntry(Txn& txn, const RenameArguments& a);

}  // namespace dfs::nn
