// The envelope of plain Thrift, byte by byte; the stock client itself is in thrift_client_test.py.
#include "common/rpc/thrift_adapter.h"

#include <gtest/gtest.h>
#include <thrift/protocol/TCompactProtocol.h>
#include <thrift/transport/TBufferTransports.h>

#include "common/base/random.h"
#include "common/idl/codec.h"
#include "common/idl/methods.h"
#include "dfs_types.h"

namespace dfs::rpc {
namespace {

using apache::thrift::protocol::TCompactProtocol;
using apache::thrift::transport::TMemoryBuffer;

/// A framed call as Thrift's own library writes it.
std::string ThriftCall(
    const std::string& name, const idl::StatRequest& request, int32_t sequence,
    apache::thrift::protocol::TMessageType type = apache::thrift::protocol::T_CALL) {
  auto memory = std::make_shared<TMemoryBuffer>();
  TCompactProtocol protocol(memory);
  protocol.writeMessageBegin(name, type, sequence);
  protocol.writeStructBegin("args");
  protocol.writeFieldBegin("request", apache::thrift::protocol::T_STRUCT, 1);
  request.write(&protocol);
  protocol.writeFieldEnd();
  protocol.writeFieldStop();
  protocol.writeStructEnd();
  protocol.writeMessageEnd();
  std::string body = memory->getBufferAsString();
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(body.size() >> shift));
  return out + body;
}

idl::StatRequest Request() {
  idl::StatRequest request;
  request.ref.path = "/a/b";
  request.ref.__isset.path = true;
  request.__isset.ref = true;
  request.follow = true;
  request.__isset.follow = true;
  return request;
}

TEST(ThriftAdapter, TellsThriftFromOurs) {
  EXPECT_TRUE(ThriftAdapter::LooksLikeThrift(ThriftCall("stat", Request(), 1)));
  EXPECT_FALSE(ThriftAdapter::LooksLikeThrift("DFS1\x01\x00\x20\x00"));
  EXPECT_FALSE(ThriftAdapter::LooksLikeThrift(
      std::string("\x00\x00\x00\x20\x80\x01\x00\x01", 8)));  // binary protocol
  EXPECT_FALSE(ThriftAdapter::LooksLikeThrift(
      std::string("\x7f\x00\x00\x20\x82\x21\x00\x01", 8)));  // too long
}

TEST(ThriftAdapter, RequestPassesThroughAndRepliesAreWrapped) {
  ThriftAdapter adapter;
  std::string call = ThriftCall("stat", Request(), 4711);
  FrameHeader header;
  Buffer payload;
  std::string immediate;
  for (size_t i = 0; i + 1 < call.size(); ++i) {
    adapter.Feed(call.substr(i, 1));
    Result<ThriftAdapter::Next> next = adapter.TakeNext(&header, &payload, &immediate);
    ASSERT_TRUE(next);
    ASSERT_EQ(*next, ThriftAdapter::Next::kNeedMore);
  }
  adapter.Feed(call.substr(call.size() - 1) + call);
  ASSERT_EQ(*adapter.TakeNext(&header, &payload, &immediate), ThriftAdapter::Next::kRequest);
  EXPECT_EQ(header.method, idl::kStat);
  idl::StatRequest request;
  ASSERT_TRUE(idl::Decode(payload.view(), &request).ok());
  EXPECT_TRUE(request == Request());
  // One at a time.
  FrameHeader second;
  EXPECT_EQ(*adapter.TakeNext(&second, &payload, &immediate), ThriftAdapter::Next::kNeedMore);
  EXPECT_TRUE(adapter.call_in_hand());
  FrameHeader strange;
  strange.type = FrameType::kReply;
  strange.request_id = header.request_id + 5;
  EXPECT_EQ(adapter.EncodeReply(strange, "x"), "");

  idl::StatReply reply;
  reply.attr.inode = 99;
  reply.attr.__isset.inode = true;
  reply.__isset.attr = true;
  header.type = FrameType::kReply;
  std::string bytes = adapter.EncodeReply(header, std::string(idl::Encode(reply).view()));
  auto memory = std::make_shared<TMemoryBuffer>(reinterpret_cast<uint8_t*>(bytes.data() + 4),
                                                static_cast<uint32_t>(bytes.size() - 4));
  TCompactProtocol protocol(memory);
  std::string name;
  apache::thrift::protocol::TMessageType type;
  int32_t sequence = 0;
  protocol.readMessageBegin(name, type, sequence);
  EXPECT_EQ(name, "stat");
  EXPECT_EQ(type, apache::thrift::protocol::T_REPLY);
  EXPECT_EQ(sequence, 4711);
  apache::thrift::protocol::TType field_type;
  int16_t field = -1;
  protocol.readStructBegin(name);
  protocol.readFieldBegin(name, field_type, field);
  EXPECT_EQ(field, 0);
  EXPECT_EQ(field_type, apache::thrift::protocol::T_STRUCT);
  idl::StatReply read;
  read.read(&protocol);
  EXPECT_EQ(read.attr.inode, 99);
  protocol.readFieldBegin(name, field_type, field);
  EXPECT_EQ(field_type, apache::thrift::protocol::T_STOP);
  // And now the second call.
  EXPECT_EQ(*adapter.TakeNext(&second, &payload, &immediate), ThriftAdapter::Next::kRequest);
}

TEST(ThriftAdapter, UnknownMethodsAreAnsweredByThriftsOwnException) {
  ThriftAdapter adapter;
  adapter.Feed(ThriftCall("no_such_method", Request(), 3) +
               ThriftCall("register_datanode", Request(), 4));
  FrameHeader header;
  Buffer payload;
  std::string immediate;
  for (int i = 0; i < 2; ++i) {  // a method of another service is as unknown
    ASSERT_EQ(*adapter.TakeNext(&header, &payload, &immediate), ThriftAdapter::Next::kReply);
    EXPECT_EQ(immediate[5] & 0xff, 0x61);
    EXPECT_NE(immediate.find("unknown method"), std::string::npos);
  }
  EXPECT_FALSE(adapter.call_in_hand());
}

TEST(ThriftAdapter, DamagedMessagesEndTheConnectionAndCrashNothing) {
  std::string good = ThriftCall("stat", Request(), 3);
  int refused = 0;
  for (uint64_t seed = 1; seed <= 5000; ++seed) {
    Random random(seed);
    std::string bytes = good;
    for (uint64_t i = random.Uniform(4); i < 4; ++i) {
      bytes[random.Uniform(bytes.size())] = static_cast<char>(random.Next());
    }
    ThriftAdapter adapter;
    adapter.Feed(bytes);
    FrameHeader header;
    Buffer payload;
    std::string immediate;
    Result<ThriftAdapter::Next> next = adapter.TakeNext(&header, &payload, &immediate);
    if (!next) {
      ++refused;
      continue;
    }
    idl::StatRequest request;
    if (*next == ThriftAdapter::Next::kRequest) {
      [[maybe_unused]] Status ignored = idl::Decode(payload.view(), &request);
    }
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace dfs::rpc
