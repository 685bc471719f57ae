#include "datanode/store/replica_state.h"

namespace dfs::dn {

std::optional<ReplicaState> Next(ReplicaState state, ReplicaEvent event) {
  using S = ReplicaState;
  using E = ReplicaEvent;
  switch (state) {
    case S::kNone:
      if (event == E::kCreate) return S::kRbw;
      if (event == E::kCreateCopy) return S::kTemporary;
      return std::nullopt;
    case S::kFinalized:
      if (event == E::kOpenForWrite) return S::kRbw;
      if (event == E::kInitRecovery) return S::kRur;
      if (event == E::kRestart) return S::kFinalized;
      if (event == E::kIoError) return S::kRwr;  // on its way to the disk
      if (event == E::kDelete) return S::kNone;
      return std::nullopt;
    case S::kRbw:
      if (event == E::kOpenForWrite || event == E::kWrite) return S::kRbw;
      if (event == E::kFinalize) return S::kFinalized;
      if (event == E::kInitRecovery) return S::kRur;
      if (event == E::kRestart || event == E::kIoError) return S::kRwr;
      if (event == E::kDelete) return S::kNone;
      return std::nullopt;
    case S::kRwr:
      if (event == E::kInitRecovery) return S::kRur;
      if (event == E::kRestart) return S::kRwr;
      if (event == E::kDelete) return S::kNone;
      return std::nullopt;
    case S::kRur:
      if (event == E::kInitRecovery || event == E::kWrite) return S::kRur;
      if (event == E::kFinishRecovery) return S::kFinalized;
      if (event == E::kRestart || event == E::kIoError) return S::kRwr;
      if (event == E::kDelete) return S::kNone;
      return std::nullopt;
    case S::kTemporary:
      if (event == E::kWrite) return S::kTemporary;
      if (event == E::kFinalize) return S::kFinalized;
      if (event == E::kRestart || event == E::kIoError || event == E::kDelete) return S::kNone;
      return std::nullopt;
  }
  return std::nullopt;
}

std::string_view StateName(ReplicaState state) {
  switch (state) {
    case ReplicaState::kNone:
      return "none";
    case ReplicaState::kFinalized:
      return "finalized";
    case ReplicaState::kRbw:
      return "rbw";
    case ReplicaState::kRwr:
      return "rwr";
    case ReplicaState::kRur:
      return "rur";
    case ReplicaState::kTemporary:
      return "temporary";
  }
  return "unknown";
}

std::string_view EventName(ReplicaEvent event) {
  switch (event) {
    case ReplicaEvent::kCreate:
      return "create";
    case ReplicaEvent::kCreateCopy:
      return "create copy";
    case ReplicaEvent::kOpenForWrite:
      return "open for write";
    case ReplicaEvent::kWrite:
      return "write";
    case ReplicaEvent::kFinalize:
      return "finalize";
    case ReplicaEvent::kInitRecovery:
      return "init recovery";
    case ReplicaEvent::kFinishRecovery:
      return "finish recovery";
    case ReplicaEvent::kIoError:
      return "i/o error";
    case ReplicaEvent::kRestart:
      return "restart";
    case ReplicaEvent::kDelete:
      return "delete";
  }
  return "unknown";
}

}  // namespace dfs::dn
