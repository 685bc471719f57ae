// What a client without leases does: names, modes, sizes, and bytes that it reads.
#include <fmt/core.h>

#include <cstring>

#include "common/client/core/calls.h"
#include "common/client/core/client_core.h"
#include "common/client/core/file_reader.h"
#include "common/idl/methods.h"
#include "tests/leasesim/effects.h"
#include "tests/leasesim/lease_world.h"
#include "tests/sim/workload.h"

namespace dfs::sim {

namespace {
constexpr size_t kMostOps = 250;

class PlainProgram final : public Program {
 public:
  explicit PlainProgram(LeaseWorld& world)
      : Program(world, world.plain().node(), "plain"), core_(world.plain().core()) {}

 private:
  struct Call {
    History* history;
    size_t op;
  };

  void Act() override {
    const uint64_t dice = random().Uniform(world_.files() ? 10 : 8);
    if (dice < 4) return Name();
    if (dice < 6) return Mode();
    if (dice < 8) return Size(random().Uniform(std::size(kFiles)));
    Read(random().Uniform(std::size(kFiles)));
  }

  Call Begin(const std::string& thing, const std::string& what, History::Effect if_unknown) {
    Doing(what + " " + thing);
    History& history = world_.Of(thing);
    return {&history, history.Invoke(doing(), world_.Tick(), std::move(if_unknown))};
  }
  void End(const Call& call, const Status& status, const std::string& how, History::Effect effect) {
    Note(status);
    call.history->Return(call.op, how, world_.Tick(), std::move(effect));
    Next();
  }
  void EndUnknown(const Status& status) {
    Note(status);
    if (!OutcomeUnknown(status)) Fail(status.ToString());
    Next();
  }
  void Stat(const std::string& path, std::function<void(Result<idl::StatReply>)> done) {
    idl::StatRequest request;
    request.ref.path = path;
    core_->FillCaller(&request.caller);
    client::Read<idl::kStat>(*core_, request, core_->Deadline(), std::move(done));
  }

  void Name() {
    const Thing& thing = kSingles[random().Uniform(std::size(kSingles) - 1)];  // no directories
    const std::string path = fmt::format("{}/{}", thing.directory, thing.name);
    if (world_.Of(path).size() >= kMostOps) return Next();
    auto self = shared_from_this();
    const uint64_t dice = random().Uniform(4);
    if (dice < 1) {
      const Call call = Begin(path, "create", Made(0, kAny));
      idl::CreateRequest request;
      request.ref.path = path;
      request.mode = 0644;
      request.exclusive = true;
      core_->FillCaller(&request.caller);
      client::Change<idl::kCreate>(
          *core_, request, 0, core_->Deadline(),
          [this, self, call](const Result<idl::CreateReply>& reply) {
            const Status status = reply.status();
            if (status.Is(Code::kAlreadyExists)) return End(call, status, "exists", IsThere(0));
            if (!status.ok()) return EndUnknown(status);
            const auto inode = static_cast<uint64_t>(reply->attr.inode);
            End(call, status, fmt::format("inode {}", inode), Made(0, inode));
          });
    } else if (dice < 2) {
      const Call call = Begin(path, "unlink", Removed(0));
      idl::UnlinkRequest request;
      request.ref.path = path;
      core_->FillCaller(&request.caller);
      client::Change<idl::kUnlink>(
          *core_, request, 0, core_->Deadline(),
          [this, self, call](const Result<idl::NamesReply>& reply) {
            const Status status = reply.status();
            if (status.Is(Code::kNotFound)) return End(call, status, "absent", Is(0, kAbsent));
            if (!status.ok()) return EndUnknown(status);
            End(call, status, "ok", Removed(0));
          });
    } else {
      const Call call = Begin(path, "stat", nullptr);
      Stat(path, [this, self, call](const Result<idl::StatReply>& reply) {
        const Status status = reply.status();
        if (status.Is(Code::kNotFound)) return End(call, status, "absent", Is(0, kAbsent));
        if (!status.ok()) return EndUnknown(status);
        const auto inode = static_cast<uint64_t>(reply->attr.inode);
        End(call, status, fmt::format("inode {}", inode), Is(0, inode));
      });
    }
  }

  void Mode() {
    static const char* const kThings[] = {"mode d1", "mode f1"};
    static const char* const kPaths[] = {"d1", "d1/f1"};
    const size_t which = random().Uniform(2);
    if (world_.Of(kThings[which]).size() >= kMostOps) return Next();
    auto self = shared_from_this();
    if (random().OneIn(2)) {
      const Call call = Begin(kThings[which], "stat", nullptr);
      return Stat(kPaths[which], [this, self, call](const Result<idl::StatReply>& reply) {
        if (!reply) return EndUnknown(reply.status());
        const auto mode = static_cast<uint64_t>(reply->attr.mode & 0777);
        End(call, Status(), std::to_string(mode), Shows(mode));
      });
    }
    const uint64_t mode = world_.NextValue() & 0777;
    const Call call = Begin(kThings[which], fmt::format("set {}", mode), Set(mode));
    idl::SetAttrRequest request;
    request.ref.path = kPaths[which];
    request.mask = 1;
    request.mode = static_cast<int32_t>(mode);
    core_->FillCaller(&request.caller);
    client::Change<idl::kSetAttr>(*core_, request, 0, core_->Deadline(),
                                  [this, self, call, mode](const Result<idl::AttrReply>& reply) {
                                    if (!reply) return EndUnknown(reply.status());
                                    End(call, Status(), "ok", Set(mode));
                                  });
  }

  void Size(size_t file) {
    const std::string thing = fmt::format("size of {}", kFiles[file].name);
    if (world_.Of(thing).size() >= kMostOps) return Next();
    const Call call = Begin(thing, "stat", nullptr);
    Stat(fmt::format("{}/{}", kFiles[file].directory, kFiles[file].name),
         [this, self = shared_from_this(), call](const Result<idl::StatReply>& reply) {
           if (!reply) return EndUnknown(reply.status());
           const auto size = static_cast<uint64_t>(reply->attr.size);
           End(call, Status(), std::to_string(size), Shows(size));
         });
  }

  /// As dfs cat: by a reader that begins now.
  void Read(size_t file) {
    const uint64_t offset = kFiles[file].cells[random().Uniform(4)];
    const std::string thing = fmt::format("{} at {}", kFiles[file].name, offset);
    if (world_.Of(thing).size() >= kMostOps) return Next();
    const Call call = Begin(thing, "read", nullptr);
    Stat(fmt::format("{}/{}", kFiles[file].directory, kFiles[file].name),
         [this, self = shared_from_this(), call, offset](const Result<idl::StatReply>& reply) {
           if (!reply) return EndUnknown(reply.status());
           auto reader =
               client::FileReader::ForInode(core_, static_cast<uint64_t>(reply->attr.inode),
                                            static_cast<uint64_t>(reply->attr.block_size));
           auto bytes = std::make_shared<std::string>(kCell, '\0');
           reader->ReadAt(offset, bytes->data(), kCell,
                          std::make_shared<client::FileReader::Guard>(),
                          [this, self, call, reader, bytes](const Result<size_t>& got) {
                            if (!got) return EndUnknown(got.status());
                            uint64_t value = 0;
                            if (*got == kCell) std::memcpy(&value, bytes->data(), sizeof(value));
                            ++world_.cluster().stats().reads_checked;
                            End(call, Status(), std::to_string(value), Shows(value));
                          });
         });
  }

  const std::shared_ptr<client::ClientCore> core_;
};

}  // namespace

std::shared_ptr<Program> MakePlainProgram(LeaseWorld& world) {
  return std::make_shared<PlainProgram>(world);
}

}  // namespace dfs::sim
