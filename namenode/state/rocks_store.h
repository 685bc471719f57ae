// RocksStateStore: RocksDB, one column family, WAL off. The directory holds
//   CURRENT_STATE   the name of the sub-directory in use, replaced atomically
//   state-<n>/      the RocksDB database
// so that installing a checkpoint is one rename. Everything is read and written through
// Options::file_system when it is set, which is how tests inject crashes and errors.
#pragma once

#include <memory>
#include <string>

#include "common/base/worker.h"
#include "namenode/state/store.h"

namespace rocksdb {
class FileSystem;
}

namespace dfs::nn {

struct RocksStoreOptions {
  std::string directory;  // created when absent
  uint64_t write_buffer_bytes = 24u << 20;
  uint64_t block_cache_bytes = 64u << 20;
  int background_threads = 2;
  int max_open_files = 512;
  size_t buffered_entries = 1024;  // collected before they reach RocksDB (buffered_store.h)
  std::shared_ptr<Worker> worker;  // writes what was collected in the background; null: nobody does
  std::shared_ptr<rocksdb::FileSystem> file_system;  // null: the operating system's
};

/// kIoError, kCorrupt: the member cannot use its state and must recover from its peers.
Result<std::unique_ptr<StateStore>> OpenRocksStore(const RocksStoreOptions& options);

}  // namespace dfs::nn
