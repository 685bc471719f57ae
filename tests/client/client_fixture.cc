#include "tests/client/client_fixture.h"

#include <utility>

namespace dfs::client {

std::string Pattern(size_t n, uint64_t seed) {
  Random random(seed);
  std::string s(n, '\0');
  for (char& c : s) c = static_cast<char>(random.Next());
  return s;
}

Result<Ptr> Create(FakeCluster& c, const Core& core, FileCreate how, size_t max_open) {
  return c.Wait<Ptr>(
      [&](Done<Ptr> done) { FileWriter::Create(core, how, max_open, std::move(done)); });
}

Result<Ptr> Create(FakeCluster& c, const Core& core, const std::string& path, uint64_t block_size,
                   size_t max_open) {
  FileCreate how;
  how.path = path;
  how.block_size = block_size;
  return Create(c, core, how, max_open);
}

Result<Ptr> Open(FakeCluster& c, const Core& core, const std::string& path, size_t max_open) {
  return c.Wait<Ptr>([&](Done<Ptr> done) {
    FileOpen how;
    how.path = path;
    FileWriter::Open(core, how, max_open, std::move(done));
  });
}

void Write(FakeCluster& c, const Ptr& file, uint64_t offset, std::string data) {
  c.OnClient([&] { file->Write(offset, Buffer(std::move(data))); });
}

void Append(FakeCluster& c, const Ptr& file, std::string data) {
  c.OnClient([&] { file->Append(Buffer(std::move(data))); });
}

Status Acked(FakeCluster& c, const Ptr& file) {
  return c.WaitStatus([&](StatusDone done) { file->WhenBelow(1, std::move(done)); });
}

Status Flush(FakeCluster& c, const Ptr& file) {
  return c.WaitStatus([&](StatusDone done) { file->Flush(std::move(done)); });
}

Status Sync(FakeCluster& c, const Ptr& file) {
  return c.WaitStatus([&](StatusDone done) { file->Sync(std::move(done)); });
}

Status Close(FakeCluster& c, const Ptr& file, FileClose how) {
  return c.WaitStatus([&](StatusDone done) { file->Close(how, std::move(done)); });
}

Result<ReaderPtr> OpenReader(FakeCluster& c, const Core& core, const std::string& path) {
  return c.Wait<ReaderPtr>(
      [&](Done<ReaderPtr> done) { FileReader::Open(core, path, std::move(done)); });
}

std::string ReadAt(FakeCluster& c, const ReaderPtr& file, uint64_t offset, size_t n) {
  std::string out(n, '\xee');
  auto got = c.Wait<size_t>([&](Done<size_t> done) {
    file->ReadAt(offset, out.data(), n, std::make_shared<FileReader::Guard>(), std::move(done));
  });
  if (!got) return "error: " + got.error().ToString();
  out.resize(*got);
  return out;
}

std::string ReadAll(FakeCluster& c, const Core& core, const std::string& path, size_t step) {
  auto file = OpenReader(c, core, path);
  if (!file) return "error: " + file.error().ToString();
  std::shared_ptr<FileStream> stream = c.Adopt(FileStream::Create(*file, 0));
  std::string all, piece(step, '\0');
  for (;;) {
    auto n = c.Wait<size_t>(
        [&](Done<size_t> done) { stream->Read(piece.data(), step, std::move(done)); });
    if (!n) return "error: " + n.error().ToString();
    if (*n == 0) break;
    all.append(piece, 0, *n);
  }
  return all;
}

FakeFile& File(FakeCluster& c, const std::string& path) {
  return c.files[c.names[path]];
}

std::string Content(FakeCluster& c, const std::string& path) {
  return c.Content(c.names[path]);
}

int Commits(const FakeCluster& c) {
  int commits = 0;
  for (const auto& [method, count] : c.applied) commits += count;
  return commits;
}

}  // namespace dfs::client
