// The bytes of a log segment; see log_storage.h for what they mean. Internal to this folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/raft/types.h"

namespace dfs::nn::log_format {

inline constexpr uint64_t kPage = 4096;
inline constexpr uint32_t kFormatVersion = 1;
inline constexpr size_t kRecordHeader = 32;
inline constexpr size_t kBatchHeader = kRecordHeader + 16;

inline uint64_t RoundUp(uint64_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

enum class RecordType : uint8_t {
  kBatch = 1,     // index: the batch's number; payload: length of the body, hash of the body
  kEntry = 2,     // (term, index), payload: the entry's data
  kTruncate = 3,  // index: first entry dropped; term: of the entry before it
  kReset = 4,     // the log begins after (index, term)
};

struct SegmentHeader {
  std::string cluster_id;
  NodeId node_id;
  uint64_t storage_id = 0;
  uint64_t number = 0;
  uint64_t nonce = 0;
  uint64_t size = 0;         // of the file
  uint64_t first_batch = 0;  // number of its first batch
  LogIndex last_index = 0;   // of the log when the segment was begun
  Term last_term = 0;
};
std::string EncodeSegmentHeader(const SegmentHeader& header);  // one page
Result<SegmentHeader> DecodeSegmentHeader(std::string_view page);

struct HardStateSlot {
  uint64_t sequence = 0;
  raft::HardState state;
};
std::string EncodeHardStateSlot(const HardStateSlot& slot, const std::string& cluster_id,
                                NodeId node_id, uint64_t storage_id);  // one page
/// kCorrupt when torn; kWrongCluster or kInvalidArgument when somebody else's.
Result<HardStateSlot> DecodeHardStateSlot(std::string_view page, const std::string& cluster_id,
                                          NodeId node_id, uint64_t storage_id);

struct Record {
  RecordType type = RecordType::kEntry;
  raft::EntryType entry_type = raft::EntryType::kNoop;
  Term term = 0;
  uint64_t index = 0;
  std::string_view payload;
};

/// The seed of a record's checksum: ties it to one life of one file and to its place there.
inline uint64_t Seed(uint64_t nonce, uint64_t offset) {
  return nonce + offset;
}

/// Appends a record that will stand at `offset` of its segment.
void AppendRecord(const Record& record, uint64_t nonce, uint64_t offset, std::string* out);
/// Leaves room for a batch header and fills it in when the body is complete.
void ReserveBatchHeader(std::string* out);
void FillBatchHeader(uint64_t batch, uint64_t nonce, uint64_t offset, std::string* out);

/// Parses and verifies the record at the start of `in`. False when there is no valid one.
bool ParseRecord(std::string_view in, uint64_t nonce, uint64_t offset, Record* record);

struct BatchHeader {
  uint64_t number = 0;
  uint64_t body_bytes = 0;
  uint64_t body_hash = 0;
};
bool ParseBatchHeader(std::string_view in, uint64_t nonce, uint64_t offset, BatchHeader* header);

}  // namespace dfs::nn::log_format
