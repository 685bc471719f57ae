#include "namenode/state/state_machine.h"

#include "common/base/check.h"
#include "common/base/checksum.h"
#include "common/base/codec.h"
#include "common/base/defects.h"
#include "namenode/state/ops/ops.h"
#include "namenode/state/reader.h"
#include "namenode/state/txn.h"

namespace dfs::nn {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

void Notify(StateObserver* observer, const StateEvent& event) {
  std::visit(Overloaded{
                 [&](const BlockChanged& e) { observer->OnBlockChanged(e.id, e.block); },
                 [&](const BlockRemoved& e) { observer->OnBlockRemoved(e.id); },
                 [&](const SessionOpened& e) { observer->OnSessionOpened(e.session); },
                 [&](const SessionResumed& e) { observer->OnSessionResumed(e.session); },
                 [&](const SessionEnded& e) { observer->OnSessionEnded(e.id); },
                 [&](const InodeRemoved& e) { observer->OnInodeRemoved(e.id); },
                 [&](const TodoAdded& e) { observer->OnTodoAdded(e.id); },
                 [&](const LocksReleased& e) { observer->OnLocksReleased(e.id); },
                 [&](const DatanodeChanged& e) { observer->OnDatanodeChanged(e.id, e.datanode); },
             },
             event);
}

/// What exactly-once says about a command before it runs.
struct Admission {
  bool run = false;
  bool store_reply = false;
  std::string reply;  // when it does not run
};

std::string Refusal(Code code, std::string message) {
  return EncodeReply({code, std::move(message), {}});
}

/// These end or change the session that a reply would be stored under, so nobody's session runs them.
bool IsAboutSessions(const CommandBody& body) {
  switch (TypeOf(body)) {
    case CommandType::kOpenSession:
    case CommandType::kResumeSession:
    case CommandType::kExpireSession:
    case CommandType::kCloseSession:
      return true;
    default:
      return false;
  }
}

/// Protocols, section 1.2 and 1.3.
Result<Admission> Admit(Txn& txn, const CommandHeader& header) {
  Admission admission;
  if (!header.session.valid()) {
    admission.run = true;
    return admission;
  }
  DFS_ASSIGN_OR_RETURN(std::optional<Session> session, txn.FindSession(header.session));
  if (!session) {
    admission.reply = Refusal(Code::kUnknownSession, "no such session: it expired or never was");
    return admission;
  }
  bool stale = header.incarnation != session->incarnation;
  if (stale && DefectOn(Defect::kStaleIncarnationAccepted))
    stale = header.incarnation > session->incarnation;
  if (stale) {
    admission.reply =
        Refusal(Code::kStaleIncarnation, "the session was resumed by another process");
    return admission;
  }
  uint64_t first = std::max(session->first_outstanding, header.first_outstanding);
  if (header.sequence < first || header.sequence == 0) {
    admission.reply = Refusal(Code::kStaleSequence, "the operation was answered already");
    return admission;
  }
  if (header.sequence <= session->highest_sequence) {  // above it no reply was ever stored
    DFS_ASSIGN_OR_RETURN(bool known,
                         txn.Get(ReplyKey(header.session, header.sequence), &admission.reply));
    if (known) return admission;
  }
  if (header.sequence - first > kMaxStoredReplies) {
    admission.reply = Refusal(Code::kOverloaded, "too many operations in flight");
    return admission;
  }
  uint64_t end = std::min(first, session->highest_sequence + 1);
  for (uint64_t old = session->first_outstanding; old < end; ++old) {
    std::string key = ReplyKey(header.session, old);
    DFS_ASSIGN_OR_RETURN(bool stored, txn.Has(key));
    if (stored) txn.Delete(key);
  }
  session->first_outstanding = first;
  session->highest_sequence = std::max(session->highest_sequence, header.sequence);
  txn.PutSession(*session);
  admission.run = true;
  admission.store_reply = true;
  return admission;
}

}  // namespace

class StateMachine::Impl {
 public:
  Impl(StateStore* store, const Options& options)
      : store_(store),
        committed_(store, options.cache_bytes),
        txn_(&committed_),
        reader_(&committed_) {}

  Status Load() {
    committed_.cache().Clear();
    committed_.ClearFatal();
    txn_.ClearFatal();
    txn_.pending().Clear();
    txn_.events().clear();
    txn_.reclaim_hint() = {};
    mark_ = AppliedMark();
    Counters counters;
    std::string value;
    DFS_ASSIGN_OR_RETURN(bool found, store_->Get(AppliedKey(), &value));
    if (found) {
      DFS_ASSIGN_OR_RETURN(mark_, DecodeApplied(value));
      DFS_ASSIGN_OR_RETURN(bool counted, store_->Get(CountersKey(), &value));
      if (!counted) return Status(Code::kCorrupt, "the state has no counters");
      DFS_ASSIGN_OR_RETURN(counters, DecodeCounters(value));
      if (counters.feature_level > kSupportedFeatureLevel)
        return Status(Code::kVersionMismatch, "the state is of feature level " +
                                                  std::to_string(counters.feature_level) +
                                                  ", which this version does not know");
    } else {
      DFS_RETURN_IF_ERROR(MakeRoot(counters));
    }
    committed_.set_counters(counters);
    committed_.set_applied(mark_);
    txn_.set_counters(counters);
    written_mark_ = mark_;
    return Status::Ok();
  }

  Result<std::string> Apply(LogIndex index, Term term, std::string_view bytes) {
    if (!failed_.ok()) return failed_;
    DFS_CHECK(index == mark_.index + 1, "applying {} after {}", index, mark_.index);
    std::string reply;
    if (!bytes.empty()) {
      auto command = DecodeCommand(bytes);
      if (!command) return failed_ = command.error();
      auto applied = Run(*command);
      // Whatever went wrong below is this member's own trouble and must never become a reply.
      if (!txn_.fatal().ok()) return failed_ = txn_.fatal();
      if (!applied) return failed_ = applied.error();
      reply = std::move(*applied);
    }
    Encoder e(&txn_.effects());
    e.U64(index);
    e.U64(term);
    e.Bytes(reply);
    mark_ = {index, term, Hash64(txn_.effects(), mark_.state_hash)};
    txn_.effects().clear();
    dirty_ = true;
    return reply;
  }

  Status Commit() {
    if (!failed_.ok()) return failed_;
    if (!dirty_) return Status::Ok();
    PendingBatch& pending = txn_.pending();
    batch_.Clear();
    for (const PendingBatch::Entry& entry : pending.entries()) {
      if (entry.state == PendingBatch::State::kPut) batch_.Put(entry.key, entry.value);
      if (entry.state == PendingBatch::State::kDeleted) batch_.Delete(entry.key);
    }
    std::string counters = EncodeCounters(txn_.counters());
    batch_.Put(CountersKey(), counters);
    // The defect leaves the mark one commit behind its effects.
    std::string mark =
        EncodeApplied(DefectOn(Defect::kAppliedIndexNotInBatch) ? written_mark_ : mark_);
    batch_.Put(AppliedKey(), mark);
    if (Status s = store_->Write(batch_); !s.ok()) return failed_ = s;
    written_mark_ = mark_;
    for (const PendingBatch::Entry& entry : pending.entries()) {
      if (entry.state == PendingBatch::State::kPut) committed_.cache().Put(entry.key, entry.value);
      if (entry.state == PendingBatch::State::kDeleted) committed_.cache().Erase(entry.key);
    }
    committed_.set_counters(txn_.counters());
    committed_.set_applied(mark_);
    batch_.Clear();
    pending.Clear();
    dirty_ = false;
    std::vector<StateEvent> events = std::move(txn_.events());
    txn_.events().clear();
    if (observer_) {
      for (const StateEvent& event : events) Notify(observer_, event);
    }
    return Status::Ok();
  }

  Status InstallFrom(const std::string& directory) {
    txn_.pending().Clear();
    txn_.events().clear();
    txn_.effects().clear();
    dirty_ = false;
    if (Status s = store_->InstallCheckpoint(directory); !s.ok()) return failed_ = s;
    if (Status s = Load(); !s.ok()) return failed_ = s;
    failed_ = Status();
    if (observer_) observer_->OnStateReplaced();
    return Status::Ok();
  }

  StateStore* store_;
  CommittedView committed_;
  Txn txn_;
  StateReader reader_;
  AppliedMark mark_;
  StateObserver* observer_ = nullptr;

 private:
  /// Every member makes the same one before anything is applied.
  Status MakeRoot(const Counters& counters) {
    Inode root;
    root.id = kRootInode;
    root.type = FileType::kDirectory;
    root.mode = 0755;
    root.nlink = 2;
    root.parent = kRootInode;
    root.data_version = 1;
    std::string key = InodeKey(kRootInode), value = EncodeInode(root);
    std::string encoded_counters = EncodeCounters(counters), mark = EncodeApplied(mark_);
    WriteBatch batch;
    batch.Put(key, value);
    batch.Put(CountersKey(), encoded_counters);
    batch.Put(AppliedKey(), mark);
    return store_->Write(batch);
  }

  /// An error is the member's; what the client is told is the encoded reply.
  Result<std::string> Run(const Command& command) {
    txn_.Begin(&command.header, mark_.index + 1);
    if (command.header.session.valid() && IsAboutSessions(command.body))
      return Refusal(Code::kInvalidArgument, "not within a session");
    const Counters before = txn_.counters();
    DFS_ASSIGN_OR_RETURN(Admission admission, Admit(txn_, command.header));
    if (!admission.run) return std::move(admission.reply);
    txn_.SetSavepoint();
    CommandReply reply;
    Status status = std::visit(
        [&](const auto& body) { return ApplyOp(txn_, body, &reply.payload); }, command.body);
    if (!txn_.fatal().ok()) return txn_.fatal();
    if (!status.ok()) {
      txn_.Rollback();
      reply = {status.code(), status.message(), {}};
    }
    std::string encoded = EncodeReply(reply);
    if (admission.store_reply && !DefectOn(Defect::kReplyNotStored))
      txn_.Put(ReplyKey(command.header.session, command.header.sequence), encoded);
    if (!(txn_.counters() == before))
      Encoder(&txn_.effects()).Bytes(EncodeCounters(txn_.counters()));
    return encoded;
  }

  AppliedMark written_mark_;
  WriteBatch batch_;
  Status failed_;
  bool dirty_ = false;
};

StateMachine::StateMachine(StateStore* store, const Options& options)
    : impl_(std::make_unique<Impl>(store, options)) {}
StateMachine::~StateMachine() = default;

Status StateMachine::Load() {
  return impl_->Load();
}
LogIndex StateMachine::applied_index() const {
  return impl_->mark_.index;
}
Term StateMachine::applied_term() const {
  return impl_->mark_.term;
}
uint64_t StateMachine::state_hash() const {
  return impl_->mark_.state_hash;
}
Result<std::string> StateMachine::Apply(LogIndex index, Term term, std::string_view command) {
  return impl_->Apply(index, term, command);
}
Status StateMachine::Commit() {
  return impl_->Commit();
}
uint64_t StateMachine::pending_bytes() const {
  return impl_->txn_.pending().bytes();
}
StateReader& StateMachine::reader() {
  return impl_->reader_;
}
void StateMachine::SetObserver(StateObserver* observer) {
  impl_->observer_ = observer;
}
Status StateMachine::InstallFrom(const std::string& checkpoint_directory) {
  return impl_->InstallFrom(checkpoint_directory);
}
StateStore& StateMachine::store() {
  return *impl_->store_;
}

}  // namespace dfs::nn
