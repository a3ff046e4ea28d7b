// `tollgated --doctor FILE`: looks at everything that the gateway needs of this host, changes
// nothing, and says of each thing whether it is well and what to do when it is not.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "policy/policy_parse.h"
#include "userspace/identity/peers.h"
#include "userspace/tls/ktls.h"

namespace tollgate::daemon {

struct Finding {
  // degraded: it serves, with less; or it could not be looked at. broken: it does not serve.
  enum class State : uint8_t { ok, degraded, broken };
  State state = State::ok;
  std::string what;  // "certificate"
  std::string says;
  std::string remedy{};  // what to do; of ok: none
};
std::string_view to_string(Finding::State state);
using Findings = std::vector<Finding>;

// Parts that judge what was read.
Finding judge_kernel(const std::string& release);
Finding judge_kernel_tls(const std::string& wanted, const tls::KernelTls& has);
Finding judge_tunnel(const identity::Tunnel& tunnel);
Finding judge_expiry(const std::string& what, int64_t expires_unix_s, int64_t now_unix_s);
// May clients that ask for `host` believe this certificate?
Finding judge_names(const std::string& what, const std::string& host,
                    const std::vector<std::string>& names);
Finding judge_space(const std::string& folder, uint64_t free_bytes);
Finding judge_price_age(const std::string& file, int64_t changed_unix_s, int64_t now_unix_s);
struct FileMode {
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
};
struct Reader {  // whom the daemon becomes
  std::string name;
  uint32_t uid = 0;
  std::vector<uint32_t> gids;
};
// `reader` null: root keeps reading. A key that others may read is refused by the daemon.
Finding judge_key_file(const std::string& what, const std::string& path, const FileMode& file,
                       const Reader* reader);
// The daemon's answer to `status`, or what came instead.
Findings judge_status(const std::string& socket, const std::string& answer);

// Parts that look. doctor_host.cc: the machine; doctor_gateway.cc: what the file names.
void examine_kernel(const policy::Config& config, Findings& findings);
void examine_network(const policy::Config& config, Findings& findings);
void examine_storage(const policy::Config& config, Findings& findings);
void examine_leftovers(const policy::Config& config, Findings& findings);
void examine_files(const policy::Config& config, Findings& findings);
void examine_providers(const policy::Config& config, Findings& findings);
void examine_daemon(const policy::Config& config, Findings& findings);

int exit_code(const Findings& findings);  // 1 when something is broken
void show(std::ostream& out, const Findings& findings);
nlohmann::json to_json(const Findings& findings);

int doctor(std::ostream& out, const std::string& config_path, bool json);

}  // namespace tollgate::daemon
