#include "tools/cli/trash_entries.h"

#include <pwd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/clock.h"
#include "common/base/trash_name.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

namespace {

// Follows the one name of each directory down to what was removed. Nothing when it is not there: the place is empty.
Result<std::optional<TrashedItem>> ReadPlace(const Client& client, uint32_t uid,
                                             const std::string& entry) {
  TrashEntry parsed;
  if (!ParseTrashEntryName(entry, &parsed)) return std::optional<TrashedItem>();
  TrashedItem item;
  item.uid = uid;
  item.entry = entry;
  item.directory = item.path = JoinPath(TrashOf(uid), entry);
  item.removed_ns = parsed.removed_ns;
  for (size_t level = 1; level <= parsed.depth; ++level) {
    ListOptions options;
    options.attributes = level == parsed.depth;
    Result<Directory> names = client.list(item.path, options);
    if (!names) return names.error();
    const DirEntry* name = names->next();
    if (!names->error().ok()) return names->error();
    if (name == nullptr) return std::optional<TrashedItem>();
    item.path = JoinPath(item.path, name->name);
    item.original += "/" + name->name;
    if (name->status) item.status = *name->status;
  }
  return std::optional<TrashedItem>(std::move(item));
}

std::string Digits(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= '0' && c <= '9') out += c;
  }
  return out;
}

}  // namespace

std::string TrashOf(uint32_t uid) {
  return std::string(kTrashPath) + "/" + std::to_string(uid);
}

bool ParseUser(std::string_view text, uint32_t* uid) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *uid);
  if (error == std::errc() && end == text.data() + text.size() && !text.empty()) return true;
  const passwd* found = getpwnam(std::string(text).c_str());
  if (found == nullptr) return false;
  *uid = found->pw_uid;
  return true;
}

Status ForEachTrashed(const Client& client, uint32_t uid,
                      const std::function<void(const TrashedItem&)>& visit) {
  Result<Directory> entries = client.list(TrashOf(uid));
  if (!entries) return entries.error().Is(Code::kNotFound) ? Status() : entries.error();
  for (const DirEntry& entry : *entries) {
    Result<std::optional<TrashedItem>> item = ReadPlace(client, uid, entry.name);
    // Restored, or gone, since it was listed.
    if (!item && item.error().Is(Code::kNotFound)) continue;
    if (!item) return item.error();
    if (*item) visit(**item);
  }
  return entries->error();
}

Result<std::vector<uint32_t>> UsersWithTrash(const Client& client) {
  std::vector<uint32_t> users;
  Result<Directory> names = client.list(std::string(kTrashPath));
  if (!names && names.error().Is(Code::kNotFound)) return users;
  if (!names) return names.error();
  for (const DirEntry& name : *names) {
    uint32_t uid = 0;
    const char* end = name.name.data() + name.name.size();
    const auto parsed = std::from_chars(name.name.data(), end, uid);
    if (parsed.ec == std::errc() && parsed.ptr == end) users.push_back(uid);
  }
  if (!names->error().ok()) return names->error();
  std::sort(users.begin(), users.end());
  return users;
}

void RemoveEmptyPlace(const Client& client, const TrashedItem& item) {
  // From below, as long as they are empty: what is left the namenode takes away when its time has come.
  std::string directory = item.path;
  while (directory.size() > item.directory.size()) {
    directory.resize(directory.rfind('/'));
    if (!client.rmdir(directory)) return;
  }
}

bool RemovedAt(const TrashedItem& item, std::string_view typed) {
  if (item.entry.rfind(typed, 0) == 0) return true;
  const std::string digits = Digits(typed);
  constexpr size_t kDay = 8;
  return digits.size() >= kDay && Digits(item.entry).rfind(digits, 0) == 0;
}

void EmptyTrash(Verb& verb, const Client& client, const std::vector<uint32_t>& users,
                int64_t older_than_ns, bool verbose) {
  const int64_t until_ns = SystemClock().WallNs() - older_than_ns;
  for (const uint32_t uid : users) {
    Result<Directory> entries = client.list(TrashOf(uid));
    if (!entries) {
      if (!entries.error().Is(Code::kNotFound)) {
        verb.Failed("empty", TrashOf(uid), entries.error());
      }
      continue;
    }
    for (const DirEntry& entry : *entries) {
      TrashEntry parsed;
      if (!ParseTrashEntryName(entry.name, &parsed) || parsed.removed_ns > until_ns) continue;
      const std::string path = JoinPath(TrashOf(uid), entry.name);
      const Result<Usage> removed = client.remove_all(path);
      if (!removed && !removed.error().Is(Code::kNotFound)) {
        verb.Failed("remove", path, removed.error());
        continue;
      }
      verb.Succeeded();
      if (verbose && removed && verb.json()) {
        nlohmann::json out = {{"schema", "dfs.trash.empty/1"}, {"bytes", removed->bytes}};
        SetName(&out, "path", path);
        PrintJson(out);
      } else if (verbose && removed) {
        std::printf("removed %s (%s)\n", path.c_str(), HumanSize(removed->bytes).c_str());
      }
    }
    if (!entries->error().ok()) verb.Failed("empty", TrashOf(uid), entries->error());
  }
}

}  // namespace dfs::cli
