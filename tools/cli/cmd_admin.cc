// dfs admin: what superusers do with the cluster as a whole.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "common/base/clock.h"
#include "tools/cli/commands.h"
#include "tools/cli/export_format.h"
#include "tools/cli/importer.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

// Standard output, or a file that appears under its name when it is whole.
class Output {
 public:
  Status Open(const std::string& path, bool replace) {
    path_ = path;
    if (path_ == "-") return Status();
    if (!replace && access(path_.c_str(), F_OK) == 0) {
      return Status(Code::kAlreadyExists, "it exists (-f replaces it)");
    }
    // Names and small files of everybody are in it.
    const int fd = open(PartPath().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    file_ = fd < 0 ? nullptr : fdopen(fd, "w");
    return file_ == nullptr ? Status::FromSystem(errno, PartPath()) : Status();
  }
  Status WriteLine(const nlohmann::json& line) {
    const std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    std::FILE* to = file_ == nullptr ? stdout : file_;
    const bool written = std::fwrite(text.data(), 1, text.size(), to) == text.size() &&
                         std::fputc('\n', to) != EOF;
    return written ? Status() : Status::FromSystem(errno, "write");
  }
  Status Finish() {
    if (file_ == nullptr) return Status();
    bool ok = std::fflush(file_) == 0 && fsync(fileno(file_)) == 0;
    ok = std::fclose(std::exchange(file_, nullptr)) == 0 && ok;
    ok = ok && std::rename(PartPath().c_str(), path_.c_str()) == 0;
    return ok ? Status() : Status::FromSystem(errno, path_);
  }
  ~Output() {
    if (file_ == nullptr) return;
    std::fclose(file_);
    unlink(PartPath().c_str());
  }

 private:
  std::string PartPath() const { return path_ + ".part"; }
  std::string path_;
  std::FILE* file_ = nullptr;
};

int Export(const Arguments& arguments) {
  Verb verb("admin export",
            "Write the whole namespace, as it is at one moment, as lines of JSON: names, "
            "attributes, extended attributes, links, and the content of files that are kept in "
            "the namenodes. The content of larger files is in blocks, and not in it. For "
            "superusers. The cluster goes on serving.",
            "  dfs admin export names.jsonl\n  dfs admin export - | zstd > names.jsonl.zst");
  std::string path = "-";
  bool force = false;
  verb.args().Flag("-f,--force", &force, "Replace the file");
  verb.args().Positional("FILE", &path, "Where to; - is standard output", false);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  CatchInterrupts();
  Output output;
  if (const Status opened = output.Open(path, force); !opened) {
    verb.Failed("write to", path, opened);
    return verb.ExitCode();
  }
  uint64_t entries = 0;
  Status exported = client->export_namespace(
      [&](const ExportInfo& info) {
        return output.WriteLine(ExportHeaderAsJson(info, SystemClock().WallNs()));
      },
      [&](const ExportedEntry& entry) {
        if (Interrupted()) return Status(Code::kCancelled, "interrupted");
        ++entries;
        return output.WriteLine(ExportedAsJson(entry));
      });
  if (exported.ok()) exported = output.WriteLine(ExportEndAsJson(entries));
  if (exported.ok()) exported = output.Finish();
  if (!exported) verb.Failed("export", "the namespace", exported);
  return verb.ExitCode();
}

int Import(const Arguments& arguments) {
  Verb verb("admin import",
            "Make the names of an export in an empty cluster, with their attributes and the "
            "content that is in the export. Files whose content was in blocks: see the options.",
            "  dfs admin import names.jsonl\n"
            "  dfs put -rp /backup/. / && dfs admin import --existing names.jsonl");
  ImportOptions o;
  std::string path;
  verb.args().Flag("--names-only", &o.names_only,
                   "Make files whose content is not in the export, empty; their attribute "
                   "user.dfs.import.size says how large they were");
  verb.args().Flag("--existing", &o.existing,
                   "Into a cluster that has files: what exists gets the attributes and keeps its "
                   "content, what does not is made");
  verb.args().Flag("-v,--verbose", &o.verbose, "Say what was not made");
  verb.args().Positional("FILE", &path, "The export");
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  CatchInterrupts();
  RunImport(verb, *client, path, o);
  return verb.ExitCode();
}

}  // namespace

int RunAdmin(const Arguments& arguments) {
  const std::string what = arguments.empty() ? "" : arguments[0];
  const Arguments rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (what == "export") return Export(rest);
  if (what == "import") return Import(rest);
  const bool help = what == "--help" || what == "-h";
  fmt::print(help ? stdout : stderr,
             "Usage: dfs admin COMMAND ...\n\n"
             "  export     write the whole namespace as lines of JSON\n"
             "  import     make the names of an export\n\n"
             "dfs admin COMMAND --help says more.\n");
  return help ? kExitOk : kExitUsage;
}

}  // namespace dfs::cli
