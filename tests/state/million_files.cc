// How much memory and time a namenode's state takes: state_million_files [files] [directory].
// Not a test: it needs a release build and about a minute.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "namenode/state/reader.h"
#include "namenode/state/rocks_store.h"
#include "namenode/state/state_machine.h"

namespace dfs::nn {
namespace {

uint64_t ResidentMiB() {
  std::ifstream in("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  in >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) >> 20;
}

double Seconds(int64_t since) {
  return static_cast<double>(SystemClock().BootNs() - since) / 1e9;
}

void Must(const Status& s) {
  if (s.ok()) return;
  fprintf(stderr, "%s\n", s.ToString().c_str());
  exit(1);
}

class Bench {
 public:
  Bench(uint64_t files, std::string directory) : files_(files) {
    options_.directory = std::move(directory);
  }

  void Run() {
    Load("empty");
    Creates();
    Stats();
    int64_t start = SystemClock().BootNs();
    auto info = store_->CreateCheckpoint(options_.directory + "-checkpoint");
    Must(info.status());
    printf("checkpoint            %.3f s, %zu files\n", Seconds(start), info->files.size());
    Must(store_->RemoveCheckpoint(options_.directory + "-checkpoint"));
    machine_.reset();
    store_.reset();
    Load("full");
    Stats();
    printf("resident at the end   %lu MiB (empty process %lu MiB)\n", ResidentMiB(), empty_mib_);
    machine_.reset();
    store_.reset();
  }

 private:
  void Load(const char* what) {
    if (empty_mib_ == 0) empty_mib_ = ResidentMiB();
    int64_t start = SystemClock().BootNs();
    options_.worker = NewThreadWorker("dfs-state");
    auto store = OpenRocksStore(options_);
    Must(store.status());
    store_ = std::move(*store);
    machine_ = std::make_unique<StateMachine>(store_.get());
    Must(machine_->Load());
    printf("open (%s)          %.3f s\n", what, Seconds(start));
  }

  CommandReply Apply(const CommandHeader& header, const CommandBody& body) {
    auto reply = machine_->Apply(machine_->applied_index() + 1, 1, EncodeCommand(header, body));
    Must(reply.status());
    auto decoded = DecodeReply(*reply);
    Must(decoded.status());
    Must(decoded->status());
    return *decoded;
  }

  void Creates() {
    CommandHeader header;
    header.now_ns = 1'700'000'000'000'000'000;
    auto opened =
        DecodeResult<SessionResult>(Apply(header, OpenSessionCommand{"bench", "s", 1}).payload);
    Must(opened.status());
    CommandHeader own = header;
    own.session = opened->session;
    own.incarnation = opened->incarnation;
    InodeId top = Made(Apply(header, MkdirCommand{kRootInode, "data", 0755, false}));
    int64_t start = SystemClock().BootNs(), flushed = 0;
    InodeId directory;
    for (uint64_t i = 0; i < files_; ++i) {
      if (i % 1000 == 0)
        directory =
            Made(Apply(header, MkdirCommand{top, "dir" + std::to_string(i / 1000), 0755, false}));
      CreateCommand c;
      c.parent = directory;
      c.name = "file-" + std::to_string(i) + ".dat";
      c.exclusive = true;
      c.replication = 3;
      own.now_ns += 1000;
      own.sequence += 1;
      own.first_outstanding = own.sequence > 64 ? own.sequence - 64 : 1;
      Apply(own, c);
      if (i % 32 == 0) Must(machine_->Commit());
      if (i % 30'000 == 0) {
        int64_t before = SystemClock().BootNs();
        Must(store_->StartFlush());
        flushed += SystemClock().BootNs() - before;
      }
      peak_mib_ = i % 1000 == 0 ? std::max(peak_mib_, ResidentMiB()) : peak_mib_;
    }
    Must(machine_->Commit());
    double seconds = Seconds(start);
    printf("create                %.2f us each (of it StartFlush %.2f us), %lu files\n",
           seconds * 1e6 / static_cast<double>(files_),
           static_cast<double>(flushed) / 1e3 / static_cast<double>(files_), files_);
    printf("resident at the peak  %lu MiB\n", peak_mib_);
    printf("store                 %lu MiB memory, %lu MiB disk\n",
           store_->GetStats().memory_bytes >> 20, store_->GetStats().disk_bytes >> 20);
  }

  InodeId Made(const CommandReply& reply) {
    auto result = DecodeResult<CreateResult>(reply.payload);
    Must(result.status());
    return result->attr.id;
  }

  void Stats() {
    constexpr uint64_t kStats = 200'000;
    Random random(1);
    int64_t start = SystemClock().BootNs();
    for (uint64_t i = 0; i < kStats; ++i) {
      uint64_t file = random.Uniform(files_);
      std::string path =
          "/data/dir" + std::to_string(file / 1000) + "/file-" + std::to_string(file) + ".dat";
      auto found = machine_->reader().ResolvePath(InodeId(), path, {}, {});
      Must(found.status());
      if (!found->inode) Must(Status(Code::kInternal, path + " is missing"));
    }
    printf("stat by path, random  %.2f us each\n", Seconds(start) * 1e6 / kStats);
  }

  uint64_t files_;
  RocksStoreOptions options_;
  std::unique_ptr<StateStore> store_;
  std::unique_ptr<StateMachine> machine_;
  uint64_t peak_mib_ = 0;
  uint64_t empty_mib_ = 0;
};

}  // namespace
}  // namespace dfs::nn

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  uint64_t files = argc > 1 ? strtoull(argv[1], nullptr, 10) : 1'000'000;
  std::string base = argc > 2 ? argv[2] : std::filesystem::temp_directory_path().string();
  std::string directory = base + "/million-files-" + std::to_string(getpid());
  dfs::nn::Bench(files, directory).Run();
  std::filesystem::remove_all(directory);
}
