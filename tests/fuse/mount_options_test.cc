#include "fuse/mount_options.h"

#include <gtest/gtest.h>

namespace dfs::fuse {
namespace {

using Words = std::vector<std::string>;

Result<MountOptions> Parse(Words words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return ParseCommandLine(static_cast<int>(words.size()), argv.data());
}

Result<MountOptions> Option(const std::string& options) {
  return Parse({"/usr/bin/dfs-fuse", "/mnt", "-o", options});
}

TEST(MountOptions, WithoutAnyTheMountIsOfTheWholeClusterThatIsFound) {
  const auto options = Parse({"dfs-fuse", "/mnt"});
  ASSERT_TRUE(options.ok()) << options.error().ToString();
  EXPECT_EQ(options->kernel.mount_point, "/mnt");
  EXPECT_EQ(options->path, "/");
  EXPECT_TRUE(options->client.namenodes.empty());
  EXPECT_EQ(options->client.timeout, std::chrono::seconds(60));
  EXPECT_EQ(options->replication, 0u);
  EXPECT_FALSE(options->kernel.read_only || options->kernel.allow_other || options->foreground);
  EXPECT_FALSE(options->client.insecure);
}

TEST(MountOptions, FlagsOfTheProgram) {
  const auto options = Parse({"dfs-fuse", "-f", "-d", "--namenodes", "a:9700,b:9700", "--key-file",
                              "/k", "--cluster-id", "c", "--insecure", "--path", "/x/y/", "/mnt"});
  ASSERT_TRUE(options.ok()) << options.error().ToString();
  EXPECT_TRUE(options->foreground && options->kernel.debug && options->client.insecure);
  EXPECT_EQ(options->client.namenodes, (Words{"a:9700", "b:9700"}));
  EXPECT_EQ(options->client.key_file, "/k");
  EXPECT_EQ(options->client.cluster_id, "c");
  EXPECT_EQ(options->path, "/x/y");
}

TEST(MountOptions, EveryOptionHasItsEffect) {
  const auto options = Option(
      "ro,allow_other,insecure,timeo=90s,mount-timeout=5,key_file=/k,cluster_id=c,fsname=x,"
      "namenodes=a:1+b:2,subdir=data/deep,replication=2,cache=none,lock=local,nosuid,nodev,noexec,"
      "noatime");
  ASSERT_TRUE(options.ok()) << options.error().ToString();
  EXPECT_TRUE(options->kernel.read_only && options->kernel.allow_other);
  EXPECT_TRUE(options->client.insecure);
  EXPECT_EQ(options->client.timeout, std::chrono::seconds(90));
  EXPECT_EQ(options->connect_timeout_ns, 5 * kSecond);
  EXPECT_EQ(options->client.key_file, "/k");
  EXPECT_EQ(options->client.cluster_id, "c");
  EXPECT_EQ(options->kernel.source, "x");
  EXPECT_EQ(options->client.namenodes, (Words{"a:1", "b:2"}));
  EXPECT_EQ(options->path, "/data/deep");
  EXPECT_EQ(options->replication, 2u);
  EXPECT_EQ(options->kernel.kernel_flags, (Words{"nosuid", "nodev", "noexec", "noatime"}));
}

TEST(MountOptions, AHardMountNeverGivesUp) {
  const auto options = Option("hard");
  ASSERT_TRUE(options.ok());
  EXPECT_GT(options->client.timeout, std::chrono::hours(24 * 365));
}

TEST(MountOptions, WhatFstabBringsAlongIsTaken) {
  for (const char* option :
       {"rw", "defaults", "_netdev", "nofail", "auto", "noauto", "user", "users", "relatime",
        "default_permissions", "soft", "x-systemd.automount", "x-systemd.requires=network.target",
        "comment=systemd.automount", "clone_fd", "max_threads=4", "subtype=dfs"}) {
    EXPECT_TRUE(Option(option).ok()) << option;
  }
  EXPECT_TRUE(Option(",,rw,").ok());
}

TEST(MountOptions, WhatIsUnknownMalformedOrComesLaterIsNamed) {
  const auto says = [](const std::string& option, const std::string& text) {
    const auto options = Option(option);
    ASSERT_FALSE(options.ok()) << option;
    EXPECT_NE(options.error().message().find(text), std::string::npos)
        << option << ": " << options.error().message();
    EXPECT_NE(options.error().message().find(option), std::string::npos)
        << option << ": " << options.error().message();
  };
  says("cahce=none", "unknown mount option");
  says("cache=single", "not supported yet");
  says("cache=fast", "not a choice");
  says("lock=cluster", "not supported yet");
  says("remount", "not supported yet");
  says("uid=5", "not supported yet");
  says("timeo=soon", "not a number");
  says("timeo=0", "not a number");
  says("timeo=-1", "not a number");
  says("timeo=99999999999999999999", "not a number");
  says("timeo", "unknown mount option");
  says("timeo=", "unknown mount option");
  says("replication=0", "not a number");
  says("replication=2x", "not a number");
  says("ro=1", "unknown mount option");
  says("fsname=", "unknown mount option");
}

TEST(MountOptions, AsMount8CallsIt) {
  // /etc/fstab: a:9700,b:9700,c:9700:/proj  /mnt/proj  dfs  _netdev,nofail,allow_other  0 0
  const auto options = Parse({"/sbin/mount.dfs", "a:9700,b:9700,c:9700:/proj", "/mnt/proj", "-o",
                              "rw,_netdev,nofail,allow_other,x-systemd.automount"});
  ASSERT_TRUE(options.ok()) << options.error().ToString();
  EXPECT_EQ(options->client.namenodes, (Words{"a:9700", "b:9700", "c:9700"}));
  EXPECT_EQ(options->path, "/proj");
  EXPECT_EQ(options->kernel.mount_point, "/mnt/proj");
  EXPECT_EQ(options->kernel.source, "a:9700,b:9700,c:9700:/proj");
  EXPECT_TRUE(options->kernel.allow_other);
  EXPECT_FALSE(options->foreground || options->fake);
}

TEST(MountOptions, SourcesOfMount8) {
  const auto source = [](const std::string& text) {
    return Parse({"/sbin/mount.fuse.dfs", text, "/mnt", "-n", "-s", "-v", "-t", "fuse.dfs"});
  };
  const auto slash = source("a:9700,b:9700:/");
  ASSERT_TRUE(slash.ok()) << slash.error().ToString();
  EXPECT_EQ(slash->client.namenodes, (Words{"a:9700", "b:9700"}));
  EXPECT_EQ(slash->path, "/");
  const auto plain = source("[::1]:9700");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->client.namenodes, Words{"[::1]:9700"});
  EXPECT_EQ(plain->path, "/");
  const auto found = source("dfs:/a//b/");
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(found->client.namenodes.empty());
  EXPECT_EQ(found->path, "/a/b");
  const auto both = Parse({"mount.dfs", "dfs:/proj", "/mnt", "-o", "ro,subdir=/data"});
  ASSERT_TRUE(both.ok());
  EXPECT_EQ(both->path, "/proj/data");
  EXPECT_TRUE(both->kernel.read_only);
  const auto fake = Parse({"mount.dfs", "dfs", "/mnt", "-f"});
  ASSERT_TRUE(fake.ok());
  EXPECT_TRUE(fake->fake);
}

TEST(MountOptions, MissingArgumentsAndHelp) {
  EXPECT_NE(Parse({"dfs-fuse"}).error().message().find("MOUNTPOINT"), std::string::npos);
  EXPECT_NE(Parse({"mount.dfs"}).error().message().find("SOURCE"), std::string::npos);
  EXPECT_NE(Parse({"dfs-fuse", "--frob", "/mnt"}).error().message().find("frob"),
            std::string::npos);
  testing::internal::CaptureStdout();
  const auto help = Parse({"dfs-fuse", "--help"});
  EXPECT_NE(testing::internal::GetCapturedStdout().find("--namenodes"), std::string::npos);
  ASSERT_FALSE(help.ok());
  EXPECT_EQ(help.error().message(), "");
}

}  // namespace
}  // namespace dfs::fuse
