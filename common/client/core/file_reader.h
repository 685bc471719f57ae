// FileReader: a file open for reading. Block locations are cached for at most 3 s (a reader without a
// session may lag by that much); inline files are served from the inode. Reads at any offset, several at
// once; FileStream reads in sequence, ahead of its consumer. Confined to the core's executor; owned by
// shared_ptr.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/client/core/block_reader.h"
#include "common/client/core/client_core.h"
#include "common/client/core/local_block.h"

namespace dfs::client {

class FileReader : public std::enable_shared_from_this<FileReader> {
 public:
  static void Open(std::shared_ptr<ClientCore> core, std::string path,
                   Done<std::shared_ptr<FileReader>> done);
  /// Of a file whose inode is known; nothing is cached yet. name: for messages.
  static std::shared_ptr<FileReader> ForInode(std::shared_ptr<ClientCore> core, uint64_t inode,
                                              uint64_t block_size, std::string name = "");
  ~FileReader();

  /// Set cancelled before the memory goes away.
  struct Guard {
    bool cancelled = false;
  };
  using GuardPtr = std::shared_ptr<Guard>;
  /// Fills out[0, size) from offset unless the file ends; how many bytes. kTimedOut when no replica could be read for
  /// as long as an operation may take.
  void ReadAt(uint64_t offset, char* out, size_t size, GuardPtr guard, Done<size_t> done);
  /// How the file can be read from an offset on: by whoever asks, from block, at file offset minus slot_start;
  /// or, without block, with ReadAt or a FileStream.
  struct LocalSpan {
    LocalBlockPtr block;
    uint64_t slot_start = 0;
    uint64_t end = 0;            // of this answer, in the file
    int64_t fresh_until_ns = 0;  // then the block may be another; BootNs
  };
  void Local(uint64_t offset, Done<LocalSpan> done);
  /// Forgets locations, e.g. because this client changed them.
  void Invalidate() { fetched_ns_ = 0; }
  uint64_t size() const { return size_; }
  uint64_t inode() const { return inode_; }
  const idl::Attr& attr() const { return *attr_; }

 private:
  friend class FileStream;
  struct ReadOp;

  FileReader(std::shared_ptr<ClientCore> core, uint64_t inode, uint64_t block_size,
             std::string name);
  Status Named(const Status& why) const;
  /// The time for trying is over.
  Status GivenUp(const Status& why) const;
  /// Fresh locations of the range (as far as the file goes).
  void Locate(uint64_t offset, uint64_t length, bool force, int64_t deadline_ns, StatusDone done);
  void TakeLocations(const idl::Attr& attr, bool has_inline, const std::string& inline_data,
                     const std::vector<idl::LocatedBlock>& blocks, uint64_t offset, uint64_t length,
                     int64_t asked_ns);
  bool Fresh() const;
  bool Covers(uint64_t offset, uint64_t length) const;
  /// The slot's place; null: a hole. Only what Locate covered.
  const BlockPlace* PlaceOf(uint64_t slot) const;
  using OpPtr = std::shared_ptr<ReadOp>;
  void RunOp(const OpPtr& op);
  void StartPieces(const OpPtr& op);
  void OnPieceDone(const OpPtr& op, const Status& status);
  void FinishOp(const OpPtr& op, Result<size_t> result);
  void LocalOf(uint64_t offset, Done<LocalSpan> done);

  const std::shared_ptr<ClientCore> core_;
  const uint64_t inode_;
  const std::string name_;
  uint64_t block_size_;
  std::unique_ptr<idl::Attr> attr_;
  uint64_t size_ = 0;
  bool has_inline_ = false;
  std::string inline_data_;
  std::map<uint64_t, BlockPlace> places_;  // by slot
  uint64_t covered_from_ = 0;              // slots [from, to) are known
  uint64_t covered_to_ = 0;
  int64_t fetched_ns_ = 0;  // when the locations were asked for
  LocalBlockPtr local_;     // the last one
  uint64_t local_block_ = 0;
  uint64_t local_stamp_ = 0;
  std::shared_ptr<LocalBlockFetch> local_fetch_;
  std::vector<OpPtr> ops_;  // under way; everything else refers to them weakly
};

/// Sequential reading with read-ahead. Owned by shared_ptr; one Read at a time.
class FileStream : public std::enable_shared_from_this<FileStream> {
 public:
  static std::shared_ptr<FileStream> Create(std::shared_ptr<FileReader> reader, uint64_t position);
  ~FileStream();

  /// At least one byte unless at the end (0); waits until size bytes are there or the file ends.
  void Read(char* out, size_t size, Done<size_t> done);
  /// The Read under way will not touch its memory any more and gets no answer.
  void CancelRead();
  uint64_t position() const { return position_; }

 private:
  FileStream(std::shared_ptr<FileReader> reader, uint64_t position);
  void Serve();
  void Fetch();
  void StartBlock();
  void Push(Buffer piece);
  void PushZeros(uint64_t count);
  void OnBlockDone(const Status& status);
  void FinishRead(Result<size_t> result);
  bool Full() const { return ready_bytes_ >= window_; }

  const std::shared_ptr<FileReader> reader_;
  const std::shared_ptr<ClientCore> core_;
  uint64_t position_;      // of the consumer
  uint64_t fetch_offset_;  // of the producer
  std::deque<Buffer> ready_;
  size_t ready_bytes_ = 0;
  size_t window_;
  std::shared_ptr<BlockReader> block_;
  bool locating_ = false;
  bool at_end_ = false;
  Status error_;
  int64_t failing_until_ns_ = 0;  // 0: the last block read went well
  int corrupt_rounds_ = 0;
  int lost_rounds_ = 0;
  char* out_ = nullptr;
  size_t out_size_ = 0;
  size_t out_done_ = 0;
  Done<size_t> done_;
};

}  // namespace dfs::client
