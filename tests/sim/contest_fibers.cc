// The fibers that work against each other: files that all write at once, and a session that goes from hand to hand.
#include <fmt/core.h>

#include <cstring>

#include "common/client/core/calls.h"
#include "common/client/core/file_reader.h"
#include "common/client/core/file_writer.h"
#include "common/idl/methods.h"
#include "dfs_types.h"
#include "tests/sim/fiber.h"

namespace dfs::sim {

std::string ContestedFile::Check(uint64_t number, uint64_t invoked) const {
  if (number > writes.size()) return fmt::format("{} shows what nobody wrote", path);
  // A later write that was acknowledged before the read began hides every earlier one.
  const uint64_t returned = number == 0 ? 0 : writes[number - 1].returned;
  for (size_t i = 0; i < writes.size(); ++i) {
    if (writes[i].invoked > returned && writes[i].returned < invoked) {
      return fmt::format("{} shows write {}, which write {} had replaced", path, number, i + 1);
    }
  }
  return "";
}

namespace {

using client::FileReader;
using client::FileWriter;

class ContestFiber final : public Fiber {
 public:
  ContestFiber(Workload& workload, ClientHost& host, bool verify)
      : Fiber(workload, host, host.name() + (verify ? ".verify contest" : ".contest")),
        verify_(verify) {}

 private:
  void Act() override {
    if (verify_) return;
    ContestedFile& file = workload_.contested()[random().Uniform(workload_.contested().size())];
    if (random().OneIn(2)) {
      Read(file);
    } else {
      Write(file);
    }
  }

  bool Finish() override {
    if (!verify_ || verified_ == workload_.contested().size()) return false;
    Read(workload_.contested()[verified_++]);
    return true;
  }

  // The write's number, over and over.
  static std::string Content(const ContestedFile& file, uint64_t number) {
    std::string content(file.size, '\0');
    for (size_t i = 0; i + sizeof(number) <= content.size(); i += sizeof(number)) {
      std::memcpy(content.data() + i, &number, sizeof(number));
    }
    return content;
  }

  void Write(ContestedFile& file) {
    file.writes.push_back({workload_.Tick()});
    const uint64_t number = file.writes.size();
    Doing(fmt::format("write {} as {}", file.path, number));
    client::FileCreate how;
    how.path = file.path;
    how.overwrite = false;
    FileWriter::Create(
        core_, how, 1,
        [this, self = shared_from_this(), &file, number](Result<FileWriter::Ptr> opened) {
          if (!opened) {
            Note(opened.status());
            Next(20 * kMillisecond, 500 * kMillisecond);
            return;
          }
          writer_ = *opened;
          writer_->Write(0, Buffer(Content(file, number)));
          client::FileClose close;
          close.sync = true;
          writer_->Close(close, [this, self, &file, number](const Status& status) {
            Note(status);
            writer_ = nullptr;
            if (status.ok()) {
              file.writes[number - 1].returned = workload_.Tick();
              Next(20 * kMillisecond, 300 * kMillisecond);
              return;
            }
            // Refused because another one has it open or was faster: nothing is left behind.
            if (status.message().find("open a block for writing") != std::string::npos &&
                !OutcomeUnknown(status)) {
              Next(20 * kMillisecond, 300 * kMillisecond);
              return;
            }
            // What it had open stays so until the session ends.
            ClientHost& host = host_;
            workload_.cluster().scheduler().After(0, [&host] { host.Exit(); });
          });
        });
  }

  void Read(ContestedFile& file) {
    const uint64_t invoked = workload_.Tick();
    Doing("read " + file.path);
    FileReader::Open(
        core_, file.path,
        [this, self = shared_from_this(), &file,
         invoked](Result<std::shared_ptr<FileReader>> reader) {
          if (!reader) {
            Judge(file, invoked, reader.status(), "");
            return;
          }
          auto bytes = std::make_shared<std::string>(file.size, '\0');
          auto guard = std::make_shared<FileReader::Guard>();
          (*reader)->ReadAt(
              0, bytes->data(), bytes->size(), guard,
              [this, self, &file, invoked, bytes, reader = *reader](Result<size_t> got) {
                Judge(file, invoked, got.status(), bytes->substr(0, got ? *got : 0));
              });
        });
  }

  // Each word by itself: a write under way shows in part.
  void Judge(const ContestedFile& file, uint64_t invoked, const Status& status,
             const std::string& bytes) {
    Note(status);
    std::string wrong;
    if (status.ok()) {
      ++workload_.cluster().stats().reads_checked;
      if (bytes.size() < file.size) wrong = file.Check(0, invoked);
      for (size_t i = 0; wrong.empty() && i + 8 <= bytes.size(); i += 8) {
        uint64_t number = 0;
        std::memcpy(&number, bytes.data() + i, sizeof(number));
        wrong = file.Check(number, invoked);
      }
    } else if (status.Is(Code::kNotFound) || verify_) {
      wrong = file.Check(0, invoked);
    }
    if (!wrong.empty())
      Fail((verify_ ? "in the end: " : "") + wrong + " (" + status.ToString() + ")");
    Next();
  }

  const bool verify_;
  size_t verified_ = 0;
  FileWriter::Ptr writer_;
};

// Protocols 1.3: from the moment a resumption is acknowledged, no change of an earlier incarnation is accepted. The
// fibers take the session over from each other and go on using it as if nothing had happened.
class SessionFiber final : public Fiber {
 public:
  SessionFiber(Workload& workload, ClientHost& host)
      : Fiber(workload, host, host.name() + ".session") {}

 private:
  void Act() override {
    ResumableSession& shared = workload_.session();
    if (shared.id == 0) {
      Open();
    } else if (id_ != shared.id || random().OneIn(8)) {
      Resume();
    } else if (random().OneIn(3)) {
      KeepAlive();
    } else {
      Mkdir();
    }
  }

  template <rpc::Method kMethod, class Request, class DoneFn>
  void Call(const Request& request, DoneFn done) {
    client::Read<kMethod>(*core_, request, core_->Deadline(),
                          [this, self = shared_from_this(),
                           done = std::move(done)](Result<rpc::ReplyOf<kMethod>> reply) {
                            Note(reply.status());
                            if (!reply && reply.error().Is(Code::kUnknownSession)) Expired();
                            done(reply);
                            Next(20 * kMillisecond, 200 * kMillisecond);
                          });
  }

  void Expired() {
    if (workload_.session().id == asked_) workload_.session().id = 0;
    id_ = 0;
  }

  void Open() {
    Doing("open the session");
    idl::OpenSessionRequest request;
    request.client_name = name();
    request.secret = std::to_string(random().Next()) + std::to_string(random().Next());
    request.nonce = static_cast<int64_t>(random().Next() >> 1);
    asked_ = 0;
    Call<idl::kOpenSession>(
        request, [this, secret = request.secret](const Result<idl::OpenSessionReply>& reply) {
          if (!reply) return;
          Take(reply->session, reply->incarnation);
          ResumableSession& shared = workload_.session();
          if (shared.id != 0) return;  // somebody was faster
          shared.id = reply->session;
          shared.secret = secret;
          shared.incarnation = reply->incarnation;
        });
  }

  void Resume() {
    ResumableSession& shared = workload_.session();
    Doing(fmt::format("resume session {} at {}", shared.id, shared.incarnation));
    idl::ResumeSessionRequest request;
    request.session = asked_ = shared.id;
    request.secret = shared.secret;
    request.expected_incarnation = shared.incarnation;
    Call<idl::kResumeSession>(request, [this](const Result<idl::OpenSessionReply>& reply) {
      ResumableSession& session = workload_.session();
      if (!reply) {
        // A resumption without an answer may have happened: only a new session helps.
        if (session.id == asked_ && reply.error().Is(Code::kStaleIncarnation) && random().OneIn(4))
          session.id = 0;
        return;
      }
      Take(reply->session, reply->incarnation);
      if (session.id == id_) session.incarnation = std::max(session.incarnation, incarnation_);
    });
  }

  void KeepAlive() {
    Doing("keep the session alive");
    idl::KeepAliveRequest request;
    request.session = asked_ = id_;
    request.incarnation = incarnation_;
    Call<idl::kKeepAlive>(request, [](const Result<idl::KeepAliveReply>&) {});
  }

  void Mkdir() {
    ResumableSession& shared = workload_.session();
    idl::MkdirRequest request;
    request.ref.path = "session" + std::to_string(shared.next_name++);
    request.mode = 0755;
    request.op.session = asked_ = id_;
    request.op.incarnation = incarnation_;
    request.op.sequence = request.op.first_outstanding = next_sequence_++;
    core_->FillCaller(&request.caller);
    Doing(fmt::format("mkdir {} under {} of session {}", request.ref.path, incarnation_, id_));
    const bool fenced = shared.id == id_ && shared.incarnation > incarnation_;
    Call<idl::kMkdir>(request, [this, fenced](const Result<idl::AttrReply>& reply) {
      if (reply && fenced) Fail(doing() + " was accepted after the session had been resumed");
    });
  }

  void Take(int64_t id, int64_t incarnation) {
    id_ = id;
    incarnation_ = incarnation;
    next_sequence_ = 1;
  }

  int64_t id_ = 0;
  int64_t incarnation_ = 0;
  int64_t next_sequence_ = 1;
  int64_t asked_ = 0;
};

}  // namespace

std::shared_ptr<Fiber> MakeContestFiber(Workload& workload, ClientHost& host, bool verify) {
  return std::make_shared<ContestFiber>(workload, host, verify);
}

std::shared_ptr<Fiber> MakeSessionFiber(Workload& workload, ClientHost& host) {
  return std::make_shared<SessionFiber>(workload, host);
}

}  // namespace dfs::sim
