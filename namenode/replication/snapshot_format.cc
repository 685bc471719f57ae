#include "namenode/replication/snapshot_format.h"

#include "common/base/codec.h"
#include "common/raft/message.h"

namespace dfs::nn {

namespace {
bool IsPlainName(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}
}  // namespace

Buffer EncodeSnapshotRequest(const SnapshotRequest& r) {
  std::string out;
  out.reserve(64 + r.data.size() + r.files.size() * 32 + r.hashes.size() * 8);
  Encoder e(&out);
  e.U8(static_cast<uint8_t>(r.op));
  e.U64(r.transfer);
  e.Varint(r.term);
  switch (r.op) {
    case SnapshotOp::kBegin:
      e.Varint(r.meta.index);
      e.Varint(r.meta.term);
      raft::EncodeConfiguration(r.meta.configuration, &out);
      e.Varint(r.files.size());
      for (const SnapshotFile& file : r.files) {
        e.Bytes(file.name);
        e.Varint(file.size);
      }
      break;
    case SnapshotOp::kChunk:
      e.Varint(r.file);
      e.Varint(r.offset);
      e.Bytes(r.data);
      break;
    case SnapshotOp::kFinish:
      e.Varint(r.hashes.size());
      for (uint64_t hash : r.hashes) e.U64(hash);
      break;
  }
  return Buffer(std::move(out));
}

Result<SnapshotRequest> DecodeSnapshotRequest(std::string_view in) {
  Decoder d(in);
  SnapshotRequest r;
  uint8_t op = d.U8();
  r.op = static_cast<SnapshotOp>(op);
  r.transfer = d.U64();
  r.term = d.Varint();
  if (r.op == SnapshotOp::kBegin) {
    r.meta.index = d.Varint();
    r.meta.term = d.Varint();
    r.meta.configuration = raft::DecodeConfiguration(&d);
    size_t n = d.Count(3);
    if (n > kMaxSnapshotFiles) d.Fail();
    for (size_t i = 0; i < n && d.ok(); ++i) {
      SnapshotFile file;
      file.name = std::string(d.Bytes());
      file.size = d.Varint();
      if (!IsPlainName(file.name)) d.Fail();
      r.files.push_back(std::move(file));
    }
  } else if (r.op == SnapshotOp::kChunk) {
    uint64_t file = d.Varint();
    if (file >= kMaxSnapshotFiles) d.Fail();
    r.file = static_cast<uint32_t>(file);
    r.offset = d.Varint();
    r.data = d.Bytes();
    if (r.data.size() > kMaxSnapshotChunk) d.Fail();
  } else if (r.op == SnapshotOp::kFinish) {
    size_t n = d.Count(8);
    if (n > kMaxSnapshotFiles) d.Fail();
    for (size_t i = 0; i < n && d.ok(); ++i) r.hashes.push_back(d.U64());
  } else {
    d.Fail();
  }
  if (!d.done()) return Status(Code::kProtocol, "malformed snapshot request");
  return r;
}

}  // namespace dfs::nn
