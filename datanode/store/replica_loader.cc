#include "datanode/store/replica_loader.h"

#include <algorithm>

#include "common/base/logging.h"

namespace dfs::dn {
namespace {

/// How much of a replica that was open counts: what was synced, and beyond it whatever chunks fit their
/// sums (after a crash of the process alone that is everything).
class TailScan {
 public:
  TailScan(const SidecarHeader& header, File& data, Sidecar& sidecar, uint64_t file_size)
      : header_(header), data_(data), sidecar_(sidecar), file_size_(file_size) {}

  Result<LoadedReplica> Run() {
    LoadedReplica out;
    out.loaded.header = header_;
    out.loaded.length = header_.length;
    if (file_size_ < header_.length) {
      out.corrupt = true;
      out.why = fmt::format("file has {} bytes, {} were synced", file_size_, header_.length);
      return out;
    }
    uint64_t chunk = header_.length / kChunkSize;
    const uint64_t within = header_.length % kChunkSize;
    if (within != 0) {
      DFS_ASSIGN_OR_RETURN(const uint64_t size, MatchingSize(chunk));
      if (size >= within) {
        out.loaded.length = chunk * kChunkSize + size;
      } else {
        // An append was under way: the chunk as it was synced has its sum in the header.
        DFS_RETURN_IF_ERROR(CheckSyncedEnd(chunk, within, &out));
        return out;
      }
      if (size < kChunkSize) return out;
      chunk++;
    }
    while (true) {
      DFS_ASSIGN_OR_RETURN(const uint64_t size, MatchingSize(chunk));
      if (size == 0) return out;
      out.loaded.length = chunk * kChunkSize + size;
      if (size < kChunkSize) return out;
      chunk++;
    }
  }

 private:
  /// Bytes of the chunk, up to the end of the file, if they fit the stored sum; otherwise 0.
  Result<uint64_t> MatchingSize(uint64_t chunk) {
    const uint64_t begin = chunk * kChunkSize;
    if (begin >= file_size_ || begin >= wire::kMaxBlockLength) return uint64_t{0};
    std::string bytes(std::min<uint64_t>(kChunkSize, file_size_ - begin), '\0');
    DFS_ASSIGN_OR_RETURN(const size_t got, data_.ReadAt(begin, bytes.data(), bytes.size()));
    DFS_ASSIGN_OR_RETURN(const auto sums, sidecar_.ReadSums(chunk, 1));
    const bool fits = got == bytes.size() && ChunkSum(bytes) == sums[0];
    return fits ? uint64_t{bytes.size()} : uint64_t{0};
  }

  Status CheckSyncedEnd(uint64_t chunk, uint64_t within, LoadedReplica* out) {
    std::string bytes(within, '\0');
    DFS_ASSIGN_OR_RETURN(const size_t got,
                         data_.ReadAt(chunk * kChunkSize, bytes.data(), bytes.size()));
    const uint64_t sum = ChunkSum(bytes);
    const bool torn = header_.intent[chunk * kChunkSize / kRegionSize];
    if (got == within && sum == header_.last_chunk_sum) {
      return sidecar_.WriteSums(chunk, &sum, 1);
    }
    if (torn) return Status::Ok();
    out->corrupt = true;
    out->why = fmt::format("the chunk at {} differs from its sum", chunk * kChunkSize);
    return Status::Ok();
  }

  const SidecarHeader& header_;
  File& data_;
  Sidecar& sidecar_;
  const uint64_t file_size_;
};

}  // namespace

Result<LoadedReplica> LoadReplica(Volume& volume, BlockId block) {
  Env& env = volume.env();
  DFS_ASSIGN_OR_RETURN(auto meta, env.Open(volume.MetaPath(block), Env::OpenMode::kReadWrite));
  Sidecar sidecar(std::move(meta), volume.version().cluster_id);
  DFS_ASSIGN_OR_RETURN(const SidecarHeader header, sidecar.ReadHeader());
  if (header.block != block) {
    return Status(Code::kCorrupt, fmt::format("sidecar is of block {}", header.block.value));
  }
  const auto next = Next(header.state, ReplicaEvent::kRestart);
  if (!next || *next == ReplicaState::kNone) {
    return Status(Code::kNotFound, "an unfinished copy");
  }
  LoadedReplica out;
  if (*next == ReplicaState::kFinalized) {
    DFS_ASSIGN_OR_RETURN(const uint64_t size, env.FileSize(volume.DataPath(block)));
    out.loaded = {header, *next, header.length};
    if (size < header.length) {
      out.corrupt = true;
      out.why = fmt::format("file has {} bytes, not {}", size, header.length);
    }
    return out;
  }
  DFS_ASSIGN_OR_RETURN(auto data, env.Open(volume.DataPath(block), Env::OpenMode::kReadWrite));
  DFS_ASSIGN_OR_RETURN(const uint64_t size, data->Size());
  DFS_ASSIGN_OR_RETURN(out, TailScan(header, *data, sidecar, size).Run());
  out.loaded.state = *next;
  if (!out.corrupt) {
    // Beyond the length there is nothing, in either file: a later extension relies on it.
    DFS_RETURN_IF_ERROR(data->Truncate(out.loaded.length));
    DFS_RETURN_IF_ERROR(sidecar.TruncateSums(ChunkCount(out.loaded.length)));
  }
  return out;
}

}  // namespace dfs::dn
