// What is in the trash of a user, read from its names (common/base/trash_name.h).
#pragma once

#include <dfs/client.h>

#include <functional>
#include <string>
#include <string_view>

#include "tools/cli/verb.h"

namespace dfs::cli {

struct TrashedItem {
  uint32_t uid = 0;
  std::string entry;      // the name of its place, e.g. "20261130T201700.123456789Z-2"
  std::string directory;  // of its place: /.Trash/UID/ENTRY
  std::string path;       // where it is now
  std::string original;   // where it was
  int64_t removed_ns = 0;
  FileStatus status;      // attributes of what was removed
};

/// "/.Trash/UID".
std::string TrashOf(uint32_t uid);
/// --user: a name or a number. False when there is no such user.
bool ParseUser(std::string_view text, uint32_t* uid);

/// Calls visit for each item of the user's, in no order, in constant memory. No trash is no error.
Status ForEachTrashed(const Client& client, uint32_t uid,
                      const std::function<void(const TrashedItem&)>& visit);
/// Whose trash there is; for root.
Result<std::vector<uint32_t>> UsersWithTrash(const Client& client);
/// Takes the place away from which an item was moved, when nothing else is in it.
void RemoveEmptyPlace(const Client& client, const TrashedItem& item);

/// Whether the item was removed at the time, as typed: the beginning of an entry's name, or of a time in UTC
/// ("2026-11-30T20:17"; punctuation is not looked at).
bool RemovedAt(const TrashedItem& item, std::string_view typed);

/// For good, everything of these users' that was removed at least older_than_ns ago; says what with verbose. Errors
/// are reported to the verb.
void EmptyTrash(Verb& verb, const Client& client, const std::vector<uint32_t>& users,
                int64_t older_than_ns, bool verbose);

}  // namespace dfs::cli
