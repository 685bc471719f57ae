// Exporter: the whole namespace as it was at one log index, page by page, while the namenode serves. It takes a
// checkpoint of the store (hard links; the state stays where it is) and reads that as a store of its own, so that what
// is exported neither changes nor holds up anything. One export at a time, dropped when nobody asks for a while.
//
// Confined to the namenode's executor. Making the checkpoint flushes the store first, as for a member's snapshot.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/env.h"
#include "common/base/executor.h"
#include "common/idl/idl_fwd.h"
#include "namenode/state/reader.h"
#include "namenode/state/state_machine.h"

namespace dfs::idl {
class ExportedEntry;
}

namespace dfs::nn {

class Exporter {
 public:
  using OpenStore =
      std::function<Result<std::unique_ptr<StateStore>>(const std::string& directory)>;

  /// directory: on the file system of the state; what is in it is removed.
  Exporter(std::string directory, Env& env, OpenStore open_store, StateMachine& machine,
           Executor& executor);
  ~Exporter();

  /// kBusy: another one is under way; kNotFound: there is none of this id (any more).
  Result<idl::ExportReply> Page(const idl::ExportRequest& request);
  void Drop();

 private:
  struct Run;
  Result<idl::ExportReply> Begin();
  void DropLater();
  /// The root, then depth first, each file at its home link; then the further links in the order of inodes.
  Status Fill(idl::ExportReply* reply);
  Status FillTree(idl::ExportReply* reply, size_t* bytes);
  Status FillLinks(idl::ExportReply* reply, size_t* bytes);
  Status Add(const Inode& inode, std::string path, idl::ExportReply* reply, size_t* bytes);

  const std::string directory_;
  Env& env_;
  OpenStore open_store_;
  StateMachine& machine_;
  Executor& executor_;
  std::unique_ptr<Run> run_;
  Executor::TimerId timer_ = 0;
};

}  // namespace dfs::nn
