// OpenFiles: which files a client has open for writing, and which of their blocks are being given back.
//
// One client has one writer of a file at most: a second open for writing shares the first one's state, so that
// both see the same length and the same bytes. A writer that failed or went away has its blocks given up (the
// namenode then closes them by recovery) until that succeeds or the session ends, and a new open of the file
// waits for it. Confined to the core's executor; owned by ClientCore.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "common/client/core/namenode_link.h"

namespace dfs::client {

class BlockWriter;
class ClientCore;
class FileWriter;

class OpenFiles {
 public:
  explicit OpenFiles(ClientCore& core) : core_(core) {}

  void Add(uint64_t inode, std::weak_ptr<FileWriter> writer);
  /// Without effect when another writer took the place.
  void Remove(uint64_t inode, const FileWriter* writer);
  /// The file's writer, whatever became of it; null: there is none.
  std::shared_ptr<FileWriter> Find(uint64_t inode) const;

  /// An open is under way, until what this gives is let go, that may give a writer. As long as there are any, or any
  /// writer, opens do not let the namenode truncate behind the back of a writer of this client.
  std::shared_ptr<void> BeginOpen();
  bool Idle() const { return opening_ == 0 && writers_.empty(); }
  /// An open has the namenode truncate. Those that begin later wait for its answer: a request that overtakes it would
  /// give a writer whose first blocks it takes away.
  void BeginCut() { cutting_ = true; }
  void EndCut();
  void WhenNobodyCuts(Task open);

  /// Gives up the session's blocks in these slots. The writers, if any, are retired first: nothing of theirs may
  /// be under way that would open a block again.
  void Release(uint64_t inode, uint64_t session, std::vector<uint64_t> slots,
               std::vector<std::shared_ptr<BlockWriter>> writers);
  bool releasing(uint64_t inode) const { return releasing_.count(inode) > 0; }
  /// Ok when nothing of the file is being released.
  void WhenReleased(uint64_t inode, StatusDone done);

 private:
  void Send(uint64_t inode, uint64_t session, std::vector<uint64_t> slots);
  void Finish(uint64_t inode);

  struct Releasing {
    int count = 0;
    std::vector<StatusDone> waiters;
  };
  ClientCore& core_;
  std::map<uint64_t, std::weak_ptr<FileWriter>> writers_;
  std::map<uint64_t, Releasing> releasing_;
  int opening_ = 0;
  bool cutting_ = false;
  std::deque<Task> waiting_for_cut_;
};

}  // namespace dfs::client
