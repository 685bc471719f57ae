#include "namenode/state/commands.h"

#include <optional>

#include "namenode/state/archive.h"

namespace dfs::nn {
namespace {

// Bounds what a decoder believes; the network's own limits are lower.
constexpr size_t kMaxCommandBytes = 16u << 20;

template <class A, class H>
void HeaderFields(A& a, H& h) {
  a(h.session, h.incarnation, h.sequence, h.first_outstanding, h.now_ns, h.caller.uid, h.caller.gid,
    h.caller.groups);
}

/// Whether there is an older version of this body.
template <class Body>
concept kHasVersion1 = requires(Body b, ArchiveReader a) {
  b.FieldsV1(a);
};

template <class Body>
concept kHasVersion2 = requires(Body b, ArchiveReader a) {
  b.FieldsV2(a);
};

/// Constructs the alternative of CommandBody with this type; nothing when there is none.
template <size_t I = 0>
std::optional<CommandBody> MakeBody(CommandType type) {
  if constexpr (I == std::variant_size_v<CommandBody>) {
    return std::nullopt;
  } else {
    using Body = std::variant_alternative_t<I, CommandBody>;
    if (Body::kType == type) return CommandBody(std::in_place_index<I>);
    return MakeBody<I + 1>(type);
  }
}

}  // namespace

std::string EncodeCommand(const CommandHeader& header, const CommandBody& body) {
  std::string out;
  Encoder e(&out);
  std::visit(
      [&](const auto& b) {
        using Body = std::decay_t<decltype(b)>;
        e.U16(static_cast<uint16_t>(Body::kType));
        // Fields is one function for both directions, hence not const; the writer changes nothing.
        Body& body_fields = const_cast<Body&>(b);
        ArchiveWriter writer(&out);
        if constexpr (kHasVersion1<Body>) {
          if (b.SaysVersion1()) {
            e.U8(1);
            HeaderFields(writer, header);
            body_fields.FieldsV1(writer);
            return;
          }
        }
        if constexpr (kHasVersion2<Body>) {
          if (b.SaysVersion2()) {
            e.U8(2);
            HeaderFields(writer, header);
            body_fields.FieldsV2(writer);
            return;
          }
        }
        e.U8(Body::kVersion);
        HeaderFields(writer, header);
        body_fields.Fields(writer);
      },
      body);
  return out;
}

Result<Command> DecodeCommand(std::string_view bytes) {
  if (bytes.size() > kMaxCommandBytes) return Status(Code::kCorrupt, "oversize command");
  ArchiveReader reader(bytes);
  CommandType type = static_cast<CommandType>(reader.decoder().U16());
  uint8_t version = reader.decoder().U8();
  if (!reader.decoder().ok()) return Status(Code::kCorrupt, "truncated command");
  auto body = MakeBody(type);
  if (!body)
    return Status(Code::kVersionMismatch, "command type " + std::to_string(static_cast<int>(type)) +
                                              " is unknown to this version: upgrade this namenode");
  Command command{{}, std::move(*body)};
  bool known = true;
  std::visit(
      [&](auto& b) {
        using Body = std::decay_t<decltype(b)>;
        if constexpr (kHasVersion1<Body>) {
          if (version == 1) {
            HeaderFields(reader, command.header);
            b.FieldsV1(reader);
            return;
          }
        }
        if constexpr (kHasVersion2<Body>) {
          if (version == 2) {
            HeaderFields(reader, command.header);
            b.FieldsV2(reader);
            return;
          }
        }
        known = version == Body::kVersion;
        if (!known) return;
        HeaderFields(reader, command.header);
        b.Fields(reader);
      },
      command.body);
  if (!known)
    return Status(Code::kVersionMismatch, "version " + std::to_string(version) + " of command " +
                                              std::string(CommandName(type)) +
                                              " is unknown to this version: upgrade this namenode");
  if (!reader.done())
    return Status(Code::kCorrupt, "malformed command " + std::string(CommandName(type)));
  return command;
}

CommandType TypeOf(const CommandBody& body) {
  return std::visit([](const auto& b) { return std::decay_t<decltype(b)>::kType; }, body);
}

std::string_view CommandName(CommandType type) {
  switch (type) {
    case CommandType::kOpenSession:
      return "open_session";
    case CommandType::kResumeSession:
      return "resume_session";
    case CommandType::kExpireSession:
      return "expire_session";
    case CommandType::kCloseSession:
      return "close_session";
    case CommandType::kMkdir:
      return "mkdir";
    case CommandType::kCreate:
      return "create";
    case CommandType::kSymlink:
      return "symlink";
    case CommandType::kLink:
      return "link";
    case CommandType::kUnlink:
      return "unlink";
    case CommandType::kRmdir:
      return "rmdir";
    case CommandType::kRemoveTree:
      return "remove_tree";
    case CommandType::kReclaim:
      return "reclaim";
    case CommandType::kRename:
      return "rename";
    case CommandType::kSetAttr:
      return "set_attr";
    case CommandType::kSetXattr:
      return "set_xattr";
    case CommandType::kRemoveXattr:
      return "remove_xattr";
    case CommandType::kCloseOrphan:
      return "close_orphan";
    case CommandType::kOpenBlock:
      return "open_block";
    case CommandType::kExcludeMembers:
      return "exclude_members";
    case CommandType::kCommitLength:
      return "commit_length";
    case CommandType::kCloseBlock:
      return "close_block";
    case CommandType::kWriteInline:
      return "write_inline";
    case CommandType::kReleaseBlocks:
      return "release_blocks";
    case CommandType::kBeginBlockRecovery:
      return "begin_block_recovery";
    case CommandType::kExcludeFromRecovery:
      return "exclude_from_recovery";
    case CommandType::kFinishBlockRecovery:
      return "finish_block_recovery";
    case CommandType::kSetMeta:
      return "set_meta";
  }
  return "unknown";
}

std::string EncodeReply(const CommandReply& reply) {
  std::string out;
  Encoder e(&out);
  e.U16(static_cast<uint16_t>(reply.code));
  e.Bytes(reply.message);
  e.Bytes(reply.payload);
  return out;
}

Result<CommandReply> DecodeReply(std::string_view bytes) {
  Decoder in(bytes);
  CommandReply reply;
  reply.code = static_cast<Code>(in.U16());
  reply.message = std::string(in.Bytes());
  reply.payload = std::string(in.Bytes());
  if (!in.done()) return Status(Code::kCorrupt, "malformed stored reply");
  return reply;
}

template <class T>
Result<T> DecodeResult(std::string_view payload) {
  ArchiveReader reader(payload);
  T result;
  result.Fields(reader);
  if (!reader.done()) return Status(Code::kCorrupt, "malformed result of a command");
  return result;
}

template <class T>
std::string EncodeResult(const T& result) {
  std::string out;
  ArchiveWriter writer(&out);
  const_cast<T&>(result).Fields(writer);
  return out;
}

#define DFS_RESULT(T)                                   \
  template Result<T> DecodeResult<T>(std::string_view); \
  template std::string EncodeResult<T>(const T&)
DFS_RESULT(AttrResult);
DFS_RESULT(CreateResult);
DFS_RESULT(CreateOpenResult);
DFS_RESULT(SessionResult);
DFS_RESULT(RemoveTreeResult);
DFS_RESULT(ReclaimResult);
DFS_RESULT(OpenBlockResult);
#undef DFS_RESULT

}  // namespace dfs::nn
