#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

int RunDf(const Arguments& arguments) {
  Verb verb("df", "Space of the cluster's datanodes. A file takes its size times its replicas.");
  bool human = false;
  verb.args().Flag("-h,--human-readable", &human, "Sizes such as 1.5G");
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  const Result<FileSystemStatus> s = client->stat_fs();
  if (!s) {
    verb.Failed("measure", "the cluster", s.error());
    return verb.ExitCode();
  }
  const uint64_t used = s->capacity_bytes - std::min(s->available_bytes, s->capacity_bytes);
  if (verb.json()) {
    PrintJson({{"schema", "dfs.df/1"},
               {"cluster_id", s->cluster_id},
               {"capacity_bytes", s->capacity_bytes},
               {"used_bytes", used},
               {"available_bytes", s->available_bytes},
               {"files", s->usage.files},
               {"directories", s->usage.directories},
               {"file_bytes", s->usage.bytes},
               {"default_replication", s->default_replication},
               {"default_block_size", s->default_block_size}});
    return verb.ExitCode();
  }
  const auto size = [&](uint64_t bytes) {
    return human ? ShortSize(bytes) : std::to_string(bytes);
  };
  const uint64_t percent =
      s->capacity_bytes == 0 ? 0 : (used * 100 + s->capacity_bytes - 1) / s->capacity_bytes;
  Table table({"Cluster", ">Size", ">Used", ">Avail", ">Use%", ">Files", ">File bytes"});
  table.Row({s->cluster_id.substr(0, 8), size(s->capacity_bytes), size(used),
             size(s->available_bytes), std::to_string(percent) + "%",
             std::to_string(s->usage.files), size(s->usage.bytes)});
  std::fputs(table.ToString().c_str(), stdout);
  return verb.ExitCode();
}

}  // namespace dfs::cli
