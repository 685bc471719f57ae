// StateReader::ResolvePath: POSIX path resolution.
#include "common/auth/permissions.h"
#include "namenode/state/reader.h"
#include "namenode/state/view.h"

namespace dfs::nn {
namespace {

Ownership OwnershipOf(const InodeAttr& attr) {
  return {attr.uid, attr.gid, attr.mode, attr.IsDirectory()};
}

/// One resolution: the rest of the path shrinks in front, and symlinks put their target there.
class Resolver {
 public:
  Resolver(CommittedView* view, const Credentials& who, const ResolveOptions& options)
      : view_(view), who_(who), options_(options) {}

  Result<ResolvedPath> Run(InodeId start, std::string_view path) {
    if (path.size() > kMaxPathBytes) return Status(Code::kNameTooLong, "path too long");
    if (path.find('\0') != std::string_view::npos)
      return Status(Code::kInvalidArgument, "a path may not contain a zero byte");
    bool absolute = !path.empty() && path.front() == '/';
    DFS_ASSIGN_OR_RETURN(at_, view_->GetInode(absolute || !start.valid() ? kRootInode : start));
    rest_ = path;
    for (;;) {
      DFS_RETURN_IF_ERROR(TakeComponent());
      if (name_.empty()) return Here();
      if (!at_.IsDirectory()) return Status(Code::kNotDirectory, "a component is not a directory");
      DFS_RETURN_IF_ERROR(CheckAccess(who_, OwnershipOf(at_), kMayExecute));
      DFS_ASSIGN_OR_RETURN(std::optional<ResolvedPath> result, Step());
      if (result) return std::move(*result);
    }
  }

 private:
  /// The next component into name_; "" when there is none.
  Status TakeComponent() {
    size_t from = rest_.find_first_not_of('/');
    if (from == std::string::npos) {
      name_.clear();
      rest_.clear();
      return Status::Ok();
    }
    size_t end = rest_.find('/', from);
    before_ = rest_.substr(from);
    name_ = rest_.substr(from, end == std::string::npos ? end : end - from);
    if (name_.size() > kMaxNameBytes)
      return Status(Code::kNameTooLong, "a name has at most 255 bytes");
    rest_ = end == std::string::npos ? std::string() : rest_.substr(end);
    bool last = rest_.find_first_not_of('/') == std::string::npos;
    slash_ = last && !rest_.empty();
    last_ = last;
    return Status::Ok();
  }

  /// The path ended at a directory that was reached by "", "/", "." or "..".
  Result<ResolvedPath> Here() {
    ResolvedPath result;
    result.parent = at_.parent;
    result.name = at_.name;
    result.must_be_directory = named_by_dots_;
    result.inode = std::move(at_);
    return result;
  }

  Result<std::optional<ResolvedPath>> Step() {
    if (name_ == "." || name_ == "..") {
      if (name_ == "..") {
        if (!at_.parent.valid()) return Status(Code::kNotFound, "the directory was removed");
        DFS_ASSIGN_OR_RETURN(at_, view_->GetInode(at_.parent));
      }
      named_by_dots_ = true;
      return std::optional<ResolvedPath>();
    }
    named_by_dots_ = false;
    DFS_ASSIGN_OR_RETURN(std::optional<Dentry> dentry, view_->FindDentry(at_.id, name_));
    if (!dentry) return Missing();
    DFS_ASSIGN_OR_RETURN(Inode child, view_->MustGetInode(dentry->inode));
    if (child.IsSymlink() && (!last_ || slash_ || options_.follow_final)) {
      if (++symlinks_ > kMaxSymlinks)
        return Status(Code::kSymlinkLoop, "too many levels of symbolic links");
      const std::string& target = child.inline_data;
      if (!target.empty() && target.front() == '/') {
        DFS_ASSIGN_OR_RETURN(at_, view_->GetInode(kRootInode));
      }
      rest_ = target + rest_;
      if (rest_.size() > 2 * kMaxPathBytes) return Status(Code::kNameTooLong, "path too long");
      return std::optional<ResolvedPath>();
    }
    if (!last_) {
      if (!child.IsDirectory())
        return Status(Code::kNotDirectory, "a component is not a directory");
      at_ = std::move(child);
      return std::optional<ResolvedPath>();
    }
    if (slash_ && !child.IsDirectory()) return Status(Code::kNotDirectory, "not a directory");
    ResolvedPath result;
    result.parent = at_.id;
    result.name = std::move(name_);
    result.inode = std::move(child);
    result.must_be_directory = slash_;
    return std::optional<ResolvedPath>(std::move(result));
  }

  Result<std::optional<ResolvedPath>> Missing() {
    if (!last_ && !options_.allow_missing)
      return Status(Code::kNotFound, "no such file or directory");
    if (at_.nlink == 0) return Status(Code::kNotFound, "the directory was removed");
    ResolvedPath result;
    result.parent = at_.id;
    result.must_be_directory = slash_;
    if (last_) {
      result.name = std::move(name_);
      return std::optional<ResolvedPath>(std::move(result));
    }
    while (!before_.empty() && before_.back() == '/') {
      before_.pop_back();
      result.must_be_directory = true;
    }
    result.name = before_.substr(before_.find_last_of('/') + 1);
    result.missing_path = std::move(before_);
    return std::optional<ResolvedPath>(std::move(result));
  }

  CommittedView* view_;
  const Credentials& who_;
  const ResolveOptions& options_;
  Inode at_;
  std::string rest_;    // what is still to be walked, from its '/' on
  std::string before_;  // the same before name_ was taken
  std::string name_;
  bool last_ = false;
  bool slash_ = false;  // the last component has a '/' behind it
  bool named_by_dots_ = false;
  int symlinks_ = 0;
};

}  // namespace

Result<ResolvedPath> StateReader::ResolvePath(InodeId start, std::string_view path,
                                              const Credentials& who,
                                              const ResolveOptions& options) {
  return Resolver(view_, who, options).Run(start, path);
}

}  // namespace dfs::nn
