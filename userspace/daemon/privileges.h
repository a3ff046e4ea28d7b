// What root does once, before a stranger's first byte: folders, limits, then no capability at all.
#pragma once

#include <sys/types.h>

#include <string>

#include "policy/policy_parse.h"
#include "userspace/base/result.h"

namespace tollgate::daemon {

// No core dumps and no ptrace by others: the key is in our memory. Descriptors for every
// connection.
Status harden_process(const policy::Limits& limits);

// Creates state_dir and run_dir (0750 and 0755) and gives them to `user` when we are root.
Status prepare_folders(const policy::GatewayConfig& gateway);

// The uid that the daemon runs as once it has dropped its privileges.
Result<uid_t> uid_of(const std::string& user);

// Becomes `user` with no supplementary group but its own, no capability, no way back. Nothing when
// not root or `user` is empty.
Status drop_privileges(const std::string& user);

// Becomes `user` too, and keeps CAP_NET_ADMIN and nothing else of what it had.
Status keep_net_admin_only(const std::string& user);

}  // namespace tollgate::daemon
