// What root does once, before a stranger's first byte: folders, limits, then no capability at all.
#pragma once

#include <string>

#include "policy/policy_parse.h"
#include "userspace/base/result.h"

namespace tollgate::daemon {

// No core dumps and no ptrace by others: the key is in our memory. Descriptors for every
// connection.
Status harden_process(const policy::Limits& limits);

// Creates state_dir and run_dir (0750 and 0755) and gives them to `user` when we are root.
Status prepare_folders(const policy::GatewayConfig& gateway);

// Becomes `user` with no supplementary group but its own, no capability, no way back. Nothing when
// not root or `user` is empty.
Status drop_privileges(const std::string& user);

}  // namespace tollgate::daemon
