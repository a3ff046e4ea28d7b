// Questions of the commands that look at a gateway: blocking, with an end to their patience.
#pragma once

#include <string>

#include "userspace/base/ip.h"
#include "userspace/base/result.h"
#include "userspace/tls/channel.h"

namespace tollgate::daemon {

// A connection and, with a context, a handshake in which chain and host name are verified. Nothing
// is sent over it.
Status try_to_reach(const Endpoint& remote, const tls::ClientContext* context);

// What the daemon's admin socket answers to one line of JSON. Empty: nobody is there.
std::string ask_daemon(const std::string& path, const std::string& question);

}  // namespace tollgate::daemon
