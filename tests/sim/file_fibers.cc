// The fibers that work on the content of files, and the one that looks at everything in the end.
#include <fmt/core.h>

#include <algorithm>

#include "common/client/core/calls.h"
#include "common/client/core/file_reader.h"
#include "common/client/core/file_writer.h"
#include "common/idl/methods.h"
#include "dfs_types.h"
#include "tests/sim/fiber.h"

namespace dfs::sim {

namespace {

using client::FileReader;
using client::FileWriter;

constexpr uint64_t kMaxFileBytes = 200u << 10;

// Reads a range of a file by path and checks what comes.
class CheckedRead : public std::enable_shared_from_this<CheckedRead> {
 public:
  using DoneFn = std::function<void(const Status&, const std::string& violation)>;

  CheckedRead(Cluster& cluster, std::shared_ptr<client::ClientCore> core, SharedFile& file)
      : cluster_(cluster), core_(std::move(core)), file_(file) {}

  void Run(uint64_t offset, uint64_t size, DoneFn done) {
    offset_ = offset;
    buffer_.resize(size);
    done_ = std::move(done);
    since_ = file_.model.Now();
    loss_epoch_ = cluster_.loss_epoch();
    FileReader::Open(core_, file_.path,
                     [self = shared_from_this()](Result<std::shared_ptr<FileReader>> reader) {
                       if (!reader) {
                         self->done_(reader.error(), "");
                         return;
                       }
                       self->reader_ = *reader;
                       self->Read();
                     });
  }

 private:
  void Read() {
    auto self = shared_from_this();
    auto guard = std::make_shared<FileReader::Guard>();
    reader_->ReadAt(offset_, buffer_.data(), buffer_.size(), guard, [self](Result<size_t> got) {
      if (!got) {
        self->done_(got.error(), "");
        return;
      }
      ++self->cluster_.stats().reads_checked;
      // Memory lost meanwhile: the flushed promises do not hold then.
      const uint64_t epoch =
          self->loss_epoch_ == self->cluster_.loss_epoch() ? self->loss_epoch_ : UINT64_MAX;
      const std::string_view data = std::string_view(self->buffer_).substr(0, *got);
      FileModel& model = self->file_.model;
      const std::string violation =
          model.Check(self->offset_, data, *got < self->buffer_.size(), self->since_, epoch);
      if (violation.empty()) model.Saw(self->offset_, data, epoch);
      self->done_(Status::Ok(), violation);
    });
  }

  Cluster& cluster_;
  const std::shared_ptr<client::ClientCore> core_;
  SharedFile& file_;
  std::shared_ptr<FileReader> reader_;
  uint64_t offset_ = 0;
  std::string buffer_;
  uint64_t since_ = 0;
  uint64_t loss_epoch_ = 0;
  DoneFn done_;
};

class ReadFiber final : public Fiber {
 public:
  ReadFiber(Workload& workload, ClientHost& host)
      : Fiber(workload, host, host.name() + ".reader") {}

 private:
  void Act() override {
    SharedFile& file = *workload_.files()[random().Uniform(workload_.files().size())];
    const uint64_t max = std::max<uint64_t>(file.model.max_size(), FileModel::kUnit);
    const uint64_t offset =
        random().OneIn(2) ? 0 : random().Uniform(max / FileModel::kUnit) * FileModel::kUnit;
    const uint64_t size =
        random().OneIn(2) ? max + FileModel::kUnit : FileModel::kUnit * (1 + random().Uniform(200));
    const bool existed = file.exists;
    Doing(fmt::format("read {} [{}, +{})", file.path, offset, size));
    auto read = std::make_shared<CheckedRead>(workload_.cluster(), core_, file);
    read->Run(offset, size,
              [this, self = shared_from_this(), existed](const Status& status,
                                                         const std::string& violation) {
                Note(status);
                if (!violation.empty()) Fail(doing() + ": " + violation);
                if (status.Is(Code::kNotFound) && existed) Fail(doing() + ": the file is gone");
                Next(kMillisecond, 150 * kMillisecond);
              });
  }
};

class WriteFiber final : public Fiber {
 public:
  WriteFiber(Workload& workload, ClientHost& host)
      : Fiber(workload, host, host.name() + ".writer") {}

  void OnDeath() override { Release(); }

 private:
  void Act() override {
    if (!writer_) {
      Open();
      return;
    }
    const uint64_t dice = random().Uniform(21);
    if (dice == 20) {
      Truncate();
    } else if (dice < 7) {
      Append();
    } else if (dice < 11) {
      Overwrite();
    } else if (dice < 13) {
      Flush();
    } else if (dice < 16) {
      Sync();
    } else if (dice < 18) {
      ReadOwn();
    } else {
      Close(random().OneIn(3));
    }
  }

  bool Finish() override {
    if (!writer_) return false;
    Close(true);
    return true;
  }

  void Release() {
    if (file_ != nullptr) file_->owned = false;
    file_ = nullptr;
    writer_ = nullptr;
  }

  void Drop(const Status& why) {
    if (!OutcomeUnknown(why) && !Tolerated(why)) Fail(doing() + ": unexpected " + why.ToString());
    if (writer_) {
      workload_.cluster().stats().chain_failures += writer_->exclusions() - exclusions_counted_;
      // Its blocks stay open until the session ends, so the process does what a program should do that cannot
      // write: it exits. Recovery then closes the file.
      ClientHost& host = host_;
      workload_.cluster().scheduler().After(0, [&host] { host.Exit(); });
      return;
    }
    Release();
    Next(20 * kMillisecond, 500 * kMillisecond);
  }

  // Errors that faults excuse: another session still has the block open, its replicas are down, the handle
  // was fenced by recovery after its session expired.
  static bool Tolerated(const Status& status) {
    switch (status.code()) {
      case Code::kBusy:
      case Code::kStaleStamp:
      case Code::kConflict:
      case Code::kMissingBlock:
      case Code::kIoError:
      case Code::kStaleIncarnation:
      case Code::kNoSpace:
        return true;
      default:
        return false;
    }
  }

  void Open() {
    std::vector<SharedFile*> free;
    for (auto& file : workload_.files()) {
      if (!file->owned) free.push_back(file.get());
    }
    file_ = free[random().Uniform(free.size())];
    file_->owned = true;
    Doing("open " + file_->path);
    const auto done = [this, self = shared_from_this()](Result<FileWriter::Ptr> writer) {
      Note(writer.status());
      if (!writer) {
        Drop(writer.error());
        return;
      }
      writer_ = *writer;
      exclusions_counted_ = 0;
      file_->exists = true;
      after_ = file_->model.last_write();
      opened_epoch_ = workload_.cluster().loss_epoch();
      const std::string wrong =
          file_->model.OpenedAt(writer_->size(), workload_.cluster().loss_epoch());
      if (!wrong.empty()) Fail(doing() + ": " + wrong);
      Next();
    };
    const size_t max_open = random().OneIn(2) ? 1 : 4;
    if (file_->exists && random().OneIn(2)) {
      client::FileOpen how;
      how.path = file_->path;
      FileWriter::Open(core_, how, max_open, done);
    } else {
      client::FileCreate how;
      how.path = file_->path;
      how.overwrite = false;
      FileWriter::Create(core_, how, max_open, done);
    }
  }

  uint64_t AnySize() {
    const uint64_t most = random().OneIn(3) ? 600 : 12;
    return FileModel::kUnit * (1 + random().Uniform(most));
  }

  void Write(uint64_t offset, uint64_t size) {
    Doing(fmt::format("write {} [{}, +{}) as {}", file_->path, offset, size,
                      file_->model.last_write() + 1));
    writer_->Write(offset,
                   Buffer(file_->model.BeginWrite(offset, size, workload_.cluster().loss_epoch())));
    writer_->WhenBelow(128u << 10,
                       [this, self = shared_from_this(), w = writer_](const Status& status) {
                         if (w != writer_) return;
                         if (!status.ok()) {
                           Note(status);
                           Drop(status);
                           return;
                         }
                         Next(kMillisecond, 20 * kMillisecond);
                       });
  }

  void Append() {
    const uint64_t size = writer_->size() / FileModel::kUnit * FileModel::kUnit;
    if (size >= kMaxFileBytes) {
      Overwrite();
      return;
    }
    // Now and then a hole is left, of up to a few blocks.
    const uint64_t room = (kMaxFileBytes - size) / FileModel::kUnit;
    const uint64_t gap = random().OneIn(6) ? random().Uniform(room) : 0;
    Write(size + gap * FileModel::kUnit, AnySize());
  }

  void Overwrite() {
    const uint64_t units = writer_->size() / FileModel::kUnit;
    if (units == 0) {
      Append();
      return;
    }
    const uint64_t offset = random().Uniform(units) * FileModel::kUnit;
    Write(offset, AnySize());
  }

  void Truncate() {
    const uint64_t units = writer_->size() / FileModel::kUnit;
    const uint64_t to = FileModel::kUnit * (random().OneIn(3) ? units + random().Uniform(100)
                                                              : random().Uniform(units + 1));
    if (to > kMaxFileBytes) {
      Overwrite();
      return;
    }
    const uint32_t number = file_->model.BeginTruncate(to);
    Doing(fmt::format("truncate {} to {} as {}", file_->path, to, number));
    writer_->Truncate(to,
                      [this, self = shared_from_this(), w = writer_, number](const Status& status) {
                        if (w != writer_) return;
                        Note(status);
                        if (!status.ok()) {
                          Drop(status);
                          return;
                        }
                        file_->model.TruncateDone(number);
                        Next();
                      });
  }

  void Flush() {
    Doing("flush " + file_->path);
    const uint64_t upto = file_->model.last_write();
    const uint64_t epoch = opened_epoch_;
    writer_->Flush(
        [this, self = shared_from_this(), w = writer_, upto, epoch](const Status& status) {
          if (w != writer_) return;
          Note(status);
          if (!status.ok()) {
            Drop(status);
            return;
          }
          if (epoch == workload_.cluster().loss_epoch())
            file_->model.FlushDone(after_, upto, epoch);
          Next();
        });
  }

  void Sync() {
    Doing("sync " + file_->path);
    const uint64_t upto = file_->model.last_write();
    writer_->Sync([this, self = shared_from_this(), w = writer_, upto](const Status& status) {
      if (w != writer_) return;
      Note(status);
      if (!status.ok()) {
        Drop(status);
        return;
      }
      ++workload_.cluster().stats().syncs_ok;
      file_->model.SyncDone(after_, upto);
      Next();
    });
  }

  void ReadOwn() {
    const uint64_t units = writer_->size() / FileModel::kUnit;
    if (units == 0) {
      Append();
      return;
    }
    const uint64_t offset = random().Uniform(units) * FileModel::kUnit;
    Doing(fmt::format("read own {} at {}", file_->path, offset));
    auto buffer = std::make_shared<std::string>(AnySize(), '\0');
    auto guard = std::make_shared<FileReader::Guard>();
    const uint64_t since = file_->model.Now();
    const uint64_t epoch = workload_.cluster().loss_epoch();
    writer_->ReadAt(offset, buffer->data(), buffer->size(), guard,
                    [this, self = shared_from_this(), w = writer_, buffer, offset, since,
                     epoch](Result<size_t> got) {
                      if (w != writer_) return;
                      Note(got.status());
                      if (!got) {
                        Drop(got.error());
                        return;
                      }
                      ++workload_.cluster().stats().reads_checked;
                      const uint64_t now_epoch = workload_.cluster().loss_epoch();
                      const std::string violation = file_->model.Check(
                          offset, std::string_view(*buffer).substr(0, *got), *got < buffer->size(),
                          since, epoch == now_epoch ? epoch : UINT64_MAX);
                      if (!violation.empty()) Fail(doing() + ": " + violation);
                      Next();
                    });
  }

  void Close(bool sync) {
    Doing(fmt::format("close {}{}", file_->path, sync ? " synced" : ""));
    const uint64_t upto = file_->model.last_write();
    const uint64_t epoch = opened_epoch_;
    client::FileClose how;
    how.sync = sync;
    writer_->Close(how, [this, self = shared_from_this(), w = writer_, upto, epoch,
                         sync](const Status& status) {
      if (w != writer_) return;
      Note(status);
      if (!status.ok()) {
        Drop(status);
        return;
      }
      workload_.cluster().stats().chain_failures += writer_->exclusions() - exclusions_counted_;
      if (sync) {
        ++workload_.cluster().stats().syncs_ok;
        file_->model.SyncDone(after_, upto);
      } else if (epoch == workload_.cluster().loss_epoch()) {
        file_->model.FlushDone(after_, upto, epoch);
      }
      Release();
      Next();
    });
  }

  SharedFile* file_ = nullptr;
  FileWriter::Ptr writer_;
  uint64_t after_ = 0;  // writes of this handle are later
  /// A flush is remembered only when no datanode lost its memory since the file was opened: what an earlier flush
  /// had brought there may be gone, and a later one with nothing new to send does not notice.
  uint64_t opened_epoch_ = 0;
  uint32_t exclusions_counted_ = 0;
};

// One look at everything, after the cluster has been mended.
class VerifyFiber final : public Fiber {
 public:
  VerifyFiber(Workload& workload, ClientHost& host, std::vector<TreeModel*> trees)
      : Fiber(workload, host, host.name() + ".verify"), trees_(std::move(trees)) {}

 private:
  void Act() override { Look(); }
  bool Finish() override { return Look(); }

  bool Look() {
    while (next_file_ < workload_.files().size()) {
      SharedFile& file = *workload_.files()[next_file_];
      const uint64_t offset = next_offset_;
      next_offset_ += workload_.cluster().options().block_size;
      if (next_offset_ > file.model.max_size()) {
        ++next_file_;
        next_offset_ = 0;
      }
      ReadBlock(file, offset);
      return true;
    }
    if (next_tree_ < trees_.size()) {
      listing_.clear();
      dirs_ = {""};
      List(*trees_[next_tree_++]);
      return true;
    }
    return false;
  }

  // Block by block: one that was never synced may be lost with the memory of all its members, and then
  // it alone.
  void ReadBlock(SharedFile& file, uint64_t offset) {
    const uint64_t size = workload_.cluster().options().block_size;
    Doing(fmt::format("verify {} at {}", file.path, offset));
    auto read = std::make_shared<CheckedRead>(workload_.cluster(), core_, file);
    read->Run(offset, size,
              [this, self = shared_from_this(), &file, offset, size](const Status& status,
                                                                     const std::string& violation) {
                Note(status);
                if (!violation.empty()) Fail("in the end: " + violation);
                const bool absent = status.Is(Code::kNotFound) && !file.exists;
                if (!status.ok() && !absent && file.model.MustExist(offset, size)) {
                  Fail(fmt::format("in the end {} cannot be read at {}: {}", file.path, offset,
                                   status.ToString()));
                }
                Next();
              });
  }

  void List(TreeModel& tree) {
    if (dirs_.empty()) {
      Compare(tree);
      Next();
      return;
    }
    const std::string dir = dirs_.back();
    const std::string full = dir.empty() ? tree.root : tree.root + "/" + dir;
    Doing("verify " + full);
    idl::ListDirectoryRequest request;
    request.ref.path = full.substr(1);
    request.max_entries = 10'000;
    core_->FillCaller(&request.caller);
    client::Read<idl::kListDirectory>(
        *core_, request, core_->Deadline(),
        [this, self = shared_from_this(), &tree, dir](Result<idl::ListDirectoryReply> reply) {
          if (!reply) {
            Note(reply.status());
            if (!(reply.error().Is(Code::kNotFound) && dir.empty() && !tree.root_made)) {
              Fail("in the end " + doing() + ": " + reply.error().ToString());
            }
            Next();
            return;
          }
          dirs_.pop_back();
          for (const idl::DirectoryEntry& entry : reply->entries) {
            const std::string path = dir.empty() ? entry.name : dir + "/" + entry.name;
            listing_[path] = {entry.type == idl::FileType::DIRECTORY,
                              static_cast<uint64_t>(entry.inode)};
            if (listing_[path].is_dir) dirs_.push_back(path);
          }
          List(tree);
        });
  }

  void Compare(const TreeModel& tree) {
    for (const auto& [path, entry] : tree.entries) {
      auto it = listing_.find(path);
      if (it == listing_.end()) {
        Fail(fmt::format("in the end {}/{} is gone", tree.root, path));
      } else if (it->second.inode != entry.inode || it->second.is_dir != entry.is_dir) {
        Fail(fmt::format("in the end {}/{} is inode {}, was made as {}", tree.root, path,
                         it->second.inode, entry.inode));
      }
    }
    for (const auto& [path, entry] : listing_) {
      if (tree.entries.contains(path) || Excused(tree, path)) continue;
      Fail(fmt::format("in the end {}/{} is there, nobody made it", tree.root, path));
    }
  }

  // It, or a directory above it, had an operation without an answer.
  static bool Excused(const TreeModel& tree, const std::string& path) {
    for (const std::string& name : tree.unknown) {
      if (path == name || path.starts_with(name + "/")) return true;
    }
    return false;
  }

  const std::vector<TreeModel*> trees_;
  size_t next_file_ = 0;
  uint64_t next_offset_ = 0;
  size_t next_tree_ = 0;
  std::vector<std::string> dirs_;
  std::map<std::string, TreeModel::Entry> listing_;
};

}  // namespace

std::shared_ptr<Fiber> MakeWriteFiber(Workload& workload, ClientHost& host) {
  return std::make_shared<WriteFiber>(workload, host);
}

std::shared_ptr<Fiber> MakeReadFiber(Workload& workload, ClientHost& host) {
  return std::make_shared<ReadFiber>(workload, host);
}

std::shared_ptr<Fiber> MakeVerifyFiber(Workload& workload, ClientHost& host,
                                       std::vector<TreeModel*> trees) {
  return std::make_shared<VerifyFiber>(workload, host, std::move(trees));
}

}  // namespace dfs::sim
