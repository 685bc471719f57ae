// Talks to the service manager that started this process, by sd_notify(3)'s protocol: a datagram to the socket
// that $NOTIFY_SOCKET names.
#pragma once

#include <string_view>

namespace dfs {

/// state: "READY=1", "STOPPING=1". No effect when nobody asked to be notified.
void NotifyServiceManager(std::string_view state);

}  // namespace dfs
