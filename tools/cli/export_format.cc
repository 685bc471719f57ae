#include "tools/cli/export_format.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "tools/cli/json_out.h"
#include "tools/cli/text.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

using nlohmann::json;

namespace {

Status Bad(const std::string& why) {
  return Status(Code::kInvalidArgument, "no line of an export: " + why);
}

// The other way round of SetName. False when it is not there.
bool GetName(const json& object, const std::string& field, std::string* name) {
  if (const auto it = object.find(field); it != object.end() && it->is_string()) {
    *name = it->get<std::string>();
    return true;
  }
  const auto it = object.find(field + "_b64");
  return it != object.end() && it->is_string() && ParseBase64(it->get<std::string>(), name);
}

template <class T>
bool GetNumber(const json& object, const char* field, T* out) {
  const auto it = object.find(field);
  if (it == object.end() || !it->is_number_integer()) return false;
  *out = it->get<T>();
  return true;
}

FileType TypeOf(std::string_view kind) {
  for (const FileType type :
       {FileType::kRegular, FileType::kDirectory, FileType::kSymlink, FileType::kFifo,
        FileType::kSocket, FileType::kCharDevice, FileType::kBlockDevice}) {
    if (kind == TypeName(type)) return type;
  }
  return FileType::kUnknown;
}

Status ParseAttributes(const json& line, FileStatus* s) {
  const auto mode = line.find("mode");
  if (mode == line.end() || !mode->is_string()) return Bad("no mode");
  const std::string text = mode->get<std::string>();
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), s->mode, 8);
  if (error != std::errc() || end != text.data() + text.size()) return Bad("no mode");
  if (!GetNumber(line, "uid", &s->uid) || !GetNumber(line, "gid", &s->gid) ||
      !GetNumber(line, "size", &s->size) || !GetNumber(line, "atime_ns", &s->atime_ns) ||
      !GetNumber(line, "mtime_ns", &s->mtime_ns)) {
    return Bad("an attribute is missing");
  }
  (void)GetNumber(line, "block_size", &s->block_size);
  (void)GetNumber(line, "replication", &s->replication);
  (void)GetNumber(line, "rdev", &s->rdev);
  return Status();
}

Status ParseXattrs(const json& line, ExportedEntry* entry) {
  const auto xattrs = line.find("xattrs");
  if (xattrs == line.end()) return Status();
  if (!xattrs->is_array()) return Bad("xattrs is no list");
  for (const json& x : *xattrs) {
    std::string name, value;
    const auto encoded = x.find("value_b64");
    if (!GetName(x, "name", &name) || encoded == x.end() || !encoded->is_string() ||
        !ParseBase64(encoded->get<std::string>(), &value)) {
      return Bad("a bad extended attribute");
    }
    entry->xattrs.emplace_back(std::move(name), std::move(value));
  }
  return Status();
}

Result<ImportLine> ParseEntry(const json& line, const std::string& kind) {
  ImportLine out;
  ExportedEntry& e = out.entry;
  if (!GetName(line, "path", &e.path) || e.path.empty() || e.path[0] != '/') return Bad("no path");
  if (kind == "hardlink") {
    if (!GetName(line, "link_to", &e.link_to) || e.link_to.empty()) return Bad("no link_to");
    return out;
  }
  e.status.type = TypeOf(kind);
  if (e.status.type == FileType::kUnknown) return Bad("unknown kind " + kind);
  DFS_RETURN_IF_ERROR(ParseAttributes(line, &e.status));
  DFS_RETURN_IF_ERROR(ParseXattrs(line, &e));
  if (e.status.is_symlink() && !GetName(line, "target", &e.status.symlink_target)) {
    return Bad("a symlink without a target");
  }
  if (!e.status.is_regular()) return out;
  const auto content = line.find("content_b64");
  e.is_inline = content != line.end();
  out.in_blocks = !e.is_inline;
  if (e.is_inline &&
      (!content->is_string() || !ParseBase64(content->get<std::string>(), &e.content))) {
    return Bad("bad content");
  }
  return out;
}

}  // namespace

json ExportHeaderAsJson(const ExportInfo& info, int64_t now_ns) {
  return {{"schema", kExportSchema},         {"kind", "header"},
          {"cluster_id", info.cluster_id},   {"index", info.index},
          {"term", info.term},               {"state_hash", info.state_hash},
          {"exported", IsoTime(now_ns)},     {"files", info.usage.files},
          {"directories", info.usage.directories}, {"bytes", info.usage.bytes}};
}

json ExportedAsJson(const ExportedEntry& entry) {
  const FileStatus& s = entry.status;
  json out = {{"schema", kExportSchema}, {"inode", s.inode}};
  SetName(&out, "path", entry.path);
  if (!entry.link_to.empty()) {
    out["kind"] = "hardlink";
    SetName(&out, "link_to", entry.link_to);
    return out;
  }
  out["kind"] = TypeName(s.type);
  out["mode"] = fmt::format("{:04o}", s.mode);
  out["uid"] = s.uid;
  out["gid"] = s.gid;
  out["size"] = s.size;
  out["atime_ns"] = s.atime_ns;
  out["mtime_ns"] = s.mtime_ns;
  out["ctime_ns"] = s.ctime_ns;
  if (s.is_symlink()) SetName(&out, "target", s.symlink_target);
  if (s.rdev != 0) out["rdev"] = s.rdev;
  if (s.is_regular()) {
    out["links"] = s.nlink;
    out["block_size"] = s.block_size;
    out["replication"] = s.replication;
    if (entry.is_inline) {
      out["content_b64"] = Base64(entry.content);
    } else {
      out["in_blocks"] = true;
    }
  }
  if (!entry.xattrs.empty()) {
    json xattrs = json::array();
    for (const auto& [name, value] : entry.xattrs) {
      json x = {{"value_b64", Base64(value)}};
      SetName(&x, "name", name);
      xattrs.push_back(std::move(x));
    }
    out["xattrs"] = std::move(xattrs);
  }
  return out;
}

json ExportEndAsJson(uint64_t entries) {
  return {{"schema", kExportSchema}, {"kind", "end"}, {"entries", entries}};
}

Result<ImportLine> ParseImportLine(std::string_view text) {
  const json line = json::parse(text, nullptr, false);
  if (!line.is_object()) return Bad("it is no JSON object");
  const auto schema = line.find("schema"), kind = line.find("kind");
  if (schema == line.end() || *schema != kExportSchema) {
    return Bad("its schema is not " + std::string(kExportSchema));
  }
  if (kind == line.end() || !kind->is_string()) return Bad("no kind");
  ImportLine out;
  if (*kind == "header") {
    out.kind = ImportLine::Kind::kHeader;
    return out;
  }
  if (*kind == "end") {
    out.kind = ImportLine::Kind::kEnd;
    if (!GetNumber(line, "entries", &out.entries)) return Bad("no number of entries");
    return out;
  }
  return ParseEntry(line, kind->get<std::string>());
}

}  // namespace dfs::cli
