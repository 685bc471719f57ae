#include "datanode/store/scan_log.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/checksum.h"
#include "common/base/codec.h"
#include "common/base/logging.h"

namespace dfs::dn {
namespace {

constexpr uint32_t kMagic = 0x3153'4E44;  // "DNS1"
constexpr uint16_t kFormatVersion = 1;
constexpr uint64_t kSumAt = ScanLog::kHeaderSize - sizeof(uint64_t);
constexpr uint64_t kPieceRecords = 40'000;

std::string EncodeRecord(const VerifiedAt& verified) {
  std::string out;
  Encoder e(&out);
  e.Id(verified.block);
  e.I64(verified.wall_s);
  e.U64(Hash64(out));
  return out;
}

/// Appends those of the records that are whole.
void DecodeRecords(std::string_view bytes, std::vector<VerifiedAt>* out) {
  for (; bytes.size() >= ScanLog::kRecordSize; bytes.remove_prefix(ScanLog::kRecordSize)) {
    const std::string_view body = bytes.substr(0, ScanLog::kRecordSize - sizeof(uint64_t));
    Decoder sum(bytes.substr(body.size(), sizeof(uint64_t)));
    if (sum.U64() != Hash64(body)) continue;
    Decoder d(body);
    VerifiedAt verified;
    verified.block = d.Id<BlockId>();
    verified.wall_s = d.I64();
    if (verified.block.valid()) out->push_back(verified);
  }
}

}  // namespace

ScanLog::ScanLog(Env& env, const std::string& directory, Owner owner)
    : env_(env), path_(directory + "/SCANNED"), owner_(std::move(owner)) {}

std::string ScanLog::Header() const {
  std::string out;
  Encoder e(&out);
  e.U32(kMagic);
  e.U16(kFormatVersion);
  e.Bytes(owner_.cluster_id);
  e.Id(owner_.datanode);
  e.U64(owner_.storage_id);
  DFS_CHECK(out.size() <= kSumAt);
  out.resize(kSumAt, '\0');
  e.U64(Hash64(out));
  return out;
}

std::vector<VerifiedAt> ScanLog::Load() {
  std::vector<VerifiedAt> all;
  usable_ = false;
  records_ = 0;
  if (!env_.Exists(path_)) return all;
  const auto read = [&]() -> Status {
    DFS_ASSIGN_OR_RETURN(auto file, env_.Open(path_, Env::OpenMode::kReadOnly));
    DFS_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
    std::string piece(kHeaderSize, '\0');
    DFS_ASSIGN_OR_RETURN(size_t got, file->ReadAt(0, piece.data(), piece.size()));
    if (got != kHeaderSize || piece != Header()) {
      return Status(Code::kCorrupt, "not a log of this volume's scanner");
    }
    piece.resize(kPieceRecords * kRecordSize);
    for (uint64_t at = kHeaderSize; at < size; at += piece.size()) {
      DFS_ASSIGN_OR_RETURN(got, file->ReadAt(at, piece.data(), piece.size()));
      DecodeRecords(std::string_view(piece).substr(0, got), &all);
    }
    records_ = size > kHeaderSize ? (size - kHeaderSize) / kRecordSize : 0;
    return Status::Ok();
  };
  if (Status done = read(); !done) {
    LogWarning("{}: {}; every replica is verified anew", path_, done.ToString());
    all.clear();
    return all;
  }
  usable_ = true;
  std::sort(all.begin(), all.end(), [](const VerifiedAt& a, const VerifiedAt& b) {
    return a.block != b.block ? a.block < b.block : a.wall_s > b.wall_s;
  });
  const auto same = [](const VerifiedAt& a, const VerifiedAt& b) { return a.block == b.block; };
  all.erase(std::unique(all.begin(), all.end(), same), all.end());
  return all;
}

Status ScanLog::OpenForAppend() {
  if (file_) return Status::Ok();
  if (!usable_) DFS_RETURN_IF_ERROR(Rewrite({}));
  DFS_ASSIGN_OR_RETURN(file_, env_.Open(path_, Env::OpenMode::kReadWrite));
  return Status::Ok();
}

Status ScanLog::Append(const VerifiedAt& verified) {
  DFS_RETURN_IF_ERROR(OpenForAppend());
  // Over what is left of a record that was torn, if anything is.
  DFS_RETURN_IF_ERROR(
      file_->WriteAt(kHeaderSize + records_ * kRecordSize, EncodeRecord(verified)));
  ++records_;
  dirty_ = true;
  return Status::Ok();
}

Status ScanLog::Sync() {
  if (!dirty_) return Status::Ok();
  dirty_ = false;
  return file_->Sync();
}

Status ScanLog::Rewrite(std::span<const VerifiedAt> all) {
  std::string out = Header();
  out.reserve(kHeaderSize + all.size() * kRecordSize);
  for (const VerifiedAt& verified : all) out += EncodeRecord(verified);
  file_ = nullptr;
  dirty_ = false;
  DFS_RETURN_IF_ERROR(env_.WriteFileAtomically(path_, out));
  records_ = all.size();
  usable_ = true;
  return Status::Ok();
}

}  // namespace dfs::dn
