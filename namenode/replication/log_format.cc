#include "namenode/replication/log_format.h"

#include <cstring>

#include "common/base/check.h"
#include "common/base/checksum.h"
#include "common/base/codec.h"

namespace dfs::nn::log_format {

namespace {

constexpr char kSegmentMagic[] = "DFSRLOG1";
constexpr char kHardStateMagic[] = "DFSRHRD1";
constexpr size_t kMaxRecordPayload = 64u << 20;

/// Magic, checksum of the rest, fields, zeros up to a page.
std::string SealPage(const char* magic, const std::string& fields) {
  std::string page(magic, 8);
  std::string rest;
  Encoder e(&rest);
  e.U32(kFormatVersion);
  rest += fields;
  rest.resize(kPage - 16, '\0');
  Encoder(&page).U64(Hash64(rest));
  page += rest;
  return page;
}

Result<Decoder> OpenPage(const char* magic, std::string_view page, const char* what) {
  if (page.size() != kPage || page.substr(0, 8) != std::string_view(magic, 8)) {
    return Status(Code::kCorrupt, std::string(what) + " has no valid header");
  }
  uint64_t sum;
  std::memcpy(&sum, page.data() + 8, 8);
  if (sum != Hash64(page.substr(16))) {
    return Status(Code::kCorrupt, std::string(what) + " has a header with a wrong checksum");
  }
  Decoder d(page.substr(16));
  if (d.U32() != kFormatVersion) {
    return Status(Code::kVersionMismatch, std::string(what) + " is of an unknown format version");
  }
  return d;
}

}  // namespace

std::string EncodeSegmentHeader(const SegmentHeader& h) {
  std::string fields;
  Encoder e(&fields);
  e.Bytes(h.cluster_id);
  e.Id(h.node_id);
  e.U64(h.storage_id);
  e.U64(h.number);
  e.U64(h.nonce);
  e.U64(h.size);
  e.U64(h.first_batch);
  e.U64(h.last_index);
  e.U64(h.last_term);
  return SealPage(kSegmentMagic, fields);
}

Result<SegmentHeader> DecodeSegmentHeader(std::string_view page) {
  DFS_ASSIGN_OR_RETURN(Decoder d, OpenPage(kSegmentMagic, page, "log segment"));
  SegmentHeader h;
  h.cluster_id = std::string(d.Bytes());
  h.node_id = d.Id<NodeId>();
  h.storage_id = d.U64();
  h.number = d.U64();
  h.nonce = d.U64();
  h.size = d.U64();
  h.first_batch = d.U64();
  h.last_index = d.U64();
  h.last_term = d.U64();
  if (!d.ok()) return Status(Code::kCorrupt, "log segment has a malformed header");
  return h;
}

std::string EncodeHardStateSlot(const HardStateSlot& slot, const std::string& cluster_id,
                                NodeId node_id, uint64_t storage_id) {
  std::string fields;
  Encoder e(&fields);
  e.Bytes(cluster_id);
  e.Id(node_id);
  e.U64(storage_id);
  e.U64(slot.sequence);
  e.U64(slot.state.term);
  e.Id(slot.state.vote);
  return SealPage(kHardStateMagic, fields);
}

Result<HardStateSlot> DecodeHardStateSlot(std::string_view page, const std::string& cluster_id,
                                          NodeId node_id, uint64_t storage_id) {
  DFS_ASSIGN_OR_RETURN(Decoder d, OpenPage(kHardStateMagic, page, "hard state"));
  std::string_view cluster = d.Bytes();
  if (d.ok() && cluster != cluster_id) {
    return Status(Code::kWrongCluster, "hard state belongs to cluster " + std::string(cluster));
  }
  NodeId node = d.Id<NodeId>();
  uint64_t storage = d.U64();
  HardStateSlot slot;
  slot.sequence = d.U64();
  slot.state.term = d.U64();
  slot.state.vote = d.Id<NodeId>();
  if (!d.ok()) return Status(Code::kCorrupt, "hard state is malformed");
  if (node != node_id || storage != storage_id) {
    return Status(Code::kInvalidArgument, "hard state belongs to another member");
  }
  return slot;
}

void AppendRecord(const Record& record, uint64_t nonce, uint64_t offset, std::string* out) {
  size_t start = out->size();
  Encoder e(out);
  e.U64(0);
  e.U32(static_cast<uint32_t>(record.payload.size()));
  e.U8(static_cast<uint8_t>(record.type));
  e.U8(static_cast<uint8_t>(record.entry_type));
  e.U16(0);
  e.U64(record.term);
  e.U64(record.index);
  e.Raw(record.payload);
  uint64_t sum = Hash64(std::string_view(*out).substr(start + 8), Seed(nonce, offset));
  std::memcpy(out->data() + start, &sum, 8);
}

void ReserveBatchHeader(std::string* out) {
  out->assign(kBatchHeader, '\0');
}

void FillBatchHeader(uint64_t batch, uint64_t nonce, uint64_t offset, std::string* out) {
  std::string payload;
  Encoder e(&payload);
  std::string_view body = std::string_view(*out).substr(kBatchHeader);
  e.U64(body.size());
  e.U64(Hash64(body, Seed(nonce, offset)));
  std::string header;
  AppendRecord({RecordType::kBatch, raft::EntryType::kNoop, 0, batch, payload}, nonce, offset,
               &header);
  DFS_CHECK(header.size() == kBatchHeader);
  out->replace(0, kBatchHeader, header);
}

bool ParseRecord(std::string_view in, uint64_t nonce, uint64_t offset, Record* record) {
  if (in.size() < kRecordHeader) return false;
  Decoder d(in);
  uint64_t sum = d.U64();
  uint32_t size = d.U32();
  uint8_t type = d.U8();
  uint8_t entry_type = d.U8();
  d.U16();
  record->term = d.U64();
  record->index = d.U64();
  if (size > kMaxRecordPayload || size > in.size() - kRecordHeader) return false;
  if (sum != Hash64(in.substr(8, kRecordHeader - 8 + size), Seed(nonce, offset))) return false;
  if (type < 1 || type > 4 || entry_type < 1 || entry_type > 3) return false;
  record->type = static_cast<RecordType>(type);
  record->entry_type = static_cast<raft::EntryType>(entry_type);
  record->payload = d.Raw(size);
  return true;
}

bool ParseBatchHeader(std::string_view in, uint64_t nonce, uint64_t offset, BatchHeader* header) {
  Record record;
  if (in.size() < kBatchHeader) return false;
  if (!ParseRecord(in.substr(0, kBatchHeader), nonce, offset, &record)) return false;
  if (record.type != RecordType::kBatch || record.payload.size() != 16) return false;
  Decoder d(record.payload);
  header->number = record.index;
  header->body_bytes = d.U64();
  header->body_hash = d.U64();
  return true;
}

}  // namespace dfs::nn::log_format
