#include "common/client/core/file_reader.h"

#include <algorithm>
#include <cstring>

#include "common/client/core/calls.h"
#include "dfs_types.h"

namespace dfs::client {
namespace {
constexpr uint64_t kLocateAhead = 16;  // slots asked for at once
constexpr int64_t kRetryNs = 200 * kMillisecond;
/// Shorter pieces are not worth a descriptor of their own.
constexpr uint64_t kLocalFrom = 1u << 20;
constexpr int kCorruptRounds = 3;  // all replicas damaged this often in a row: they stay so
constexpr int kLostRounds = 2;     // nobody has it, nor is waited for, said twice: the first may have been old
}  // namespace

struct FileReader::ReadOp {
  uint64_t offset = 0;
  char* out = nullptr;
  size_t size = 0;
  GuardPtr guard;
  Done<size_t> done;
  int64_t deadline_ns = 0;
  int corrupt_rounds = 0;
  int lost_rounds = 0;
  size_t clipped = 0;  // size, or what the file has
  bool force = false;  // the locations were no good
  size_t pieces = 0;   // under way
  Status error;
  std::vector<std::shared_ptr<BlockReader>> readers;
};

FileReader::FileReader(std::shared_ptr<ClientCore> core, uint64_t inode, uint64_t block_size,
                       std::string name)
    : core_(std::move(core)),
      inode_(inode),
      name_(std::move(name)),
      block_size_(std::max<uint64_t>(block_size, 1)),
      attr_(std::make_unique<idl::Attr>()) {}

FileReader::~FileReader() = default;

void FileReader::Open(std::shared_ptr<ClientCore> core, std::string path,
                      Done<std::shared_ptr<FileReader>> done) {
  idl::OpenFileRequest request;
  request.ref.path = path;
  core->FillCaller(&request.caller);
  request.client_host_id = core->options().host_id;
  const int64_t asked = core->Now();
  ClientCore& c = *core;
  dfs::client::Read<idl::kOpenFile>(
      c, request, c.Deadline(),
      [core = std::move(core), path = std::move(path), asked,
       done = std::move(done)](Result<idl::OpenFileReply> reply) {
        if (!reply) {
          done(reply.error());
          return;
        }
        if (reply->attr.type == idl::FileType::DIRECTORY) {
          done(Status(Code::kIsDirectory, "is a directory"));
          return;
        }
        std::shared_ptr<FileReader> reader(
            new FileReader(core, static_cast<uint64_t>(reply->attr.inode),
                           static_cast<uint64_t>(reply->attr.block_size), "/" + path));
        reader->TakeLocations(reply->attr, reply->has_inline_data, reply->inline_data,
                              reply->blocks, 0, kLocateAhead * reader->block_size_, asked);
        done(std::move(reader));
      });
}

std::shared_ptr<FileReader> FileReader::ForInode(std::shared_ptr<ClientCore> core, uint64_t inode,
                                                 uint64_t block_size, std::string name) {
  if (name.empty()) name = "inode " + std::to_string(inode);
  return std::shared_ptr<FileReader>(
      new FileReader(std::move(core), inode, block_size, std::move(name)));
}

void FileReader::TakeLocations(const idl::Attr& attr, bool has_inline,
                               const std::string& inline_data,
                               const std::vector<idl::LocatedBlock>& blocks, uint64_t offset,
                               uint64_t length, int64_t asked_ns) {
  *attr_ = attr;
  size_ = static_cast<uint64_t>(attr.size);
  if (attr.block_size > 0) block_size_ = static_cast<uint64_t>(attr.block_size);
  has_inline_ = has_inline && !inline_data.empty();
  inline_data_ = inline_data;
  places_.clear();
  for (const idl::LocatedBlock& located : blocks) {
    BlockPlace place = PlaceFromIdl(located);
    if (place.block != 0) places_[place.slot] = std::move(place);
  }
  covered_from_ = offset / block_size_;
  // length may be "to the end"
  const uint64_t end = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
  covered_to_ = end / block_size_ + (end % block_size_ != 0 ? 1 : 0);
  fetched_ns_ = asked_ns;
}

bool FileReader::Fresh() const {
  return fetched_ns_ != 0 && core_->Now() - fetched_ns_ <= core_->options().location_age_ns;
}

bool FileReader::Covers(uint64_t offset, uint64_t length) const {
  if (offset >= size_) return true;
  if (has_inline_ && size_ <= inline_data_.size()) return true;
  const uint64_t end = std::min(size_, offset + length);
  return offset / block_size_ >= covered_from_ && (end - 1) / block_size_ < covered_to_;
}

const BlockPlace* FileReader::PlaceOf(uint64_t slot) const {
  auto it = places_.find(slot);
  return it == places_.end() ? nullptr : &it->second;
}

void FileReader::Locate(uint64_t offset, uint64_t length, bool force, int64_t deadline_ns,
                        StatusDone done) {
  if (!force && Fresh() && Covers(offset, length)) {
    done(Status());
    return;
  }
  const uint64_t first = offset / block_size_ * block_size_;
  const uint64_t wanted = std::max<uint64_t>(offset - first + length, kLocateAhead * block_size_);
  idl::GetBlocksRequest request;
  request.inode = static_cast<int64_t>(inode_);
  request.session = static_cast<int64_t>(core_->session().id());
  request.offset = static_cast<int64_t>(first);
  request.length = static_cast<int64_t>(std::min<uint64_t>(wanted, INT64_MAX - first));
  core_->FillCaller(&request.caller);
  request.client_host_id = core_->options().host_id;
  const int64_t asked = core_->Now();
  dfs::client::Read<idl::kGetBlocks>(
      *core_, request, deadline_ns,
      [weak = weak_from_this(), first, asked, covered = static_cast<uint64_t>(request.length),
       done = std::move(done)](Result<idl::GetBlocksReply> reply) {
        auto self = weak.lock();
        if (!self) return;
        if (!reply) {
          done(reply.error());
          return;
        }
        uint64_t got = covered;
        // The namenode may have cut its answer: what it said of is known.
        const uint64_t end =
            std::min<uint64_t>(first + covered, static_cast<uint64_t>(reply->attr.size));
        if (!reply->blocks.empty() && !reply->has_inline_data) {
          const uint64_t bs = std::max<uint64_t>(static_cast<uint64_t>(reply->attr.block_size), 1);
          const uint64_t said = (static_cast<uint64_t>(reply->blocks.back().slot) + 1) * bs;
          if (reply->blocks.size() >= 1000 && said < end) got = said - first;
        }
        self->TakeLocations(reply->attr, reply->has_inline_data, reply->inline_data, reply->blocks,
                            first, got, asked);
        done(Status());
      });
}

// ---- Reads at an offset -------------------------------------------------------------------------

void FileReader::ReadAt(uint64_t offset, char* out, size_t size, GuardPtr guard,
                        Done<size_t> done) {
  if (size == 0) {
    done(size_t{0});
    return;
  }
  auto op = std::make_shared<ReadOp>();
  op->offset = offset;
  op->out = out;
  op->size = size;
  op->guard = std::move(guard);
  op->done = std::move(done);
  op->deadline_ns = core_->Deadline();
  ops_.push_back(op);
  RunOp(op);
}

void FileReader::RunOp(const OpPtr& op) {
  const bool force = std::exchange(op->force, false);
  Locate(op->offset, op->size, force, op->deadline_ns,
         [weak = weak_from_this(), weak_op = std::weak_ptr<ReadOp>(op)](Status status) {
           auto self = weak.lock();
           auto located = weak_op.lock();
           if (!self || !located) return;
           if (!status.ok()) {
             self->FinishOp(located, self->Named(status));
           } else if (located->guard->cancelled || located->offset >= self->size_) {
             self->FinishOp(located, size_t{0});
           } else {
             self->StartPieces(located);
           }
         });
}

void FileReader::StartPieces(const OpPtr& op) {
  op->clipped = std::min<uint64_t>(op->size, size_ - op->offset);
  op->error = Status();
  op->readers.clear();
  op->pieces = 1;  // ours, until all are started
  const uint64_t end = op->offset + op->clipped;
  for (uint64_t at = op->offset; at < end;) {
    char* out = op->out + (at - op->offset);
    const uint64_t slot = at / block_size_;
    const uint64_t slot_start = slot * block_size_;
    uint64_t stop = std::min(end, slot_start + block_size_);
    const BlockPlace* place = has_inline_ ? nullptr : PlaceOf(slot);
    if (has_inline_ && at < inline_data_.size()) {
      stop = std::min<uint64_t>(stop, inline_data_.size());
      std::memcpy(out, inline_data_.data() + at, stop - at);
    } else if (place != nullptr && at < slot_start + place->length) {
      stop = std::min(stop, slot_start + place->length);
      ++op->pieces;
      op->readers.push_back(BlockReader::Start(
          core_, *place, at - slot_start, stop - at,
          [weak_op = std::weak_ptr<ReadOp>(op), out](Buffer piece) mutable {
            auto filling = weak_op.lock();
            if (!filling || filling->guard->cancelled) return;
            std::memcpy(out, piece.data(), piece.size());
            out += piece.size();
          },
          [weak = weak_from_this(), weak_op = std::weak_ptr<ReadOp>(op)](Status status) {
            auto self = weak.lock();
            auto finished = weak_op.lock();
            if (self && finished) self->OnPieceDone(finished, status);
          }));
    } else {
      std::memset(out, 0, stop - at);
    }
    at = stop;
  }
  OnPieceDone(op, Status());
}

void FileReader::OnPieceDone(const OpPtr& op, const Status& status) {
  if (!status.ok()) op->error = status;
  if (--op->pieces > 0) return;
  const bool lost = std::any_of(op->readers.begin(), op->readers.end(),
                                [](const auto& reader) { return reader->lost(); });
  // This may run within a reader's own call.
  core_->executor().Post([readers = std::move(op->readers)] {});
  op->readers.clear();
  if (op->error.ok() || op->guard->cancelled) {
    FinishOp(op, op->clipped);
    return;
  }
  Invalidate();
  op->lost_rounds += lost ? 1 : 0;
  const bool hopeless =
      (op->error.Is(Code::kCorrupt) && ++op->corrupt_rounds >= kCorruptRounds) ||
      (op->error.Is(Code::kMissingBlock) && op->lost_rounds >= kLostRounds);
  const bool late = core_->Now() + kRetryNs >= op->deadline_ns;
  if (hopeless || core_->closed() || late) {
    FinishOp(op, hopeless || !late ? Named(op->error) : GivenUp(op->error));
    return;
  }
  // The block may have moved, been rewritten under a new stamp, or be between two writers.
  op->force = true;
  core_->executor().RunAfter(kRetryNs,
                             [weak = weak_from_this(), weak_op = std::weak_ptr<ReadOp>(op)] {
                               auto self = weak.lock();
                               auto again = weak_op.lock();
                               if (self && again) self->RunOp(again);
                             });
}

Status FileReader::Named(const Status& why) const {
  return why.WithContext(name_);
}

Status FileReader::GivenUp(const Status& why) const {
  // Nobody has it: that is no matter of time, and a caller is to be told so.
  const Code code = why.Is(Code::kMissingBlock) ? Code::kMissingBlock : Code::kTimedOut;
  return Named(Status(code, "no replica could be read for " +
                                std::to_string(core_->options().timeout_ns / kSecond) +
                                " s, the last answer was: " + why.message()));
}

void FileReader::FinishOp(const OpPtr& op, Result<size_t> result) {
  const OpPtr keep = op;
  std::erase(ops_, keep);
  if (keep->guard->cancelled) return;
  keep->done(std::move(result));
}

// ---- Blocks of this host ------------------------------------------------------------------------

void FileReader::Local(uint64_t offset, Done<LocalSpan> done) {
  Locate(offset, 1, false, core_->Deadline(),
         [weak = weak_from_this(), offset, done = std::move(done)](Status status) mutable {
           auto self = weak.lock();
           if (!self) return;
           if (!status.ok()) return done(status);
           self->LocalOf(offset, std::move(done));
         });
}

void FileReader::LocalOf(uint64_t offset, Done<LocalSpan> done) {
  LocalSpan span;
  const uint64_t slot = offset / block_size_;
  span.slot_start = slot * block_size_;
  span.end = std::max(offset, std::min(span.slot_start + block_size_, size_));
  span.fresh_until_ns = fetched_ns_ + core_->options().location_age_ns;
  const BlockPlace* place = has_inline_ ? nullptr : PlaceOf(slot);
  const uint64_t place_end =
      place == nullptr ? 0 : std::min(span.slot_start + place->length, span.end);
  if (place_end < offset + kLocalFrom || local_fetch_ != nullptr ||
      LocalBlockFetch::LocalReplica(*core_, *place) == nullptr) {
    return done(std::move(span));
  }
  const uint64_t in_block = offset - span.slot_start;
  if (local_ != nullptr && local_block_ == place->block && local_stamp_ == place->stamp &&
      local_->begin() <= in_block && span.slot_start + local_->end() >= place_end) {
    span.block = local_;
    span.end = place_end;
    return done(std::move(span));
  }
  local_ = nullptr;
  local_block_ = place->block;
  local_stamp_ = place->stamp;
  local_fetch_ = LocalBlockFetch::Start(
      core_, *place, in_block,
      [weak = weak_from_this(), span, place_end,
       done = std::move(done)](Result<LocalBlockPtr> block) mutable {
        auto self = weak.lock();
        if (!self) return;
        self->core_->executor().Post([fetch = std::exchange(self->local_fetch_, nullptr)] {});
        if (block) {
          self->local_ = std::move(*block);
          span.block = self->local_;
          span.end = place_end;
        }
        done(std::move(span));
      });
}

// ---- Sequential reads ---------------------------------------------------------------------------

namespace {
constexpr size_t kFirstWindow = 1u << 20;
}  // namespace

std::shared_ptr<FileStream> FileStream::Create(std::shared_ptr<FileReader> reader,
                                               uint64_t position) {
  return std::shared_ptr<FileStream>(new FileStream(std::move(reader), position));
}

FileStream::FileStream(std::shared_ptr<FileReader> reader, uint64_t position)
    : reader_(std::move(reader)),
      core_(reader_->core_),
      position_(position),
      fetch_offset_(position),
      window_(std::min(kFirstWindow, std::max<size_t>(core_->options().read_ahead_bytes, 1))) {}

FileStream::~FileStream() {
  if (block_ != nullptr) block_->Cancel();
}

void FileStream::Read(char* out, size_t size, Done<size_t> done) {
  out_ = out;
  out_size_ = size;
  out_done_ = 0;
  done_ = std::move(done);
  if (at_end_ && ready_.empty()) at_end_ = false;  // it may have grown
  // A reader that asks for much is given a window to match.
  window_ = std::max(window_, std::min(size * 2, core_->options().read_ahead_bytes));
  Serve();
}

void FileStream::CancelRead() {
  out_ = nullptr;
  out_size_ = 0;
  done_ = nullptr;
}

void FileStream::Serve() {
  while (done_ && out_done_ < out_size_ && !ready_.empty()) {
    Buffer& front = ready_.front();
    const size_t take = std::min(front.size(), out_size_ - out_done_);
    std::memcpy(out_ + out_done_, front.data(), take);
    out_done_ += take;
    position_ += take;
    ready_bytes_ -= take;
    if (take == front.size()) {
      ready_.pop_front();
    } else {
      front = front.Slice(take, front.size() - take);
    }
  }
  if (done_) {
    if (out_done_ == out_size_ || (at_end_ && ready_.empty())) {
      window_ = std::min(window_ * 2, std::max(core_->options().read_ahead_bytes, kFirstWindow));
      FinishRead(out_done_);
    } else if (!error_.ok() && ready_.empty()) {
      if (out_done_ > 0) {
        FinishRead(out_done_);
      } else {
        const Status error = std::exchange(error_, Status());
        FinishRead(error);
        return;
      }
    }
  }
  if (block_ != nullptr) {
    if (ready_bytes_ < window_ / 2) block_->Pause(false);
  } else {
    Fetch();
  }
}

void FileStream::FinishRead(Result<size_t> result) {
  Done<size_t> done = std::move(done_);
  done_ = nullptr;
  out_ = nullptr;
  out_size_ = 0;
  if (done) done(std::move(result));
}

void FileStream::Fetch() {
  if (block_ != nullptr || locating_ || at_end_ || !error_.ok() || Full()) return;
  locating_ = true;
  reader_->Locate(fetch_offset_, 1, false, core_->Deadline(),
                  [weak = weak_from_this()](Status status) {
                    auto self = weak.lock();
                    if (!self) return;
                    self->locating_ = false;
                    if (!status.ok()) {
                      self->error_ = self->reader_->Named(status);
                      self->Serve();
                      return;
                    }
                    self->StartBlock();
                  });
}

void FileStream::StartBlock() {
  FileReader& file = *reader_;
  if (fetch_offset_ >= file.size_) {
    at_end_ = true;
    Serve();
    return;
  }
  const uint64_t slot = fetch_offset_ / file.block_size_;
  const uint64_t slot_start = slot * file.block_size_;
  const uint64_t slot_end = std::min(slot_start + file.block_size_, file.size_);
  if (file.has_inline_ && fetch_offset_ < file.inline_data_.size()) {
    const uint64_t stop = std::min<uint64_t>(file.inline_data_.size(), file.size_);
    Push(Buffer::Copy(
        std::string_view(file.inline_data_).substr(fetch_offset_, stop - fetch_offset_)));
    Serve();
    return;
  }
  const BlockPlace* place = file.PlaceOf(slot);
  const uint64_t data_end = place == nullptr || file.has_inline_
                                ? slot_start
                                : std::min(slot_end, slot_start + place->length);
  if (fetch_offset_ >= data_end) {
    PushZeros(slot_end - fetch_offset_);
    Serve();
    return;
  }
  block_ = BlockReader::Start(
      core_, *place, fetch_offset_ - slot_start, data_end - fetch_offset_,
      [weak = weak_from_this()](Buffer piece) {
        auto self = weak.lock();
        if (!self) return;
        self->Push(std::move(piece));
        if (self->Full() && self->block_ != nullptr) self->block_->Pause(true);
        self->Serve();
      },
      [weak = weak_from_this()](Status status) {
        if (auto self = weak.lock()) self->OnBlockDone(status);
      });
}

void FileStream::Push(Buffer piece) {
  fetch_offset_ += piece.size();
  ready_bytes_ += piece.size();
  failing_until_ns_ = 0;
  corrupt_rounds_ = lost_rounds_ = 0;
  ready_.push_back(std::move(piece));
}

void FileStream::PushZeros(uint64_t count) {
  static const auto zeros = std::make_shared<const std::string>(256u << 10, '\0');
  while (count > 0 && !Full()) {
    const size_t take = std::min<uint64_t>(count, zeros->size());
    Push(Buffer::Wrap(zeros, zeros->data(), take));
    count -= take;
  }
}

void FileStream::OnBlockDone(const Status& status) {
  const bool lost = block_ != nullptr && block_->lost();
  core_->executor().Post([block = std::exchange(block_, nullptr)] {});
  if (status.ok()) {
    Serve();
    return;
  }
  if (failing_until_ns_ == 0) failing_until_ns_ = core_->Deadline();
  lost_rounds_ += lost ? 1 : 0;
  const bool hopeless = (status.Is(Code::kCorrupt) && ++corrupt_rounds_ >= kCorruptRounds) ||
                        (status.Is(Code::kMissingBlock) && lost_rounds_ >= kLostRounds);
  const bool late = core_->Now() + kRetryNs >= failing_until_ns_;
  if (hopeless || core_->closed() || late) {
    error_ = hopeless || !late ? reader_->Named(status) : reader_->GivenUp(status);
    failing_until_ns_ = 0;
    corrupt_rounds_ = lost_rounds_ = 0;
    Serve();
    return;
  }
  reader_->Invalidate();
  locating_ = true;
  core_->executor().RunAfter(kRetryNs, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->locating_ = false;
    self->Fetch();
  });
}

}  // namespace dfs::client
