// The preamble without sockets: who gets in, who does not, and what an attacker in between can do.
#include "common/rpc/handshake.h"

#include <gtest/gtest.h>

#include "common/base/random.h"
#include "tests/rpc/rpc_fixture.h"

namespace dfs::rpc {
namespace {

TransportFacts Tcp() {
  return {};
}
TransportFacts Unix(uint32_t uid) {
  TransportFacts facts;
  facts.is_unix = true;
  facts.uid = uid;
  facts.gid = uid;
  facts.own_uid = 1000;
  return facts;
}
std::string Nonce(char c) {
  return std::string(kNonceSize, c);
}

struct Outcome {
  Status client;
  Status server;
  bool client_complete = false;
  bool server_complete = false;
  int round_trips = 0;
  PeerIdentity client_sees;
  PeerIdentity server_sees;
};

using Tamper = std::function<std::string(std::string message, bool to_server)>;

Outcome Shake(std::shared_ptr<const NetworkIdentity> client_id,
              std::shared_ptr<const NetworkIdentity> server_id, const TransportFacts& client_facts,
              const TransportFacts& server_facts, const Tamper& tamper = nullptr) {
  Outcome out;
  ClientHandshake client(client_id, client_facts, 77, Nonce('c'));
  ServerHandshake server(server_id, server_facts, Nonce('s'));
  Result<std::string> hello = client.Start();
  if (!hello) {
    out.client = hello.error();
    return out;
  }
  std::string to_server = *hello;
  while (!to_server.empty()) {
    if (tamper) to_server = tamper(to_server, true);
    HandshakeStep at_server = server.OnMessage(to_server);
    if (!at_server.failure.ok()) out.server = at_server.failure;
    out.server_complete |= at_server.complete;
    if (at_server.send.empty()) break;
    ++out.round_trips;
    std::string to_client = tamper ? tamper(at_server.send, false) : at_server.send;
    HandshakeStep at_client = client.OnMessage(to_client);
    if (!at_client.failure.ok()) out.client = at_client.failure;
    out.client_complete |= at_client.complete;
    to_server = at_client.send;
  }
  out.client_sees = client.peer();
  out.server_sees = server.peer();
  return out;
}

TEST(Handshake, KeyOverTcpInTwoRoundTrips) {
  Outcome out =
      Shake(TestIdentity(Role::kDatanode, 5), TestIdentity(Role::kNamenode, 2), Tcp(), Tcp());
  ASSERT_TRUE(out.client_complete) << out.client.ToString();
  ASSERT_TRUE(out.server_complete) << out.server.ToString();
  EXPECT_EQ(out.round_trips, 2);
  EXPECT_TRUE(out.client_sees.key_authenticated);
  EXPECT_TRUE(out.server_sees.key_authenticated);
  EXPECT_TRUE(out.server_sees.trusted);
  EXPECT_EQ(out.server_sees.role, Role::kDatanode);
  EXPECT_EQ(out.server_sees.node_id, 5u);
  EXPECT_EQ(out.server_sees.session, 77u);
  EXPECT_EQ(out.client_sees.role, Role::kNamenode);
  EXPECT_EQ(out.client_sees.node_id, 2u);
}

TEST(Handshake, UnixSocketInOneRoundTripWithTheKernelsWord) {
  struct Row {
    uint32_t uid;
    Role role;
    bool accepted;
    bool trusted;
  };
  const Row rows[] = {
      {0, Role::kClient, true, true},        {1000, Role::kClient, true, true},
      {1001, Role::kClient, true, false},    {1001, Role::kAdmin, true, false},
      {1000, Role::kDatanode, true, true},   {1001, Role::kDatanode, false, false},
      {1001, Role::kNamenode, false, false},
  };
  for (const Row& row : rows) {
    Outcome out =
        Shake(TestIdentity(row.role, 1), TestIdentity(Role::kNamenode), Unix(1000), Unix(row.uid));
    EXPECT_EQ(out.server_complete, row.accepted) << row.uid;
    EXPECT_EQ(out.round_trips, 1);
    EXPECT_FALSE(out.server_sees.key_authenticated);
    if (row.accepted) {
      EXPECT_EQ(out.server_sees.trusted, row.trusted) << row.uid;
      EXPECT_EQ(out.server_sees.uid, row.uid);
      EXPECT_TRUE(out.server_sees.is_unix);
    } else {
      EXPECT_EQ(out.client.code(), Code::kUnauthenticated);
    }
  }
}

TEST(Handshake, WrongOrMissingKeys) {
  auto good = TestIdentity();
  auto other = TestIdentity();
  other->cluster_key = std::string(32, 'x');
  auto none = TestIdentity();
  none->cluster_key.clear();
  auto insecure = TestIdentity();
  insecure->cluster_key.clear();
  insecure->insecure = true;
  struct Row {
    std::shared_ptr<NetworkIdentity> client;
    std::shared_ptr<NetworkIdentity> server;
    bool accepted;
    const char* text;
  };
  const Row rows[] = {
      {other, good, false, "wrong cluster key"},
      {none, good, false, "cluster key is needed"},
      {none, insecure, false, "cluster key is needed"},  // the client has not agreed to go without
      {insecure, good, false, "cluster key is needed"},
      {good, none, false, "no cluster key"},
      {good, insecure, false, "no cluster key"},
      {insecure, insecure, true, ""},
  };
  for (const Row& row : rows) {
    Outcome out = Shake(row.client, row.server, Tcp(), Tcp());
    EXPECT_EQ(out.client_complete, row.accepted);
    EXPECT_EQ(out.server_complete, row.accepted);
    if (row.accepted) {
      EXPECT_TRUE(out.server_sees.trusted);
      EXPECT_FALSE(out.server_sees.key_authenticated);
    } else {
      EXPECT_EQ(out.client.code(), Code::kUnauthenticated);
      EXPECT_NE(out.client.message().find(row.text), std::string::npos) << out.client.message();
    }
  }
}

TEST(Handshake, Clusters) {
  auto ours = TestIdentity();
  auto theirs = TestIdentity();
  theirs->cluster_id = "ffffffff-5a0f-4f3a-9d5e-1f2e3d4c5b6a";
  auto unknown = TestIdentity();
  unknown->cluster_id = "";
  auto lost_node = TestIdentity(Role::kDatanode, 4);
  lost_node->cluster_id = "";
  for (const TransportFacts& facts : {Tcp(), Unix(0)}) {
    Outcome out = Shake(theirs, ours, facts, facts);
    EXPECT_EQ(out.client.code(), Code::kWrongCluster);
    EXPECT_EQ(out.server.code(), Code::kWrongCluster);
    EXPECT_NE(out.client.message().find("ffffffff"), std::string::npos);
    EXPECT_NE(out.client.message().find(kTestCluster), std::string::npos);

    out = Shake(unknown, ours, facts, facts);
    ASSERT_TRUE(out.client_complete);
    EXPECT_EQ(out.client_sees.cluster_id, kTestCluster) << "a client learns where it is";

    out = Shake(lost_node, ours, facts, facts);
    EXPECT_EQ(out.server.code(), Code::kWrongCluster) << "a node must know";
  }
}

TEST(Handshake, ClientChecksTheClusterItself) {
  auto server = TestIdentity(Role::kNamenode);
  Outcome out = Shake(TestIdentity(), server, Unix(0), Unix(0), [&](std::string m, bool to_server) {
    size_t at = m.find(kTestCluster);
    if (!to_server && at != std::string::npos) m[at] = 'f';
    return m;
  });
  EXPECT_EQ(out.client.code(), Code::kWrongCluster);
}

TEST(Handshake, Versions) {
  for (auto [lowest, highest] : {std::pair{7, 9}, std::pair{0, 0}}) {
    Outcome out =
        Shake(TestIdentity(), TestIdentity(), Tcp(), Tcp(), [=](std::string m, bool to_server) {
          if (to_server && m[4] == 1) {
            m[8] = static_cast<char>(lowest);
            m[10] = static_cast<char>(highest);
          }
          return m;
        });
    EXPECT_EQ(out.client.code(), Code::kVersionMismatch);
    EXPECT_EQ(out.server.code(), Code::kVersionMismatch);
    EXPECT_NE(out.client.message().find("versions"), std::string::npos);
  }
}

TEST(Handshake, NothingCanBeChangedOnTheWay) {
  // Every byte of every message, one at a time: with the key in use nobody ends up believing a changed preamble.
  auto client = TestIdentity(Role::kDatanode, 5);
  auto server = TestIdentity(Role::kNamenode, 2);
  for (int message = 0; message < 4; ++message) {
    for (size_t at = kPreambleHeaderSize; at < 120; ++at) {
      int seen = 0;
      bool changed = false;
      bool both = true;
      Outcome out = Shake(client, server, Tcp(), Tcp(), [&](std::string m, bool) {
        if (seen++ == message && at < m.size()) {
          m[at] = static_cast<char>(m[at] ^ 1);
          changed = true;
        }
        return m;
      });
      both = out.client_complete && out.server_complete;
      EXPECT_FALSE(changed && both) << "message " << message << " byte " << at;
    }
  }
}

TEST(Handshake, NoDowngradeToNone) {
  // Somebody in between turns the client's offer into `none` and makes up a welcome: the client asked for proof.
  auto insecure_server = TestIdentity(Role::kNamenode);
  insecure_server->insecure = true;
  Outcome out =
      Shake(TestIdentity(), insecure_server, Tcp(), Tcp(), [](std::string m, bool to_server) {
        if (to_server && m[4] == 1) m[13] = 0;  // method none
        return m;
      });
  EXPECT_FALSE(out.client_complete);
  EXPECT_EQ(out.client.code(), Code::kUnauthenticated);
}

TEST(Handshake, ReflectionProvesNothing) {
  // A server without the key answers with the client's own MAC.
  auto identity = TestIdentity();
  ClientHandshake client(identity, Tcp(), 0, Nonce('c'));
  Result<std::string> hello = client.Start();
  ASSERT_TRUE(hello);
  ServerHandshake real(identity, Tcp(), Nonce('c'));
  HandshakeStep challenge = real.OnMessage(*hello);
  HandshakeStep proof = client.OnMessage(challenge.send);
  ASSERT_FALSE(proof.send.empty());
  HandshakeStep welcome = real.OnMessage(proof.send);
  std::string forged =
      welcome.send.substr(0, welcome.send.size() - 32) + proof.send.substr(kPreambleHeaderSize);
  EXPECT_EQ(client.OnMessage(forged).failure.code(), Code::kUnauthenticated);
}

TEST(Handshake, ReplayedProofIsWorthNothing) {
  auto identity = TestIdentity();
  ClientHandshake client(identity, Tcp(), 0, Nonce('c'));
  Result<std::string> hello = client.Start();
  ServerHandshake first(identity, Tcp(), Nonce('1'));
  HandshakeStep proof = client.OnMessage(first.OnMessage(*hello).send);
  ASSERT_TRUE(first.OnMessage(proof.send).complete);
  EXPECT_EQ(first.OnMessage(proof.send).failure.code(), Code::kProtocol) << "one proof, once";
  ServerHandshake second(identity, Tcp(), Nonce('2'));
  second.OnMessage(*hello);
  EXPECT_EQ(second.OnMessage(proof.send).failure.code(), Code::kUnauthenticated);
}

TEST(Handshake, RandomMessagesAreRefused) {
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    Random random(seed);
    ServerHandshake server(TestIdentity(), Tcp(), Nonce('s'));
    ClientHandshake client(TestIdentity(), Tcp(), 0, Nonce('c'));
    std::string hello = *client.Start();
    std::string message = "DFS1";
    message.push_back(static_cast<char>(random.Uniform(7)));
    message += std::string(3, '\0');
    size_t size = random.Uniform(200);
    if (random.OneIn(2)) {
      message = hello;
      for (int i = 0; i < 3; ++i)
        message[4 + random.Uniform(message.size() - 4)] = static_cast<char>(random.Next());
      if (random.OneIn(2)) message.resize(std::max<size_t>(8, random.Uniform(message.size())));
    } else {
      for (size_t i = 0; i < size; ++i) message.push_back(static_cast<char>(random.Next()));
    }
    EXPECT_FALSE(server.OnMessage(message).complete);
    EXPECT_FALSE(client.OnMessage(message).complete);
  }
}

}  // namespace
}  // namespace dfs::rpc
