// The operations, one file each. An operation validates, then changes through the Txn; whatever it
// returns becomes the reply, and what a failed one wrote is rolled back. payload: its encoded result.
#pragma once

#include <string>

#include "common/base/status.h"
#include "namenode/state/commands.h"
#include "namenode/state/txn.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const OpenSessionCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const ResumeSessionCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const ExpireSessionCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const CloseSessionCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const MkdirCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const CreateCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const SymlinkCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const LinkCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const UnlinkCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const RmdirCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const RemoveTreeCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const ReclaimCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const RenameCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const SetAttrCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const SetXattrCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const RemoveXattrCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const CloseOrphanCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const OpenBlockCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const ExcludeMembersCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const CommitLengthCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const CloseBlockCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const WriteInlineCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const ReleaseBlocksCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const BeginBlockRecoveryCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const ExcludeFromRecoveryCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const FinishBlockRecoveryCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const SetMetaCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const LockCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const UnlockCommand& command, std::string* payload);
Status ApplyOp(Txn& txn, const SetDatanodeCommand& command, std::string* payload);

}  // namespace dfs::nn
