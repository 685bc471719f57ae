// Open files that travel with replies over Unix sockets.
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>

#include "tests/rpc/rpc_fixture.h"

namespace dfs::rpc {
namespace {

size_t OpenDescriptors() {
  size_t count = 0;
  DIR* dir = ::opendir("/proc/self/fd");
  while (::readdir(dir) != nullptr) ++count;
  ::closedir(dir);
  return count;
}

/// Keeps what came; asks for the file of each frame at once.
struct Receiver : Connection::Handler {
  void OnFrame(const FrameHeader& header, Buffer payload) override {
    ++frames;
    std::shared_ptr<File> file = take ? connection->TakeFile() : nullptr;
    if (file != nullptr) files[std::string(payload.view())] = file;
    if (take) {
      EXPECT_EQ(connection->TakeFile(), nullptr) << "a file is given once";
    }
    last = header;
  }
  void OnClosed(const Status& why) override { closed = why; }
  ConnectionPtr connection;
  bool take = true;
  int frames = 0;
  FrameHeader last;
  std::map<std::string, std::shared_ptr<File>> files;  // by what their frame said
  std::optional<Status> closed;
};

class PassFileTest : public ::testing::Test {
 protected:
  /// Both ends on one loop.
  void Connect(const Address& address) {
    network_ = std::make_unique<SocketNetwork>(loop_, TestIdentity());
    server_network_ = std::make_unique<SocketNetwork>(loop_, TestIdentity(Role::kDatanode, 7));
    bool connected = false;
    OnLoop(loop_, [&] {
      listener_ = std::move(*server_network_->Listen(address, [&](ConnectionPtr c) {
        server_.connection = std::move(c);
        server_.connection->Start(&server_);
      }));
      network_->Connect(listener_->address(), {}, [&](Result<ConnectionPtr> c) {
        ASSERT_TRUE(c.ok()) << c.error().ToString();
        client_.connection = std::move(*c);
        client_.connection->Start(&client_);
        connected = true;
      });
    });
    ASSERT_TRUE(Drive(loop_, [&] { return connected && server_.connection != nullptr; }));
  }
  void TearDown() override {
    OnLoop(loop_, [&] {
      client_.connection = nullptr;
      server_.connection = nullptr;
      listener_ = nullptr;
    });
    network_ = nullptr;
    server_network_ = nullptr;
  }
  std::shared_ptr<File> MakeFile(const std::string& content) {
    const std::string path = dir_.File("f" + std::to_string(++made_));
    EXPECT_TRUE(PosixEnv().WriteFileAtomically(path, content).ok());
    auto file = PosixEnv().Open(path, Env::OpenMode::kReadOnly);
    EXPECT_TRUE(file.ok());
    return std::move(*file);
  }
  void Send(const std::string& text, std::shared_ptr<File> file,
            FrameType type = FrameType::kReply) {
    FrameHeader header;
    header.type = type;
    if (file == nullptr) {
      server_.connection->Send(header, Buffer(text));
    } else {
      server_.connection->SendWithFile(header, Buffer(text), std::move(file));
    }
  }
  static std::string Content(const File& file) {
    std::string out(100, '\0');
    auto got = file.ReadAt(0, out.data(), out.size());
    out.resize(got.value_or(0));
    return out;
  }

  TestDir dir_;
  int made_ = 0;
  EventLoop loop_;
  std::unique_ptr<SocketNetwork> network_, server_network_;
  std::unique_ptr<Listener> listener_;
  Receiver client_, server_;
};

TEST_F(PassFileTest, EachReplyBringsItsOwnFile) {
  Connect(dir_.Socket());
  OnLoop(loop_, [&] {
    EXPECT_TRUE(client_.connection->passes_files());
    client_.connection->AcceptFiles();
    Send("none before", nullptr);
    Send("one", MakeFile("first"));
    Send(std::string(300'000, 'p'), nullptr, FrameType::kPacket);
    Send("two", MakeFile("second"));
    Send("three", MakeFile("third"));
    Send("none after", nullptr);
  });
  ASSERT_TRUE(Drive(loop_, [&] { return client_.frames == 6; }));
  ASSERT_EQ(client_.files.size(), 3u);
  EXPECT_EQ(Content(*client_.files["one"]), "first");
  EXPECT_EQ(Content(*client_.files["two"]), "second");
  EXPECT_EQ(Content(*client_.files["three"]), "third");
  EXPECT_FALSE(client_.files["one"]->WriteAt(0, "x").ok()) << "it was opened for reading";
  EXPECT_FALSE(client_.closed.has_value());
}

TEST_F(PassFileTest, AFileThatNobodyWantsIsClosed) {
  Connect(dir_.Socket());
  const size_t before = OpenDescriptors();
  OnLoop(loop_, [&] { Send("unwanted", MakeFile("x")); });  // AcceptFiles was not called
  ASSERT_TRUE(Drive(loop_, [&] { return client_.frames == 1; }));
  EXPECT_TRUE(client_.files.empty());
  EXPECT_EQ(OpenDescriptors(), before);
  OnLoop(loop_, [&] {
    client_.connection->AcceptFiles();
    client_.take = false;
    Send("not taken", MakeFile("y"));
  });
  ASSERT_TRUE(Drive(loop_, [&] { return client_.frames == 2; }));
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(PassFileTest, FilesWithoutAReplyEndTheConnection) {
  Connect(dir_.Socket());
  const size_t before = OpenDescriptors();
  OnLoop(loop_, [&] {
    client_.connection->AcceptFiles();
    for (int i = 0; i < 8; ++i) Send("packet", MakeFile("z"), FrameType::kPacket);
  });
  ASSERT_TRUE(Drive(loop_, [&] { return client_.closed.has_value(); }));
  EXPECT_EQ(client_.closed->code(), Code::kProtocol);
  EXPECT_TRUE(client_.files.empty());
  OnLoop(loop_, [&] { server_.connection = nullptr; });
  EXPECT_LE(OpenDescriptors(), before);
}

TEST_F(PassFileTest, OverTcpTheReplyComesAlone) {
  Connect(Loopback());
  OnLoop(loop_, [&] {
    EXPECT_FALSE(client_.connection->passes_files());
    client_.connection->AcceptFiles();
    Send("alone", MakeFile("x"));
  });
  ASSERT_TRUE(Drive(loop_, [&] { return client_.frames == 1; }));
  EXPECT_TRUE(client_.files.empty());
  EXPECT_EQ(client_.last.flags & kFlagWithFile, 0u);
}

}  // namespace
}  // namespace dfs::rpc
