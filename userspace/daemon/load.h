// Files → a snapshot: reads what tollgate.toml names (certificate, keys, prices), keeps nothing
// half-loaded. A reload calls the same functions; when one fails, the last good snapshot stays.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "policy/policy_parse.h"
#include "userspace/base/result.h"
#include "userspace/proxy/snapshot.h"

namespace tollgate::daemon {

// Parses the file; all problems are in the Error's text, one a line.
Result<policy::Config> load_config(const std::string& path);

// Where records are encrypted once the handshake is done, for both sides.
struct TlsPath {
  tls::KernelUse kernel;  // no suite: in userspace
  std::string reason;     // why there, or what the kernel lacks
};
// By gateway.tls and what this kernel can; asks the kernel, before privileges are dropped. An Error
// where "ktls" is not to be had.
Result<TlsPath> choose_tls_path(const policy::GatewayConfig& gateway);

// Everything but the peers, who are the daemon's to name, and the providers' addresses, which
// resolve.h fills in.
Result<std::shared_ptr<proxy::Snapshot>> load_snapshot(const policy::Config& config,
                                                       const tls::KernelUse& kernel);

// Of them, what asks for no secret: who may use which model, at what price, and how Codex is told.
Result<std::shared_ptr<const policy::Policy>> load_policy(const policy::Config& config);
Result<std::shared_ptr<const proxy::Catalog>> load_catalog(const policy::Config& config);

Result<std::string> read_text_file(const std::string& path, size_t bytes_max);

}  // namespace tollgate::daemon
