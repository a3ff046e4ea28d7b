// Files → a snapshot: reads what tollgate.toml names (certificate, keys, prices), keeps nothing
// half-loaded. A reload calls the same functions; when one fails, the last good snapshot stays.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "policy/policy_parse.h"
#include "userspace/base/result.h"
#include "userspace/identity/peer_table.h"
#include "userspace/proxy/snapshot.h"

namespace tollgate::daemon {

// Parses the file; all problems are in the Error's text, one a line.
Result<policy::Config> load_config(const std::string& path);

// Everything but the providers' addresses, which resolve.h fills in.
Result<std::shared_ptr<proxy::Snapshot>> load_snapshot(const policy::Config& config,
                                                       identity::PeerTable& peers);

Result<std::string> read_text_file(const std::string& path, size_t bytes_max);

}  // namespace tollgate::daemon
