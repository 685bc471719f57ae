// How a BlockWriter sends its changes. Internal to it.
#pragma once

#include <utility>

#include "common/client/core/block_writer.h"
#include "common/client/core/calls.h"

namespace dfs::client {

/// The handler is called with the writer and the reply; not when the writer is gone.
template <rpc::Method kMethod, class Request, class Handler>
void BlockWriter::SendChange(Request request, Handler handler) {
  ++changes_;
  Change<kMethod>(*core_, std::move(request), params_.session, core_->Deadline(),
                  [weak = weak_from_this(), handler = std::move(handler)](auto reply) mutable {
                    auto self = weak.lock();
                    if (!self) return;
                    --self->changes_;
                    handler(*self, std::move(reply));
                    self->CheckRetired();
                  });
}

}  // namespace dfs::client
