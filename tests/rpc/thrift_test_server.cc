// A server of a few ClientService methods on one Unix socket, for the stock Thrift client in
// thrift_client_test.py: thrift_test_server SOCKET. Prints READY, ends when its standard input does.
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "common/idl/methods.h"
#include "common/rpc/event_loop.h"
#include "common/rpc/idl_call.h"
#include "common/rpc/socket_network.h"
#include "dfs_types.h"

namespace {

using namespace dfs;       // NOLINT: a test program
using namespace dfs::rpc;  // NOLINT

class Server : public RequestHandler {
 public:
  void HandleRequest(Method method, Buffer request, const CallContext& context,
                     ResponderPtr responder) override {
    switch (method) {
      case idl::kStat:
        Stat(request, context, responder);
        return;
      case idl::kListDirectory:
        List(request, responder);
        return;
      case idl::kStatFs:
        responder->Send(idl::Encode(idl::StatFsReply()), 0);
        return;
      default:
        responder->Fail(Status(Code::kNotSupported, "not in this test"));
        return;
    }
  }
  void HandleDisconnect(RpcPeer& peer, const Status&) override {
    std::erase_if(peers, [&](const auto& p) { return p.get() == &peer; });
  }
  std::vector<std::shared_ptr<RpcPeer>> peers;

 private:
  static void Stat(const Buffer& bytes, const CallContext& context, ResponderPtr& responder) {
    idl::StatRequest request;
    if (!DecodeRequest(bytes, &request, responder)) return;
    if (request.ref.path == "/missing") {
      responder->Fail(Status(Code::kNotFound, "/missing: no such file")
                          .WithRetryAfter(5)
                          .WithLeaderHint("x:1"));
      return;
    }
    idl::StatReply reply;
    idl::Attr attr;
    attr.__set_inode(request.ref.inode + 1);
    attr.__set_size(static_cast<int64_t>(request.ref.path.size()));
    attr.__set_uid(static_cast<int32_t>(context.peer->uid));
    attr.__set_mode(context.peer->plain_thrift && context.peer->is_unix ? 0644 : 0);
    attr.__set_type(idl::FileType::REGULAR);
    reply.__set_attr(attr);
    reply.__set_symlink_target(request.ref.path);
    SendReply(*responder, reply, 12);
  }
  static void List(const Buffer& bytes, ResponderPtr& responder) {
    idl::ListDirectoryRequest request;
    if (!DecodeRequest(bytes, &request, responder)) return;
    idl::ListDirectoryReply reply;
    std::vector<idl::DirectoryEntry> entries(static_cast<size_t>(request.max_entries));
    for (size_t i = 0; i < entries.size(); ++i) {
      entries[i].__set_name("entry-" + std::to_string(i));
      entries[i].__set_cookie(static_cast<int64_t>(i) + 3);
    }
    reply.__set_entries(std::move(entries));
    reply.__set_done(true);
    SendReply(*responder, reply);
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  EventLoop loop;
  auto identity = std::make_shared<NetworkIdentity>();
  identity->cluster_id = "0a8a3b8e-5a0f-4f3a-9d5e-1f2e3d4c5b6a";
  identity->role = Role::kNamenode;
  SocketNetwork network(loop, identity);
  Server server;
  Address address;
  address.kind = Address::Kind::kUnix;
  address.host = argv[1];
  auto listener = network.Listen(address, [&](ConnectionPtr connection) {
    server.peers.push_back(RpcPeer::Create(std::move(connection), &server));
  });
  if (!listener) {
    std::fprintf(stderr, "%s\n", listener.error().ToString().c_str());
    return 1;
  }
  loop.WatchFd(STDIN_FILENO, EPOLLIN, [&](uint32_t) {
    char buffer[64];
    if (::read(STDIN_FILENO, buffer, sizeof(buffer)) <= 0) loop.Stop();
  });
  std::puts("READY");
  std::fflush(stdout);
  loop.Run();
  loop.UnwatchFd(STDIN_FILENO);
  server.peers.clear();
  return 0;
}
