#include "namenode/service/rack_table_file.h"

#include "common/base/logging.h"

namespace dfs::nn {

namespace {
constexpr int64_t kLookAgainNs = 10 * kSecond;
}

Status RackTableFile::Load() {
  auto text = env_.ReadFile(path_, RackTable::kMaxBytes);
  if (!text) return text.error().WithContext("placement.rack_table");
  if (*text == text_) return Status();
  auto table = RackTable::Parse(*text);
  if (!table) return table.error().WithContext("placement.rack_table " + path_);
  text_ = std::move(*text);
  LogInfo("{}: {} hosts and networks with their racks", path_, table->size());
  use_(std::move(*table));
  return Status();
}

Status RackTableFile::Start() {
  if (path_.empty()) return Status();
  DFS_RETURN_IF_ERROR(Load());
  Schedule();
  return Status();
}

void RackTableFile::Reload() {
  if (path_.empty()) return;
  Status loaded = Load();
  const std::string error = loaded.ok() ? "" : loaded.ToString();
  if (!loaded.ok() && error != last_error_) LogError("{}; the table stays as it was", error);
  last_error_ = error;
}

void RackTableFile::Schedule() {
  timer_ = executor_.RunAfter(kLookAgainNs, [this] {
    Reload();
    Schedule();
  });
}

void RackTableFile::Stop() {
  if (timer_ != 0) executor_.Cancel(timer_);
  timer_ = 0;
}

}  // namespace dfs::nn
