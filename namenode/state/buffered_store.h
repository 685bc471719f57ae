// BufferedStore: collects several commits before it gives them to the store below, as one batch in key
// order. Hot keys (counters, session records, directories, the usage of all above) are written once
// for many commands, and a skip list takes sorted keys for a third of the price. Costs no
// durability: what was not flushed is lost in a crash either way, and stays a suffix of whole
// commits. Confined to the namenode's loop; with a worker the batch is built and given to the store below in the
// background, while the next one is collected and reads see all three layers. The store below must allow that: a
// write beside look-ups and scans.
#pragma once

#include <memory>
#include <string_view>

#include "common/base/worker.h"
#include "namenode/state/store.h"

namespace dfs::nn {

struct BufferedStoreOptions {
  // Bounds the pause of handing over without a thread: about 2 ms.
  size_t max_entries = 1024;
  // Keys that are put only while they are absent: a put and a delete of such a key that are both still
  // here cancel out, and the store below never hears of them. Null: none.
  bool (*never_overwritten)(std::string_view key) = nullptr;
  uint64_t max_bytes = 1u << 20;
  std::shared_ptr<Worker> worker;  // null: the caller waits
};

std::unique_ptr<StateStore> NewBufferedStore(std::unique_ptr<StateStore> base,
                                             const BufferedStoreOptions& options = {});

}  // namespace dfs::nn
