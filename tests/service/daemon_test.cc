// dfs-namenode as people start it: messages and exit codes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace dfs::nn {
namespace {

constexpr const char* kCluster = "--cluster.id=123e4567-e89b-12d3-a456-426614174000";

class DaemonTest : public testing::Test {
 protected:
  DaemonTest() {
    char name[] = "/tmp/dfs-nn-XXXXXX";
    directory = ::mkdtemp(name);
  }
  ~DaemonTest() override {
    for (pid_t pid : running) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    std::filesystem::remove_all(directory);
  }

  std::vector<std::string> Flags(std::vector<std::string> more = {}) {
    std::vector<std::string> flags = {"--node.id=1",
                                      kCluster,
                                      "--storage.directory=" + directory + "/nn",
                                      "--listen.client=127.0.0.1:0",
                                      "--listen.raft=127.0.0.1:0",
                                      "--listen.http=127.0.0.1:0",
                                      "--listen.client_unix=" + directory + "/s/nn.sock"};
    flags.insert(flags.end(), more.begin(), more.end());
    return flags;
  }
  /// Starts it with stdout and stderr in files of its own.
  pid_t Spawn(const std::vector<std::string>& flags) {
    ++runs;
    std::string out = Output("out"), err = Output("err");
    pid_t pid = ::fork();
    if (pid == 0) {
      ::dup2(::open(out.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600), 1);
      ::dup2(::open(err.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600), 2);
      std::vector<char*> argv = {const_cast<char*>("dfs-namenode")};
      for (const std::string& f : flags) argv.push_back(const_cast<char*>(f.c_str()));
      argv.push_back(nullptr);
      ::execv(DFS_NAMENODE, argv.data());
      ::_exit(99);
    }
    running.push_back(pid);
    return pid;
  }
  std::string Output(const std::string& which) const {
    return directory + "/" + which + std::to_string(runs);
  }
  static std::string Read(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  int Wait(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    std::erase(running, pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  /// Runs it to its end; what it said on stderr.
  std::string Fails(const std::vector<std::string>& flags, int want) {
    EXPECT_EQ(Wait(Spawn(flags)), want);
    return Read(Output("err"));
  }
  void Format() { ASSERT_EQ(Wait(Spawn(Flags({"--format"}))), 0); }
  /// The READY line; "" when it ended first.
  std::string AwaitReady(pid_t pid) {
    for (int n = 0; n < 24'000; ++n) {
      std::string out = Read(Output("out"));
      if (size_t end = out.find('\n'); end != std::string::npos) return out.substr(0, end);
      int status;
      if (::waitpid(pid, &status, WNOHANG) == pid) {
        std::erase(running, pid);
        return "";
      }
      ::usleep(10'000);
    }
    return "";
  }
  static bool Has(const std::string& text, const std::string& what) {
    return text.find(what) != std::string::npos;
  }

  std::string directory;
  std::vector<pid_t> running;
  int runs = 0;
};

TEST_F(DaemonTest, StartsSaysReadyAndStopsOnASignal) {
  Format();
  for (int signal : {SIGTERM, SIGINT}) {
    pid_t pid = Spawn(Flags());
    std::string ready = AwaitReady(pid);
    EXPECT_EQ(ready.rfind("READY {\"role\":\"namenode\",\"id\":1,\"client\":\"127.0.0.1:", 0), 0u)
        << ready << Read(Output("err"));
    EXPECT_TRUE(Has(ready, "\"client_unix\":\"" + directory + "/s/nn.sock\""));
    struct stat socket {};
    EXPECT_EQ(::stat((directory + "/s").c_str(), &socket), 0);
    EXPECT_EQ(socket.st_mode & 0777, 0700u);
    ::kill(pid, signal);
    EXPECT_EQ(Wait(pid), 0);
    EXPECT_TRUE(
        Has(Read(Output("err")), "default_replication = 3"));  // the effective configuration
  }
  // Killed hard, its socket is left behind; the next one removes it.
  pid_t pid = Spawn(Flags());
  EXPECT_NE(AwaitReady(pid), "");
  ::kill(pid, SIGKILL);
  Wait(pid);
  pid = Spawn(Flags());
  EXPECT_NE(AwaitReady(pid), "") << Read(Output("err"));
}

TEST_F(DaemonTest, ConfigurationErrorsNameWhatIsWrong) {
  EXPECT_TRUE(Has(Fails(Flags({"--foo.bar=1"}), 2), "foo.bar"));
  EXPECT_TRUE(Has(Fails(Flags({"--node.id=0"}), 2), "node.id"));
  EXPECT_TRUE(Has(Fails(Flags({"--cluster.id=x"}), 2), "cluster.id"));
  EXPECT_TRUE(Has(Fails(Flags({"--listen.client=nowhere"}), 2), "listen.client"));
  EXPECT_TRUE(Has(Fails(Flags({"--raft.members=2=h:1,h:2"}), 2), "node.id 1"));
  EXPECT_TRUE(Has(Fails(Flags({"--raft.read_mode=never"}), 2), "raft.read_mode"));
  EXPECT_TRUE(
      Has(Fails(Flags({"--listen.client_unix=/tmp/" + std::string(120, 'x')}), 2), "107 bytes"));
  EXPECT_TRUE(Has(Fails(Flags({"--cluster.key_file=" + directory + "/none"}), 2), "key_file"));
  std::ofstream(directory + "/bad.toml") << "[node]\nid = 1\ncolour = \"red\"\n";
  EXPECT_TRUE(Has(Fails({"--config", directory + "/bad.toml"}, 2), "node.colour"));
}

TEST_F(DaemonTest, RefusesToStartAndSaysWhy) {
  EXPECT_TRUE(Has(Fails(Flags(), 1), "--format"));  // missing
  Format();
  EXPECT_TRUE(Has(Fails(Flags({"--format"}), 1), "not empty"));
  EXPECT_TRUE(Has(Fails(Flags({"--cluster.id=00000000-e89b-12d3-a456-426614174000"}), 1),
                  "belongs to cluster"));
  EXPECT_TRUE(Has(Fails(Flags({"--node.id=2"}), 1), "belongs to namenode 1"));

  pid_t pid = Spawn(Flags());
  std::string ready = AwaitReady(pid);
  ASSERT_NE(ready, "");
  EXPECT_TRUE(Has(Fails(Flags(), 1), "locked by process " + std::to_string(pid)));
  // Its port, for a member in a directory of its own.
  size_t at = ready.find("\"client\":\"") + 10;
  std::string client = ready.substr(at, ready.find('"', at) - at);
  std::vector<std::string> second =
      Flags({"--storage.directory=" + directory + "/nn2", "--listen.client_unix="});
  std::vector<std::string> format = second;
  format.push_back("--format");
  ASSERT_EQ(Wait(Spawn(format)), 0);
  second.push_back("--listen.client=" + client);
  std::string message = Fails(second, 1);
  EXPECT_TRUE(Has(message, client)) << message;
  EXPECT_TRUE(Has(message, "in use")) << message;
}

TEST_F(DaemonTest, ADirectoryThatCannotBeWrittenIsSaidSo) {
  if (::geteuid() == 0) {
    // Root writes everywhere; a path below a file is as good a bad directory.
    std::ofstream(directory + "/file") << "x";
    std::string message =
        Fails(Flags({"--storage.directory=" + directory + "/file/nn", "--format"}), 1);
    EXPECT_TRUE(Has(message, "cannot format")) << message;
    return;
  }
  Format();
  ::chmod((directory + "/nn").c_str(), 0500);
  std::string message = Fails(Flags(), 1);
  ::chmod((directory + "/nn").c_str(), 0700);
  EXPECT_TRUE(Has(message, directory + "/nn")) << message;
}

}  // namespace
}  // namespace dfs::nn
