// What the tests of files share: calls of the asynchronous client, made from outside and waited for.
#pragma once

#include <memory>
#include <string>

#include "tests/client/fake_cluster.h"

namespace dfs::client {

using Core = std::shared_ptr<ClientCore>;
using Ptr = FileWriter::Ptr;
using ReaderPtr = std::shared_ptr<FileReader>;

std::string Pattern(size_t n, uint64_t seed);

Result<Ptr> Create(FakeCluster& c, const Core& core, FileCreate how, size_t max_open = 1);
Result<Ptr> Create(FakeCluster& c, const Core& core, const std::string& path,
                   uint64_t block_size = 0, size_t max_open = 1);
Result<Ptr> Open(FakeCluster& c, const Core& core, const std::string& path, size_t max_open = 1);
void Write(FakeCluster& c, const Ptr& file, uint64_t offset, std::string data);
void Append(FakeCluster& c, const Ptr& file, std::string data);
/// Everything written is in memory of the members; nobody has been told of it.
Status Acked(FakeCluster& c, const Ptr& file);
Status Flush(FakeCluster& c, const Ptr& file);
Status Sync(FakeCluster& c, const Ptr& file);
Status Close(FakeCluster& c, const Ptr& file, FileClose how = {});

Result<ReaderPtr> OpenReader(FakeCluster& c, const Core& core, const std::string& path);
std::string ReadAt(FakeCluster& c, const ReaderPtr& file, uint64_t offset, size_t n);
/// The whole file, or "error: ...".
std::string ReadAll(FakeCluster& c, const Core& core, const std::string& path,
                    size_t step = 100'000);

FakeFile& File(FakeCluster& c, const std::string& path);
/// What the namenode's state and the members say the file contains.
std::string Content(FakeCluster& c, const std::string& path);
/// Changes applied so far.
int Commits(const FakeCluster& c);

}  // namespace dfs::client
