#include "namenode/sessions/touches.h"

#include <string_view>
#include <variant>

namespace dfs::nn {
namespace {

/// Collects what each kind of command touches. What is not listed here touches nothing that is cached.
class Collector {
 public:
  explicit Collector(StateReader& state) : state_(state) {}
  std::vector<Touch> Take() { return std::move(touches_); }

  void operator()(const MkdirCommand& c) {
    Name(c.parent, FirstComponent(c.name));
    Deeper(c.name);
  }
  void operator()(const CreateCommand& c) {
    Deeper(c.name);
    const std::string_view first = FirstComponent(c.name);
    const auto child = Child(c.parent, first);
    if (!child) {
      Name(c.parent, first);
    } else if (first.size() < c.name.size()) {
      Name(child->inode, FirstComponent(std::string_view(c.name).substr(first.size() + 1)));
    } else {
      // It may be on its way out, and this makes it anew.
      Name(c.parent, first);
      if (c.overwrite) Inode(child->inode);
    }
  }
  void operator()(const SymlinkCommand& c) { Name(c.parent, c.name); }
  void operator()(const LinkCommand& c) {
    Name(c.parent, c.name);
    Inode(c.inode);
  }
  void operator()(const UnlinkCommand& c) { NameAndChild(c.parent, c.name); }
  void operator()(const RmdirCommand& c) { NameAndChild(c.parent, c.name); }
  void operator()(const RemoveTreeCommand& c) { NameAndChild(c.parent, c.name); }
  void operator()(const ReclaimCommand& c) { Inode(c.inode); }
  void operator()(const RenameCommand& c) {
    Name(c.source_parent, c.source_name);
    Name(c.target_parent, c.target_name);
    if (const auto moved = Child(c.source_parent, c.source_name)) Attributes(*moved);
    const auto target = Child(c.target_parent, c.target_name);
    if (!target) return;
    if ((c.flags & kRenameExchange) != 0) {
      Attributes(*target);
    } else {
      Inode(target->inode);
    }
  }
  void operator()(const SetAttrCommand& c) { AttributesOf(c.inode); }
  void operator()(const SetXattrCommand& c) { AttributesOf(c.inode); }
  void operator()(const RemoveXattrCommand& c) { AttributesOf(c.inode); }
  void operator()(const OpenBlockCommand& c) { Inode(c.inode); }
  void operator()(const CommitLengthCommand& c) { Inode(c.inode); }
  void operator()(const WriteInlineCommand& c) { Inode(c.inode); }
  void operator()(const CloseBlockCommand& c) {
    Inode(c.inode);
    if (!c.rename_parent.valid()) return;
    if (const auto file = state_.GetInode(c.inode); file && file->parent.valid()) {
      Name(file->parent, file->name);
    }
    NameAndChild(c.rename_parent, c.rename_name);
  }
  void operator()(const FinishBlockRecoveryCommand& c) {
    if (const auto record = state_.GetBlock(c.block)) Inode(record->inode);
  }
  template <class Other>
  void operator()(const Other&) {}

 private:
  static std::string_view FirstComponent(std::string_view path) {
    return path.substr(0, path.find('/'));
  }
  Result<Dentry> Child(InodeId parent, std::string_view name) {
    return state_.Lookup(parent, name);
  }
  void Add(Touch touch) {
    for (const Touch& known : touches_) {
      if (known == touch) return;
    }
    touches_.push_back(std::move(touch));
  }
  void Name(InodeId parent, std::string_view name) {
    Add({parent, TouchKind::kName, std::string(name)});
  }
  /// Somebody else may make what is missing on the way first.
  void Deeper(std::string_view path) {
    if (path.find('/') != std::string_view::npos) Inode(kUnmadeDirectories);
  }
  void Inode(InodeId inode) { Add({inode, TouchKind::kInode, {}}); }
  void Attributes(const Dentry& entry) {
    const bool directory = entry.type == FileType::kDirectory;
    Add({entry.inode, directory ? TouchKind::kAttributes : TouchKind::kInode, {}});
  }
  void AttributesOf(InodeId inode) {
    const auto record = state_.GetInode(inode);
    if (record) Attributes({inode, record->type});
  }
  void NameAndChild(InodeId parent, std::string_view name) {
    Name(parent, name);
    if (const auto child = Child(parent, name)) Inode(child->inode);
  }

  StateReader& state_;
  std::vector<Touch> touches_;
};

}  // namespace

std::vector<Touch> TouchedBy(const CommandBody& body, StateReader& state) {
  Collector collector(state);
  std::visit([&](const auto& command) { collector(command); }, body);
  return collector.Take();
}

}  // namespace dfs::nn
