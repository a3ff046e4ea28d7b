// What of the kernel keeps a peer's packets from the providers but through us: the guard and the
// routing rules. Put into force before the tunnel comes up (`--install`) and at each start; nothing
// but `--uninstall` takes it away.
#pragma once

#include "policy/policy_parse.h"
#include "userspace/base/result.h"

namespace tollgate::daemon {

// Every destination of every [[intercept]], each once.
std::vector<IpPrefix> intercepted_destinations(const policy::Config& config);

// Idempotent. Guards the destinations, and the addresses that the providers' names have now.
Status install_interception(const policy::Config& config);
// At a start: the same where there is something to intercept or a guard is in force already; else
// only rules of an earlier configuration go.
Status follow_interception(const policy::Config& config);
Status uninstall_interception();

}  // namespace tollgate::daemon
