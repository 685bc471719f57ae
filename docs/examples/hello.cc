// A tour of libdfs: connect, write, read back, list, append, overwrite.
//
//   dfs_example                     the development cluster that runs here (`dfs dev start DIR`)
//   dfs_example CLUSTER             namenode addresses ("a:9700,b:9700,c:9700"; the key in $DFS_KEY_FILE),
//                                   or DIR of a running development cluster
//   dfs_example CLUSTER FILE        only writes FILE of the cluster to standard output
//
// Every call says whether it worked: dfs::Status, or dfs::Result<T> with the value. Nothing throws.
#include <dfs/client.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

// For an example it is enough to say what failed and end.
void Check(const dfs::Status& status, const char* what) {
  if (status.ok()) return;
  std::fprintf(stderr, "dfs_example: %s: %s\n", what, status.message().c_str());
  std::exit(1);
}

template <class T>
T Get(dfs::Result<T> result, const char* what) {
  Check(result.status(), what);
  return std::move(*result);
}

// Any size of file through a buffer of one size.
void Print(const dfs::Client& fs, const std::string& path) {
  dfs::Reader in = Get(fs.open(path), "open");
  std::vector<std::byte> buffer(1 << 20);
  for (;;) {
    const size_t n = Get(in.read(buffer), "read");
    if (n == 0) break;  // the end
    if (std::fwrite(buffer.data(), 1, n, stdout) != n) {
      std::perror("dfs_example: write");
      std::exit(1);
    }
  }
}

void Tour(const dfs::Client& fs) {
  Check(fs.create_directories("/example"), "create directories");

  // A small file in one call and one commit. "Written" means: on the disks of a majority of namenodes.
  Check(fs.write_file("/example/hello.txt", "hello, world\n"), "write a file");
  std::printf("read back:   %s", Get(fs.read_file("/example/hello.txt"), "read").c_str());

  // A stream. It may be of any size; what is kept in memory is bounded.
  dfs::Writer out = Get(fs.create("/example/numbers.txt"), "create");
  for (int i = 0; i < 200000; ++i) Check(out.write(std::to_string(i) + "\n"), "write");
  Check(out.sync(), "sync");    // on the disk of every replica from here on
  Check(out.close(), "close");  // a Writer that is destroyed without close() abandons the file

  // Append: a Writer that begins at the end.
  dfs::Writer more = Get(fs.append("/example/numbers.txt"), "append");
  Check(more.write("the end\n"), "write");
  Check(more.close(), "close");

  // Read and write anywhere in the same file. Overwriting in place costs what is written, not the file.
  dfs::FileHandle file = Get(fs.open_rw("/example/numbers.txt"), "open for reading and writing");
  Check(file.write_at(0, "Z"), "overwrite");
  char first[4];
  const size_t n = Get(file.read_at(0, std::as_writable_bytes(std::span(first))), "read");
  std::printf("overwritten: %.*s", static_cast<int>(n), first);
  Check(file.close(), "close");

  // A directory is a range; however large it is, one page is in memory.
  dfs::Directory directory = Get(fs.list("/example", {.attributes = true}), "list");
  for (const dfs::DirEntry& entry : directory) {
    std::printf("listed:      %s, %llu bytes\n", entry.name.c_str(),
                static_cast<unsigned long long>(entry.status->size));
  }
  Check(directory.error(), "list");

  // Where the bytes are.
  const dfs::FileLayout layout = Get(fs.locate("/example/numbers.txt"), "locate");
  for (const dfs::BlockLocation& block : layout.blocks) {
    std::printf("block %llu:  %llu bytes on %zu datanodes\n",
                static_cast<unsigned long long>(block.block),
                static_cast<unsigned long long>(block.length), block.replicas.size());
  }

  // Errors have exact codes; posix_errno() is there for those who think in errno.
  const dfs::Status missing = fs.stat("/example/no such file").status();
  std::printf("as expected: %s\n", missing.message().c_str());
  if (missing.code() != dfs::Code::kNotFound) std::exit(1);

  Get(fs.remove_all("/example"), "remove");
}

}  // namespace

int main(int argc, char** argv) {
  dfs::Options options;  // empty: $DFS_NAMENODES, else the development cluster of this user
  struct stat st {};
  if (argc > 1 && argv[1][0] != '\0' && ::stat(argv[1], &st) != 0) options.namenodes = {argv[1]};
  options.client_name = "dfs_example";

  const dfs::Client fs = Get(dfs::Client::connect(options), "connect");
  if (argc > 2) {
    Print(fs, argv[2]);
  } else {
    Tour(fs);
  }
  return 0;
}
