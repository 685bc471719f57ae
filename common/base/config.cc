#include "common/base/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <set>

#include "common/base/check.h"
#include "common/base/env.h"

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace dfs {

namespace {

Status Invalid(std::string message) {
  return Status(Code::kInvalidArgument, std::move(message));
}

const char* TypeName(ConfigType type) {
  switch (type) {
    case ConfigType::kString:
      return "text";
    case ConfigType::kInt:
      return "a whole number";
    case ConfigType::kBool:
      return "true or false";
    case ConfigType::kStringList:
      return "a list of texts";
    case ConfigType::kBytes:
      return "a size in bytes, such as 67108864 or \"64MiB\"";
    case ConfigType::kMillis:
      return "a time in milliseconds, such as 500 or \"3s\"";
  }
  return "";
}

std::string Quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string ListText(const std::vector<std::string>& list) {
  std::string out = "[";
  for (const std::string& element : list) {
    if (out.size() > 1) out += ", ";
    out += Quote(element);
  }
  return out + "]";
}

// "12abc" -> 12 and "abc".
bool SplitNumber(std::string_view text, int64_t* number, std::string* unit) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  if (error != std::errc()) return false;
  std::string_view rest(end, static_cast<size_t>(text.data() + text.size() - end));
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  unit->clear();
  for (const char c : rest) *unit += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return true;
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::vector<std::string> SplitSpaces(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end > 0) out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace

std::vector<ConfigKey> DaemonKeys() {
  return {
      {.key = "cluster.id", .help = "The cluster's UUID."},
      {.key = "cluster.key_file",
       .help = "File with the cluster's key (64 hexadecimal digits); empty: none."},
      {.key = "cluster.insecure",
       .type = ConfigType::kBool,
       .default_text = "false",
       .help = "Accept and use TCP connections that prove no key: anybody is whom he says he is."},
      {.key = "log.level",
       .default_text = "info",
       .help = "Least severe messages that are written.",
       .choices = {"debug", "info", "warning", "error"}},
  };
}

Result<uint64_t> ParseBytes(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, uint64_t>, 14> kUnits = {{
      {"", 1},
      {"b", 1},
      {"k", uint64_t{1} << 10},
      {"kib", uint64_t{1} << 10},
      {"kb", 1'000},
      {"m", uint64_t{1} << 20},
      {"mib", uint64_t{1} << 20},
      {"mb", 1'000'000},
      {"g", uint64_t{1} << 30},
      {"gib", uint64_t{1} << 30},
      {"gb", 1'000'000'000},
      {"t", uint64_t{1} << 40},
      {"tib", uint64_t{1} << 40},
      {"tb", 1'000'000'000'000},
  }};
  int64_t number = 0;
  std::string unit;
  if (SplitNumber(text, &number, &unit) && number >= 0) {
    for (const auto& [name, factor] : kUnits) {
      if (name != unit) continue;
      if (static_cast<uint64_t>(number) > static_cast<uint64_t>(INT64_MAX) / factor) break;
      return static_cast<uint64_t>(number) * factor;
    }
  }
  return Invalid(fmt::format("{} is not {}", Quote(text), TypeName(ConfigType::kBytes)));
}

Result<int64_t> ParseMillis(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, int64_t>, 6> kUnits = {
      {{"", 1}, {"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"min", 60'000}, {"h", 3'600'000}}};
  int64_t number = 0;
  std::string unit;
  if (SplitNumber(text, &number, &unit) && number >= 0) {
    for (const auto& [name, factor] : kUnits) {
      if (name != unit) continue;
      if (number > INT64_MAX / 1'000'000 / factor) break;  // nanoseconds must fit, too
      return number * factor;
    }
  }
  return Invalid(fmt::format("{} is not {}", Quote(text), TypeName(ConfigType::kMillis)));
}

std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 4) + 1;
  for (const std::string& candidate : candidates) {
    size_t distance = EditDistance(word, candidate);
    // The key without its section, or with the wrong one, is meant as well.
    const size_t dot = candidate.find('.');
    const size_t word_dot = word.find('.');
    if (dot != std::string::npos) {
      const std::string_view tail =
          word_dot == std::string_view::npos ? word : word.substr(word_dot + 1);
      if (tail == std::string_view(candidate).substr(dot + 1))
        distance = std::min<size_t>(distance, 2);
    }
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

Config::Config(std::vector<ConfigKey> table) {
  for (ConfigKey& key : table) {
    DFS_CHECK(key.key.find('.') != std::string::npos, "{} has no section", key.key);
    DFS_CHECK(index_.emplace(key.key, entries_.size()).second, "{} is there twice", key.key);
    Entry entry{std::move(key), {}};
    if (entry.key.type == ConfigType::kStringList) {
      entry.value.list = SplitSpaces(entry.key.default_text);
    } else {
      // Defaults may lie outside the range: then the key must be said, and 0 or "" means it was
      // not.
      const bool unset = entry.key.default_text.empty() || entry.key.default_text == "0";
      if (Status s = SetText(&entry, entry.key.default_text, ""); !s) {
        DFS_CHECK(unset, "default of {}: {}", entry.key.key, s.message());
        entry.value.text = entry.key.default_text;
      }
    }
    entry.value.origin.clear();
    entries_.push_back(std::move(entry));
  }
}

const Config::Entry* Config::Find(std::string_view key) const {
  auto it = index_.find(key);
  return it == index_.end() ? nullptr : &entries_[it->second];
}

const Config::Entry& Config::Get(std::string_view key, ConfigType type) const {
  const Entry* entry = Find(key);
  DFS_CHECK(entry != nullptr, "no configuration key {}", key);
  DFS_CHECK(entry->key.type == type, "configuration key {} is {}", key, TypeName(entry->key.type));
  return *entry;
}

const std::string& Config::GetString(std::string_view key) const {
  return Get(key, ConfigType::kString).value.text;
}
int64_t Config::GetInt(std::string_view key) const {
  return Get(key, ConfigType::kInt).value.number;
}
bool Config::GetBool(std::string_view key) const {
  return Get(key, ConfigType::kBool).value.number != 0;
}
const std::vector<std::string>& Config::GetList(std::string_view key) const {
  return Get(key, ConfigType::kStringList).value.list;
}
uint64_t Config::GetBytes(std::string_view key) const {
  return static_cast<uint64_t>(Get(key, ConfigType::kBytes).value.number);
}
int64_t Config::GetMillis(std::string_view key) const {
  return Get(key, ConfigType::kMillis).value.number;
}

bool Config::IsSet(std::string_view key) const {
  const Entry* entry = Find(key);
  DFS_CHECK(entry != nullptr, "no configuration key {}", key);
  return !entry->value.origin.empty();
}

Status Config::UnknownKey(std::string_view key, std::string_view where) const {
  std::vector<std::string> keys;
  for (const Entry& entry : entries_) keys.push_back(entry.key.key);
  const std::string near = DidYouMean(key, keys);
  return Invalid(fmt::format("{}: unknown key {}{}", where, Quote(key),
                             near.empty() ? "" : " (did you mean " + Quote(near) + "?)"));
}

Status Config::CheckRange(const ConfigKey& key, int64_t number, const std::string& where) const {
  if (number >= key.min && number <= key.max) return Status::Ok();
  if (key.max == INT64_MAX) {
    return Invalid(
        fmt::format("{}: {} must be at least {}, not {}", where, key.key, key.min, number));
  }
  return Invalid(fmt::format("{}: {} must be between {} and {}, not {}", where, key.key, key.min,
                             key.max, number));
}

Status Config::SetText(Entry* entry, const std::string& text, const std::string& origin) {
  const ConfigKey& key = entry->key;
  Value value;
  value.origin = origin;
  value.text = text;
  const auto wrong = [&] {
    return Invalid(
        fmt::format("{}: {} must be {}, not {}", origin, key.key, TypeName(key.type), Quote(text)));
  };
  switch (key.type) {
    case ConfigType::kString:
      if (!key.choices.empty() &&
          std::find(key.choices.begin(), key.choices.end(), text) == key.choices.end()) {
        return Invalid(fmt::format("{}: {} must be one of {}, not {}", origin, key.key,
                                   fmt::join(key.choices, ", "), Quote(text)));
      }
      break;
    case ConfigType::kInt: {
      std::string unit;
      if (!SplitNumber(text, &value.number, &unit) || !unit.empty()) return wrong();
      break;
    }
    case ConfigType::kBool:
      if (text != "true" && text != "false") return wrong();
      value.number = text == "true" ? 1 : 0;
      break;
    case ConfigType::kStringList:
      // The first flag replaces what the file said, the next ones add.
      if (entry->value.origin == origin) value.list = entry->value.list;
      value.list.push_back(text);
      break;
    case ConfigType::kBytes: {
      auto bytes = ParseBytes(text);
      if (!bytes) return wrong();
      value.number = static_cast<int64_t>(*bytes);
      break;
    }
    case ConfigType::kMillis: {
      auto millis = ParseMillis(text);
      if (!millis) return wrong();
      value.number = *millis;
      break;
    }
  }
  if (key.type == ConfigType::kInt || key.type == ConfigType::kBytes ||
      key.type == ConfigType::kMillis) {
    DFS_RETURN_IF_ERROR(CheckRange(key, value.number, origin));
  }
  entry->value = std::move(value);
  return Status::Ok();
}

Status Config::Set(const std::string& key, const std::string& value) {
  auto it = index_.find(key);
  if (it == index_.end()) return UnknownKey(key, "flag");
  return SetText(&entries_[it->second], value, "flag");
}

Status Config::ApplyTomlValue(const void* opaque, const std::string& key,
                              const std::string& where) {
  const toml::node& node = *static_cast<const toml::node*>(opaque);
  auto it = index_.find(key);
  if (it == index_.end()) return UnknownKey(key, where);
  Entry& entry = entries_[it->second];
  const ConfigType type = entry.key.type;
  const auto wrong = [&] {
    return Invalid(fmt::format("{}: {} must be {}", where, key, TypeName(type)));
  };
  if (type == ConfigType::kStringList) {
    const toml::array* array = node.as_array();
    if (array == nullptr) return wrong();
    Value value;
    value.origin = where;
    for (const toml::node& element : *array) {
      const auto* text = element.as_string();
      if (text == nullptr) return wrong();
      value.list.push_back(text->get());
    }
    entry.value = std::move(value);
    return Status::Ok();
  }
  if (const auto* text = node.as_string()) {
    if (type == ConfigType::kInt || type == ConfigType::kBool) return wrong();
    return SetText(&entry, text->get(), where);
  }
  if (const auto* number = node.as_integer()) {
    if (type == ConfigType::kString || type == ConfigType::kBool) return wrong();
    return SetText(&entry, std::to_string(number->get()), where);
  }
  if (const auto* flag = node.as_boolean()) {
    if (type != ConfigType::kBool) return wrong();
    return SetText(&entry, flag->get() ? "true" : "false", where);
  }
  return wrong();
}

Status Config::ApplyToml(const void* opaque, const std::string& prefix, const std::string& name) {
  const toml::table& table = *static_cast<const toml::table*>(opaque);
  for (const auto& [toml_key, node] : table) {
    const std::string key = prefix + std::string(toml_key.str());
    const std::string where = fmt::format("{}:{}", name, toml_key.source().begin.line);
    if (const toml::table* section = node.as_table(); section != nullptr && !index_.contains(key)) {
      const bool known = std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
        return entry.key.key.starts_with(key + ".");
      });
      if (!known && section->empty()) return UnknownKey(key, where);
      DFS_RETURN_IF_ERROR(ApplyToml(section, key + ".", name));
      continue;
    }
    DFS_RETURN_IF_ERROR(ApplyTomlValue(&node, key, where));
  }
  return Status::Ok();
}

Status Config::LoadText(std::string_view text, const std::string& name) {
  const toml::parse_result parsed = toml::parse(text, name);
  if (!parsed) {
    return Invalid(fmt::format("{}:{}: {}", name, parsed.error().source().begin.line,
                               parsed.error().description()));
  }
  return ApplyToml(&parsed.table(), "", name);
}

Status Config::LoadFile(const std::string& path) {
  auto text = PosixEnv().ReadFile(path, 1u << 20);
  if (!text) {
    return Invalid(fmt::format("cannot read the configuration: {}", text.error().message()));
  }
  return LoadText(*text, path);
}

Result<Config::CommandLine> Config::LoadCommandLine(const std::vector<std::string>& arguments,
                                                    const std::vector<std::string>& switches) {
  CommandLine line;
  std::vector<std::pair<std::string, std::string>> flags;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "-h" || argument == "--help") {
      line.help = true;
      return line;
    }
    if (!argument.starts_with("--") || argument.size() == 2) {
      return Invalid(fmt::format("unexpected argument {}", Quote(argument)));
    }
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    const bool has_value = equals != std::string::npos;
    if (name == "sample-config" && !has_value) {
      line.sample = true;
      return line;
    }
    if (std::find(switches.begin(), switches.end(), name) != switches.end() && !has_value) {
      line.switches.push_back(name);
      continue;
    }
    const Entry* entry = Find(name);
    if (entry == nullptr && name != "config") {
      std::vector<std::string> names = {"config", "help", "sample-config"};
      names.insert(names.end(), switches.begin(), switches.end());
      const std::string near = DidYouMean(name, names);
      if (!near.empty()) {
        return Invalid(fmt::format("unknown flag --{} (did you mean --{}?)", name, near));
      }
      return UnknownKey(name, "flag --" + name);
    }
    const bool next = i + 1 < arguments.size();
    std::string value;
    if (has_value) {
      value = argument.substr(equals + 1);
    } else if (entry != nullptr && entry->key.type == ConfigType::kBool) {
      const bool said = next && (arguments[i + 1] == "true" || arguments[i + 1] == "false");
      value = said ? arguments[++i] : "true";
    } else if (next) {
      value = arguments[++i];
    } else {
      return Invalid(fmt::format("flag --{} needs a value", name));
    }
    if (name == "config") {
      line.config_file = value;
    } else {
      flags.emplace_back(name, value);
    }
  }
  if (!line.config_file.empty()) DFS_RETURN_IF_ERROR(LoadFile(line.config_file));
  for (const auto& [name, value] : flags) {
    // An empty value of a list empties it.
    auto& entry = entries_[index_.find(name)->second];
    if (entry.key.type == ConfigType::kStringList && value.empty()) {
      entry.value.list.clear();
      entry.value.origin = "flag --" + name;
      continue;
    }
    DFS_RETURN_IF_ERROR(SetText(&entry, value, "flag --" + name));
  }
  return line;
}

std::string Config::ValueText(const Entry& entry) const {
  switch (entry.key.type) {
    case ConfigType::kString:
      return Quote(entry.value.text);
    case ConfigType::kBool:
      return entry.value.number != 0 ? "true" : "false";
    case ConfigType::kStringList:
      return ListText(entry.value.list);
    case ConfigType::kInt:
    case ConfigType::kBytes:
    case ConfigType::kMillis:
      break;
  }
  return std::to_string(entry.value.number);
}

namespace {

// Calls f(section, key) for each entry, sections together and in the order they first appear.
template <class Entries, class F>
void ForEachBySection(const Entries& entries, F f) {
  std::vector<std::string> sections;
  const auto section_of = [](const auto& e) { return e.key.key.substr(0, e.key.key.find('.')); };
  for (const auto& entry : entries) {
    if (std::find(sections.begin(), sections.end(), section_of(entry)) == sections.end()) {
      sections.push_back(section_of(entry));
    }
  }
  for (const std::string& section : sections) {
    bool first = true;
    for (const auto& entry : entries) {
      if (section_of(entry) != section) continue;
      f(first ? section : "", entry.key.key.substr(section.size() + 1), entry);
      first = false;
    }
  }
}

}  // namespace

std::string Config::Effective() const {
  std::string out;
  ForEachBySection(entries_,
                   [&](const std::string& section, const std::string& key, const Entry& e) {
                     if (!section.empty())
                       out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", section);
                     out += fmt::format("{} = {}", key, ValueText(e));
                     if (!e.value.origin.empty()) out += "  # " + e.value.origin;
                     out += '\n';
                   });
  return out;
}

std::string Config::SampleFile() const {
  std::vector<ConfigKey> table;
  for (const Entry& entry : entries_) table.push_back(entry.key);
  const Config defaults(std::move(table));
  std::string out;
  ForEachBySection(defaults.entries_,
                   [&](const std::string& section, const std::string& key, const Entry& e) {
                     if (!section.empty())
                       out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", section);
                     out += fmt::format("# {}\n#{} = {}\n", e.key.help, key, defaults.ValueText(e));
                   });
  return out;
}

std::string Config::HelpText() const {
  std::string out =
      "  --config FILE\n      Read this TOML file first; flags win over it.\n"
      "  --sample-config\n      Print a commented configuration file.\n";
  for (const Entry& entry : entries_) {
    std::string kind = TypeName(entry.key.type);
    if (!entry.key.choices.empty()) kind = fmt::format("{}", fmt::join(entry.key.choices, " or "));
    out += fmt::format("  --{}=VALUE\n      {} ({}; default: {})\n", entry.key.key, entry.key.help,
                       kind, entry.key.default_text.empty() ? "none" : entry.key.default_text);
  }
  return out;
}

}  // namespace dfs
