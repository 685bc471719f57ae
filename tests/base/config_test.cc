#include "common/base/config.h"

#include <gtest/gtest.h>

namespace dfs {
namespace {

Config MakeConfig() {
  return Config({
      {.key = "node.id", .type = ConfigType::kInt, .default_text = "0", .help = "Id.", .min = 1},
      {.key = "cluster.insecure",
       .type = ConfigType::kBool,
       .default_text = "false",
       .help = "No key."},
      {.key = "raft.heartbeat_ms",
       .type = ConfigType::kMillis,
       .default_text = "100",
       .help = "Beat.",
       .min = 1,
       .max = 10'000},
      {.key = "raft.read_mode",
       .type = ConfigType::kString,
       .default_text = "lease",
       .help = "Reads.",
       .choices = {"lease", "readindex"}},
      {.key = "raft.members",
       .type = ConfigType::kStringList,
       .default_text = "",
       .help = "Members."},
      {.key = "namespace.default_block_size_bytes",
       .type = ConfigType::kBytes,
       .default_text = "128MiB",
       .help = "Block size."},
      {.key = "storage.directory",
       .type = ConfigType::kString,
       .default_text = "",
       .help = "Where."},
  });
}

TEST(Config, Defaults) {
  const Config config = MakeConfig();
  EXPECT_EQ(config.GetInt("node.id"), 0);
  EXPECT_FALSE(config.GetBool("cluster.insecure"));
  EXPECT_EQ(config.GetMillis("raft.heartbeat_ms"), 100);
  EXPECT_EQ(config.GetNanos("raft.heartbeat_ms"), 100'000'000);
  EXPECT_EQ(config.GetString("raft.read_mode"), "lease");
  EXPECT_TRUE(config.GetList("raft.members").empty());
  EXPECT_EQ(config.GetBytes("namespace.default_block_size_bytes"), 128u << 20);
  EXPECT_FALSE(config.IsSet("node.id"));
}

TEST(Config, FileThenFlags) {
  Config config = MakeConfig();
  ASSERT_TRUE(config
                  .LoadText("[node]\nid = 3\n[raft]\nheartbeat_ms = \"2s\"\n"
                            "members = [\"1=a:1,b:2\", \"2=c:3,d:4\"]\n"
                            "[namespace]\ndefault_block_size_bytes = 1048576\n",
                            "f.toml")
                  .ok());
  EXPECT_EQ(config.GetInt("node.id"), 3);
  EXPECT_EQ(config.GetMillis("raft.heartbeat_ms"), 2000);
  EXPECT_EQ(config.GetList("raft.members"), (std::vector<std::string>{"1=a:1,b:2", "2=c:3,d:4"}));
  EXPECT_EQ(config.GetBytes("namespace.default_block_size_bytes"), 1u << 20);
  auto line =
      config.LoadCommandLine({"--node.id=4", "--cluster.insecure", "--raft.members", "9=x:1,y:2",
                              "--raft.members=8=x:1,y:2", "--format", "--storage.directory", "/d"},
                             {"format"});
  ASSERT_TRUE(line.ok()) << line.error().ToString();
  EXPECT_EQ(line->switches, std::vector<std::string>{"format"});
  EXPECT_EQ(config.GetInt("node.id"), 4);
  EXPECT_TRUE(config.GetBool("cluster.insecure"));
  EXPECT_EQ(config.GetList("raft.members").size(), 2u) << "flags replace the file's list, then add";
  EXPECT_EQ(config.GetString("storage.directory"), "/d");
  EXPECT_TRUE(config.IsSet("node.id"));
  EXPECT_NE(config.Effective().find("id = 4  # flag --node.id"), std::string::npos)
      << config.Effective();
}

void ExpectError(const char* toml, const char* message) {
  Config config = MakeConfig();
  Status status = config.LoadText(toml, "f.toml");
  EXPECT_TRUE(status.Is(Code::kInvalidArgument)) << toml;
  EXPECT_NE(status.message().find(message), std::string::npos) << status.message();
}

TEST(Config, ErrorsNameFileLineAndKey) {
  ExpectError("[raft]\n\nhartbeat_ms = 5\n",
              "f.toml:3: unknown key \"raft.hartbeat_ms\" (did you mean \"raft.heartbeat_ms\"?)");
  ExpectError("[raft]\nheartbeat_ms = true\n", "f.toml:2: raft.heartbeat_ms must be a time");
  ExpectError("[raft]\nheartbeat_ms = 0\n", "must be between 1 and 10000, not 0");
  ExpectError("[raft]\nread_mode = \"stale\"\n", "must be one of lease, readindex");
  ExpectError("[raft]\nmembers = \"1=a\"\n", "must be a list");
  ExpectError("[raft]\nmembers = [1]\n", "must be a list");
  ExpectError("[node]\nid = \"one\"\n", "f.toml:2: node.id must be a whole number");
  ExpectError("[node]\nid = 1.5\n", "must be a whole number");
  ExpectError("[node\nid = 1\n", "f.toml:1:");
  ExpectError("[nonsense]\nx = 1\n", "unknown key \"nonsense.x\"");
  ExpectError("[nonsense]\n", "unknown key \"nonsense\"");
  ExpectError("id = 1\n", "unknown key \"id\" (did you mean \"node.id\"?)");
}

TEST(Config, FlagErrors) {
  const auto error = [](std::vector<std::string> arguments) {
    Config config = MakeConfig();
    auto line = config.LoadCommandLine(arguments, {"format"});
    return line ? std::string() : line.error().message();
  };
  EXPECT_EQ(error({"--node.ids=1"}),
            "flag --node.ids: unknown key \"node.ids\" (did you mean \"node.id\"?)");
  EXPECT_EQ(error({"--fromat"}), "unknown flag --fromat (did you mean --format?)");
  EXPECT_EQ(error({"--node.id"}), "flag --node.id needs a value");
  EXPECT_EQ(error({"extra"}), "unexpected argument \"extra\"");
  EXPECT_NE(error({"--node.id=x"}).find("flag --node.id: node.id must be a whole number"),
            std::string::npos);
  EXPECT_NE(error({"--config=/does/not/exist"}).find("/does/not/exist"), std::string::npos);
  EXPECT_EQ(error({"--cluster.insecure", "false"}), "");
}

TEST(Config, HelpAndSampleComeFromTheTable) {
  Config config = MakeConfig();
  auto line = config.LoadCommandLine({"--help"});
  ASSERT_TRUE(line.ok());
  EXPECT_TRUE(line->help);
  EXPECT_NE(config.HelpText().find(
                "--raft.read_mode=VALUE\n      Reads. (lease or readindex; default: lease)"),
            std::string::npos)
      << config.HelpText();
  // The sample, with its comment signs off, is a valid file of the defaults.
  std::string sample = config.SampleFile();
  std::string live;
  for (size_t i = 0; i < sample.size();) {
    const size_t end = sample.find('\n', i);
    std::string text = sample.substr(i, end - i);
    i = end + 1;
    if (text.starts_with("#") && !text.starts_with("# ")) text = text.substr(1);
    if (text != "id = 0") live += text + "\n";
  }
  Config again = MakeConfig();
  EXPECT_TRUE(again.LoadText(live, "sample").ok()) << live << again.LoadText(live, "s").ToString();
  EXPECT_EQ(again.GetBytes("namespace.default_block_size_bytes"), 128u << 20);
}

TEST(Config, EffectiveIsValidToml) {
  Config config = MakeConfig();
  ASSERT_TRUE(config.Set("node.id", "2").ok());
  ASSERT_TRUE(config.Set("storage.directory", "/a \"b\"\n").ok());
  Config again = MakeConfig();
  Status status = again.LoadText(config.Effective(), "effective");
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(again.GetString("storage.directory"), "/a \"b\"\n");
}

TEST(Config, Units) {
  EXPECT_EQ(*ParseBytes("4k"), 4096u);
  EXPECT_EQ(*ParseBytes("1 GiB"), 1u << 30);
  EXPECT_EQ(*ParseBytes("1GB"), 1'000'000'000u);
  EXPECT_FALSE(ParseBytes("1x").ok());
  EXPECT_FALSE(ParseBytes("-1").ok());
  EXPECT_FALSE(ParseBytes("").ok());
  EXPECT_FALSE(ParseBytes("99999999999999T").ok());
  EXPECT_EQ(*ParseMillis("1h"), 3'600'000);
  EXPECT_EQ(*ParseMillis("250"), 250);
  EXPECT_FALSE(ParseMillis("3 days").ok());
}

}  // namespace
}  // namespace dfs
