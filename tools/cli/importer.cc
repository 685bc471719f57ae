#include "tools/cli/importer.h"

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "common/base/trash_name.h"
#include "tools/cli/export_format.h"
#include "tools/cli/json_out.h"
#include "tools/cli/worker_pool.h"

namespace dfs::cli {
namespace {

constexpr size_t kThreads = 16;
constexpr size_t kQueue = 1024;
constexpr const char* kSizeAttribute = "user.dfs.import.size";

class Importer {
 public:
  Importer(Verb& verb, const Client& client, const std::string& path, const ImportOptions& o)
      : verb_(verb), client_(client), path_(path), o_(o) {}

  void Run();

 private:
  Status ForEachLine(const std::function<Status(ImportLine&)>& visit) const;
  Status Examine();
  Status CheckEmpty() const;
  void MakeAll();
  Status MakeDirectory(const ExportedEntry& e);
  Status Make(const ExportedEntry& e, bool in_blocks);
  Status MakeFile(const ExportedEntry& e, bool in_blocks);
  Status SetAttributes(const ExportedEntry& e);
  Status Link(const ExportedEntry& e);
  void Report(const ExportedEntry& e, const Status& status);

  Verb& verb_;
  const Client& client_;
  const std::string& path_;
  const ImportOptions& o_;
  std::atomic<uint64_t> made_{0}, empty_{0}, left_out_{0};
};

Status Importer::ForEachLine(const std::function<Status(ImportLine&)>& visit) const {
  std::ifstream in(path_, std::ios::binary);
  if (!in) return Status::FromSystem(errno == 0 ? ENOENT : errno, path_);
  std::string text;
  for (uint64_t number = 1; std::getline(in, text); ++number) {
    Result<ImportLine> line = ParseImportLine(text);
    Status seen = line.status();
    if (line) seen = visit(*line);
    if (!seen.ok()) return seen.WithContext(fmt::format("line {}", number));
    if (Interrupted()) return Status(Code::kCancelled, "interrupted");
  }
  return in.bad() ? Status(Code::kIoError, "it cannot be read") : Status();
}

// Before anything is made: that the export is whole, and that all of it can be made.
Status Importer::Examine() {
  uint64_t entries = 0, lines = 0;
  bool ended = false;
  DFS_RETURN_IF_ERROR(ForEachLine([&](ImportLine& line) -> Status {
    if ((lines++ == 0) != (line.kind == ImportLine::Kind::kHeader)) {
      return Status(Code::kInvalidArgument, "an export begins with one header");
    }
    if (ended) return Status(Code::kInvalidArgument, "something behind the end");
    if (line.kind == ImportLine::Kind::kEnd) {
      ended = line.entries == entries;
      if (!ended) return Status(Code::kInvalidArgument, "lines are missing");
    }
    if (line.kind != ImportLine::Kind::kEntry) return Status();
    ++entries;
    if (line.in_blocks && !o_.names_only && !o_.existing) {
      return Status(Code::kInvalidArgument,
                    "the content of " + line.entry.path +
                        " was in blocks and is not in the export. Copy the files back and give "
                        "--existing, or give --names-only and get it empty");
    }
    return Status();
  }));
  if (!ended) return Status(Code::kInvalidArgument, "its end is missing: the export was cut off");
  return Status();
}

Status Importer::CheckEmpty() const {
  if (o_.existing) return Status();
  Result<Directory> names = client_.list("/");
  if (!names) return names.error();
  for (const DirEntry& name : *names) {
    if (name.name == kTrashName) continue;
    return Status(Code::kNotEmpty, "the cluster is not empty (--existing imports into it)");
  }
  return names->error();
}

void Importer::Report(const ExportedEntry& e, const Status& status) {
  if (status.ok()) {
    ++made_;
    verb_.Succeeded();
  } else {
    verb_.Failed("import", e.path, status);
  }
}

Status Importer::SetAttributes(const ExportedEntry& e) {
  const FileStatus& s = e.status;
  // The owner first: chown takes the setuid bits away.
  DFS_RETURN_IF_ERROR(client_.chown(e.path, s.uid, s.gid, false));
  for (const auto& [name, value] : e.xattrs) {
    DFS_RETURN_IF_ERROR(client_.set_xattr(e.path, name, value));
  }
  if (!s.is_symlink()) DFS_RETURN_IF_ERROR(client_.chmod(e.path, s.mode));
  TimeUpdate times;
  times.atime_ns = s.atime_ns;
  times.mtime_ns = s.mtime_ns;
  return client_.set_times(e.path, times, false);
}

Status Importer::MakeDirectory(const ExportedEntry& e) {
  if (e.path == "/") return Status();
  // Its own mode might keep out who makes what is in it.
  Status made = client_.mkdir(e.path, 0700);
  if (made.Is(Code::kAlreadyExists)) {
    const Result<FileStatus> there = client_.lstat(e.path);
    if (there && there->is_directory() && (o_.existing || IsInTrash(e.path))) return Status();
  }
  return made;
}

Status Importer::MakeFile(const ExportedEntry& e, bool in_blocks) {
  CreateOptions create;
  create.exclusive = true;
  create.mode = 0600;
  create.replication = e.status.replication;
  create.block_size = e.status.block_size;
  DFS_RETURN_IF_ERROR(client_.write_file(e.path, e.content, create));
  if (in_blocks) {
    ++empty_;
    return client_.set_xattr(e.path, kSizeAttribute, std::to_string(e.status.size));
  }
  // Behind the bytes there may be a hole.
  if (e.status.size > e.content.size()) return client_.truncate(e.path, e.status.size);
  return Status();
}

Status Importer::Make(const ExportedEntry& e, bool in_blocks) {
  if (o_.existing) {
    const Result<FileStatus> there = client_.lstat(e.path);
    if (there && there->type != e.status.type) {
      return Status(Code::kAlreadyExists, "something of another type is there");
    }
    if (there) return SetAttributes(e);
    if (!there.error().Is(Code::kNotFound)) return there.error();
    if (in_blocks && !o_.names_only) {
      return Status(Code::kNotFound, "it is not there, and its content is not in the export");
    }
  }
  switch (e.status.type) {
    case FileType::kRegular:
      DFS_RETURN_IF_ERROR(MakeFile(e, in_blocks));
      break;
    case FileType::kSymlink:
      DFS_RETURN_IF_ERROR(client_.symlink(e.status.symlink_target, e.path));
      break;
    default:
      ++left_out_;
      return Status(Code::kNotSupported, "fifos, sockets and devices are not imported");
  }
  return SetAttributes(e);
}

Status Importer::Link(const ExportedEntry& e) {
  const Status linked = client_.link(e.link_to, e.path);
  if (!linked.Is(Code::kAlreadyExists) || !o_.existing) return linked;
  const Result<FileStatus> here = client_.lstat(e.path), there = client_.lstat(e.link_to);
  if (here && there && here->inode == there->inode) return Status();
  // A copy that knew no hard links made two files of them.
  DFS_RETURN_IF_ERROR(client_.unlink(e.path));
  return client_.link(e.link_to, e.path);
}

void Importer::MakeAll() {
  auto pool = std::make_unique<WorkerPool>(kThreads, kQueue);
  bool linking = false;
  const Status read = ForEachLine([&](ImportLine& line) {
    if (line.kind != ImportLine::Kind::kEntry) return Status();
    ExportedEntry& e = line.entry;
    if (!e.link_to.empty() && !linking) {
      // They come last, and want their files there.
      pool = std::make_unique<WorkerPool>(kThreads, kQueue);
      linking = true;
    }
    if (e.status.is_directory()) {
      const Status made = MakeDirectory(e);
      if (!made.ok()) Report(e, made);
      return Status();
    }
    pool->Submit([this, e = std::move(e), in_blocks = line.in_blocks] {
      Report(e, e.link_to.empty() ? Make(e, in_blocks) : Link(e));
    });
    return Status();
  });
  pool.reset();
  if (!read.ok()) return verb_.Failed("import", path_, read);
  const Status again = ForEachLine([&](ImportLine& line) {
    if (line.kind == ImportLine::Kind::kEntry && line.entry.status.is_directory()) {
      Report(line.entry, SetAttributes(line.entry));
    }
    return Status();
  });
  if (!again.ok()) verb_.Failed("import", path_, again);
}

void Importer::Run() {
  if (const Status whole = Examine(); !whole.ok()) return verb_.Failed("import", path_, whole);
  if (const Status empty = CheckEmpty(); !empty.ok()) return verb_.Failed("import", path_, empty);
  MakeAll();
  if (empty_ > 0) {
    fmt::print(stderr, "dfs: {} files are empty: their content was in blocks ({} says how large)\n",
               empty_.load(), kSizeAttribute);
  }
  if (o_.verbose && verb_.json()) {
    PrintJson({{"schema", "dfs.import/1"},
               {"imported", made_.load()},
               {"empty", empty_.load()},
               {"left_out", left_out_.load()}});
  } else if (o_.verbose) {
    fmt::print("imported {} names, left out {}\n", made_.load(), left_out_.load());
  }
}

}  // namespace

void RunImport(Verb& verb, const Client& client, const std::string& path, const ImportOptions& o) {
  Importer(verb, client, path, o).Run();
}

}  // namespace dfs::cli
