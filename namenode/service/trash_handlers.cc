// Service: removing into the trash. The place is prepared by the leader's own commands; what the client waits for and
// may repeat is one rename, or one RemoveTree where there is no trash.
#include "common/base/trash_name.h"
#include "namenode/service/handler_util.h"

namespace dfs::nn {

namespace {
/// What RemoveTree asks for: a rename would not, and the trash is no way around it.
Status CheckMayRemove(const Credentials& who, const Ownership& directory, const Inode& inode) {
  DFS_RETURN_IF_ERROR(CheckAccess(who, directory, kMayExecute));
  DFS_RETURN_IF_ERROR(CheckRemove(who, directory, OwnershipOf(inode)));
  if (!inode.IsDirectory() || inode.entries == 0 || who.IsRoot()) return Status();
  if (inode.uid != who.uid) {
    return Status(Code::kAccessDenied, "a directory that is not empty is removed by its owner");
  }
  return CheckAccess(who, OwnershipOf(inode), kMayRead | kMayWrite | kMayExecute);
}

/// It and all that is below it.
Status Measure(StateReader& state, const Inode& inode, idl::Usage* out) {
  if (inode.IsDirectory()) {
    DFS_ASSIGN_OR_RETURN(Usage usage, state.GetUsage(inode.id));
    ++usage.directories;
    ToIdl(usage, out);
  } else {
    out->files = 1;
    out->bytes = Signed(inode.size);
  }
  return Status();
}
}  // namespace

bool Service::IsSuperuser(const Credentials& who) const {
  return who.IsRoot() || who.uid == options_.root_uid;
}

Status Service::MoveToTrash(idl::MoveToTrashRequest& request, std::unique_ptr<Op>& op) {
  auto reply = std::make_shared<idl::MoveToTrashReply>();
  op->finish = [reply](std::string_view payload, const Op&) -> Result<Buffer> {
    // A rename says nothing, RemoveTree what it removed: which of them it was is known from the stored reply, too.
    reply->in_trash = payload.empty();
    if (!reply->in_trash) {
      DFS_ASSIGN_OR_RETURN(RemoveTreeResult result, DecodeResult<RemoveTreeResult>(payload));
      ToIdl(result.removed, &reply->removed);
      reply->trash_path.clear();
    }
    return idl::Encode(*reply);
  };
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  const Credentials& who = op->header.caller;
  DFS_ASSIGN_OR_RETURN(ResolvedPath path, Resolve(request.ref, who, false));
  if (path.name.empty()) return Status(Code::kBusy, "the root directory");
  if (!path.inode) return Status(Code::kNotFound, "no such file or directory");
  if (path.must_be_directory && !path.inode->IsDirectory()) {
    return Status(Code::kNotDirectory, "not a directory");
  }
  if (path.inode->IsDirectory() && !request.recursive) {
    return Status(Code::kIsDirectory, "is a directory");
  }
  reply->keep_ms = trash_.effective_keep_ns() / kMillisecond;
  // An empty directory that may be removed, but not moved, is nothing to be brought back.
  const bool immovable =
      path.inode->IsDirectory() && !CheckMoveDirectory(who, OwnershipOf(*path.inode)).ok();
  if (!trash_.keeps() || immovable) {
    RemoveTreeCommand command;
    command.parent = path.parent;
    command.open_sessions = OpenersOf(path);
    command.name = std::move(path.name);
    return Propose(op, command);
  }
  DFS_ASSIGN_OR_RETURN(std::string full, state_.PathOf(path.parent));
  if (full.empty()) return Status(Code::kNotFound, "the directory was removed");
  full += (full == "/" ? "" : "/") + path.name;
  if (IsInTrash(full)) {
    return Status(Code::kInvalidArgument, "it is in the trash (--skip-trash removes it for good)");
  }
  DFS_ASSIGN_OR_RETURN(Inode parent, state_.GetInode(path.parent));
  DFS_RETURN_IF_ERROR(CheckMayRemove(who, OwnershipOf(parent), *path.inode));
  DFS_RETURN_IF_ERROR(Measure(state_, *path.inode, &reply->removed));
  RenameCommand command;
  command.source_parent = path.parent;
  command.source_name = command.target_name = path.name;
  command.flags = kRenameNoReplace;
  auto move = [this, reply, command = std::move(command)](
                  std::unique_ptr<Op> mine, std::shared_ptr<const Trash::Place> place) mutable {
    command.target_parent = place->directory;
    reply->trash_path = place->directory_path + "/" + command.source_name;
    // When it has to wait for leases it begins anew, and need not make another place.
    mine->origin.trash_place = std::move(place);
    Status proposed = Propose(mine, command);
    if (!proposed.ok() && mine != nullptr) Refuse(std::move(mine), proposed);
  };
  if (op->origin.trash_place != nullptr && op->origin.trash_place->of == full) {
    auto place = op->origin.trash_place;
    move(std::move(op), std::move(place));
    return Status();
  }
  trash_.Prepare(who, full,
                 [this, alive = std::weak_ptr<char>(alive_), move = std::move(move),
                  mine = std::move(op)](Result<Trash::Place> place) mutable {
                   if (alive.expired()) return;
                   if (!place) return Refuse(std::move(mine), place.error());
                   move(std::move(mine),
                        std::make_shared<const Trash::Place>(std::move(*place)));
                 });
  return Status();
}

}  // namespace dfs::nn
