// dfs getfattr and setfattr, with the options and the output of the tools of these names.
#include <fmt/format.h>

#include <cctype>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/json_out.h"
#include "tools/cli/tree.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

std::string Hex(std::string_view bytes) {
  std::string out = "0x";
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

bool IsPrintable(std::string_view bytes) {
  if (!IsValidUtf8(bytes)) return false;
  for (const char c : bytes) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  }
  return true;
}

std::string Quoted(std::string_view bytes) {
  std::string out = "\"";
  for (const char c : bytes) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

// How a value is shown: text when it is, otherwise base64; or as asked for.
std::string Encoded(std::string_view value, const std::string& encoding) {
  if (encoding == "hex") return Hex(value);
  if (encoding == "base64" || (encoding != "text" && !IsPrintable(value))) {
    return "0s" + Base64(value);
  }
  return Quoted(value);
}

bool FromHex(std::string_view digits, std::string* out) {
  if (digits.size() % 2 != 0) return false;
  for (size_t i = 0; i < digits.size(); i += 2) {
    const auto digit = [&](size_t at) {
      return kHexDigits.find(static_cast<char>(std::tolower(digits[at])));
    };
    if (digit(i) == std::string_view::npos || digit(i + 1) == std::string_view::npos) return false;
    *out += static_cast<char>(digit(i) << 4 | digit(i + 1));
  }
  return true;
}

bool FromBase64(std::string_view text, std::string* out) {
  static constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return false;
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    const size_t digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) return false;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    have += 6;
    if (have < 8) continue;
    have -= 8;
    *out += static_cast<char>(bits >> have & 0xff);
  }
  return true;
}

// "0x...", "0s..." or plain text, in double quotes or without.
bool Decode(const std::string& typed, std::string* value) {
  const std::string prefix = typed.substr(0, 2);
  if (prefix == "0x" || prefix == "0X") return FromHex(std::string_view(typed).substr(2), value);
  if (prefix == "0s" || prefix == "0S") return FromBase64(std::string_view(typed).substr(2), value);
  if (typed.size() < 2 || typed.front() != '"' || typed.back() != '"') {
    *value = typed;
    return true;
  }
  for (size_t i = 1; i + 1 < typed.size(); ++i) {
    if (typed[i] == '\\' && i + 2 < typed.size()) ++i;
    *value += typed[i];
  }
  return true;
}

struct GetOptions {
  bool dump = false;
  bool recursive = false;
  bool only_values = false;
  std::string name;
  std::string encoding;
};

void Show(Verb& verb, const GetOptions& o, const std::string& path,
          const std::vector<std::pair<std::string, std::optional<std::string>>>& found) {
  if (found.empty()) return;
  if (verb.json()) {
    nlohmann::json attributes = nlohmann::json::array();
    for (const auto& [name, value] : found) {
      nlohmann::json one;
      SetName(&one, "name", name);
      if (value) SetName(&one, "value", *value);
      attributes.push_back(std::move(one));
    }
    nlohmann::json j = {{"schema", "dfs.getfattr/1"}, {"attributes", attributes}};
    SetName(&j, "path", path);
    PrintJson(j);
    return;
  }
  if (!o.only_values) fmt::print("# file: {}\n", ShownName(path));
  for (const auto& [name, value] : found) {
    if (o.only_values) {
      std::fwrite(value->data(), 1, value->size(), stdout);
    } else if (value) {
      fmt::print("{}={}\n", ShownName(name), Encoded(*value, o.encoding));
    } else {
      fmt::print("{}\n", ShownName(name));
    }
  }
  if (!o.only_values) fmt::print("\n");
}

Status GetFrom(Verb& verb, const Client& client, const GetOptions& o, const std::string& path) {
  std::vector<std::pair<std::string, std::optional<std::string>>> found;
  if (!o.name.empty()) {
    DFS_ASSIGN_OR_RETURN(std::string value, client.get_xattr(path, o.name));
    found.emplace_back(o.name, std::move(value));
  } else {
    DFS_ASSIGN_OR_RETURN(const std::vector<std::string> names, client.list_xattrs(path));
    for (const std::string& name : names) {
      std::optional<std::string> value;
      if (o.dump) {
        Result<std::string> got = client.get_xattr(path, name);
        if (!got && got.error().Is(Code::kNoAttribute)) continue;  // removed just now
        if (!got) return got.error();
        value = std::move(*got);
      }
      found.emplace_back(name, std::move(value));
    }
  }
  Show(verb, o, path, found);
  return Status::Ok();
}

}  // namespace

int RunGetfattr(const Arguments& arguments) {
  Verb verb("getfattr", "Extended attributes: their names, with -d their values, too.",
            "  dfs getfattr -d /a\n  dfs getfattr -n user.origin --only-values /a");
  GetOptions o;
  std::vector<std::string> paths;
  Args& args = verb.args();
  args.Flag("-d,--dump", &o.dump, "Values, too");
  args.Option("-n,--name", &o.name, "Only this attribute, with its value");
  args.Option("-e,--encoding", &o.encoding, "text, hex or base64 (text where it is printable)");
  args.Flag("--only-values", &o.only_values, "The bytes of the value alone");
  args.Flag("-R,--recursive", &o.recursive, "All that is in a directory, too");
  verb.TakesGlobs();
  args.Positionals("PATH", &paths, "Files and directories", 1);
  if (const auto code = args.Parse(arguments)) return *code;
  if (!o.encoding.empty() && o.encoding != "text" && o.encoding != "hex" &&
      o.encoding != "base64") {
    return args.UsageError("'" + o.encoding + "' is not an encoding: text, hex, base64");
  }
  if (o.only_values) o.dump = true;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  for (const std::string& typed : ExpandGlobs(verb, *client, paths)) {
    WalkTree(verb, *client, typed, o.recursive, true, "read the attributes of",
             [&](const std::string& path, const FileStatus&) {
               const Status done = GetFrom(verb, *client, o, path);
               if (done.ok()) {
                 verb.Succeeded();
               } else {
                 verb.Failed("read the attributes of", path, done);
               }
             });
  }
  return verb.ExitCode();
}

int RunSetfattr(const Arguments& arguments) {
  Verb verb("setfattr", "Set or remove an extended attribute.",
            "  dfs setfattr -n user.origin -v lab3 /a\n  dfs setfattr -x user.origin /a");
  std::string name;
  std::string typed_value;
  std::string removed;
  std::vector<std::string> paths;
  Args& args = verb.args();
  args.Option("-n,--name", &name, "The attribute to set");
  args.Option("-v,--value", &typed_value, "Its value: text, 0x and hex digits, 0s and base64");
  args.Option("-x,--remove", &removed, "The attribute to remove");
  verb.TakesGlobs();
  args.Positionals("PATH", &paths, "Files and directories", 1);
  if (const auto code = args.Parse(arguments)) return *code;
  if (name.empty() == removed.empty()) return args.UsageError("one of -n NAME and -x NAME");
  std::string value;
  if (!Decode(typed_value, &value)) {
    return args.UsageError("'" + typed_value + "' is neither hex after 0x nor base64 after 0s");
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  for (const std::string& typed : ExpandGlobs(verb, *client, paths)) {
    const std::string path = ClusterPath(typed);
    const Status done = removed.empty() ? client->set_xattr(path, name, value)
                                        : client->remove_xattr(path, removed);
    if (done.ok()) {
      verb.Succeeded();
    } else {
      verb.Failed(removed.empty() ? "set an attribute of" : "remove an attribute of", typed, done);
    }
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
