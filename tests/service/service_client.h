// The calls that tests of the handlers make.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/service/service_world.h"

namespace dfs::nn {

inline idl::Ref At(const std::string& path) {
  idl::Ref ref;
  ref.path = path;
  return ref;
}
inline idl::Ref At(int64_t inode) {
  idl::Ref ref;
  ref.inode = inode;
  return ref;
}

/// The calls a client makes, with an exactly-once header.
struct Client {
  Client(ServiceWorld& world, int64_t nonce) : w(world), session(w.OpenSession(nonce)) {}

  Result<idl::AttrReply> Mkdir(const std::string& path, bool parents = false) {
    idl::MkdirRequest r;
    r.op = w.NextOp(session);
    r.ref = At(path);
    r.mode = 0755;
    r.parents = parents;
    r.caller = caller;
    return w.Call<idl::kMkdir>(r);
  }
  Result<idl::CreateReply> Create(const std::string& path, const std::string& data = "",
                                  bool exclusive = true) {
    idl::CreateRequest r;
    r.op = w.NextOp(session);
    r.ref = At(path);
    r.mode = 0644;
    r.exclusive = exclusive;
    r.has_inline_data = !data.empty();
    r.inline_data = data;
    r.open_for_write = true;
    r.block_size = 1 << 20;
    r.caller = caller;
    return w.Call<idl::kCreate>(r);
  }
  Result<idl::StatReply> Stat(const idl::Ref& ref) {
    idl::StatRequest r;
    r.ref = ref;
    r.caller = caller;
    return w.Call<idl::kStat>(r);
  }
  Result<idl::NamesReply> Unlink(const std::string& path) {
    idl::UnlinkRequest r;
    r.op = w.NextOp(session);
    r.ref = At(path);
    r.caller = caller;
    return w.Call<idl::kUnlink>(r);
  }
  Result<idl::OpenBlockReply> OpenBlock(int64_t inode, int64_t slot = 0, int64_t stamp = 0) {
    idl::OpenBlockRequest r;
    r.op = w.NextOp(session);
    r.inode = inode;
    r.slot = slot;
    r.expected_stamp = stamp;
    r.caller = caller;
    return w.Call<idl::kOpenBlock>(r);
  }
  Result<idl::AttrReply> Close(int64_t inode, const idl::WritableBlock& b, int64_t length) {
    idl::CloseBlockRequest r;
    r.op = w.NextOp(session);
    r.inode = inode;
    r.slot = b.slot;
    r.block = b.block;
    r.stamp = b.stamp;
    r.length = length;
    r.file_size = b.slot * (1 << 20) + length;
    for (const auto& m : b.members) r.members.push_back(m.datanode);
    r.caller = caller;
    return w.Call<idl::kCloseBlock>(r);
  }
  Result<idl::GetBlocksReply> Blocks(int64_t inode) {
    idl::GetBlocksRequest r;
    r.inode = inode;
    r.length = 1 << 30;
    r.caller = caller;
    return w.Call<idl::kGetBlocks>(r);
  }
  Result<idl::OpenFileReply> OpenFile(const std::string& path) {
    idl::OpenFileRequest r;
    r.op = w.NextOp(session);
    r.ref = At(path);
    r.for_write = true;
    r.session = session;
    r.caller = caller;
    return w.Call<idl::kOpenFile>(r);
  }
  Result<idl::KeepAliveReply> KeepAlive(std::vector<int64_t> open = {}) {
    idl::KeepAliveRequest r;
    r.session = session;
    r.incarnation = 1;
    r.open_inodes = std::move(open);
    return w.Call<idl::kKeepAlive>(r);
  }

  ServiceWorld& w;
  int64_t session;
  idl::Caller caller;
};

#define ASSERT_OK(result) ASSERT_TRUE((result).ok()) << (result).status().ToString()
#define EXPECT_CODE(result, want) \
  EXPECT_TRUE((result).status().Is(want)) << (result).status().ToString()

}  // namespace dfs::nn
