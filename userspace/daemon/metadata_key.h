// The key under which turn_metadata = "hash" hashes. Kept beside the ledger, so that a place has
// the same hash after a restart, and known to no provider, who could else try out names.
#pragma once

#include "policy/policy_parse.h"
#include "userspace/base/result.h"
#include "userspace/proxy/snapshot.h"

namespace tollgate::daemon {

// Reads the key, or makes it where it is missing; nothing where no policy hashes. Runs as the user
// that will read it at the next reload.
Status give_metadata_key(const policy::Config& config, proxy::Snapshot& snapshot);

}  // namespace tollgate::daemon
