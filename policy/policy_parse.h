// tollgate.toml → values. Pure: text in, values or a list of problems out; files that the text
// names (keys, certificates, prices) are opened by the daemon. Every problem says line, key, what
// is wrong and what to write; all of them are reported, not only the first. Unknown keys are
// errors: a limit that is misspelt must not be silently absent.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "policy/policy.h"

namespace tollgate::policy {

struct Limits {  // [limits]: what bounds memory and time; see deploy/tollgate.example.toml
  uint32_t connections_max = 8192;
  uint32_t head_bytes_max = 64 * 1024;
  uint64_t body_bytes_max = 64ull * 1024 * 1024;
  uint64_t body_memory_bytes_max = 1024ull * 1024 * 1024;  // all bodies in flight together
  uint64_t event_bytes_max = 32ull * 1024 * 1024;          // one SSE event
  uint32_t client_idle_ms = 75'000;                        // between requests
  uint32_t client_request_ms = 120'000;                    // head and body must arrive within
  uint32_t client_stall_ms = 120'000;                      // a client that takes no bytes
  uint32_t upstream_connect_ms = 10'000;                   // TCP and TLS
  uint32_t upstream_first_byte_ms = 600'000;
  uint32_t upstream_silence_ms = 300'000;  // between bytes of an answer
  uint32_t upstream_idle_pool_ms = 60'000;
  uint32_t drain_ms = 30'000;           // SIGTERM: how long open streams may go on
  uint32_t upgrade_drain_ms = 600'000;  // the same for the process that an upgrade replaces
  // An event goes to the client after so much silence of the provider.
  uint32_t keepalive_ms = 45'000;
  uint32_t websocket_ms = 3'600'000;  // how old a client's WebSocket gets
  // How long an aborted request may still bring its usage with on_client_abort = "cancel".
  uint32_t abort_drain_ms = 2000;
};

struct Alerts {                                              // [alerts]
  std::vector<uint32_t> thresholds_percent = {75, 90, 100};  // of a limit; ascending
  std::string webhook;                                       // "": none. Its path often is a secret
};

struct GatewayConfig {  // [gateway]
  std::vector<Endpoint> listen;
  std::vector<std::string> tunnels;
  std::string certificate;
  std::string private_key;
  std::string contact;
  std::string state_dir = "/var/lib/tollgate";
  std::string run_dir = "/run/tollgate";
  std::string price_file = "/usr/share/tollgate/prices.json";
  std::string model_catalog;      // what Codex is shown of models; "": nothing of its own
  std::string user = "tollgate";  // what root becomes; "" keeps the user
  std::string bpffs = "/sys/fs/bpf";
  std::string steering = "bpf";  // "bpf" | "userspace"
  std::string io = "io_uring";   // "io_uring" | "poll"
  std::string tls = "auto";      // "auto" | "ktls" | "userspace"
  std::string on_unmetered =
      "alarm";              // "alarm" | "refuse": what bytes without a record bring about
  bool plain_http = false;  // listen without TLS; only on tunnel addresses
  uint32_t workers = 0;     // 0: one per CPU
};

// [[peer]]: by address, by the tunnel's public key, or both (then both must hold).
struct ConfiguredPeer {
  std::optional<IpPrefix> address;  // nothing: every address that the tunnel gives this key
  std::string public_key;           // WireGuard's, base64; empty: the address alone
  bool prefix_is_one_user = false;  // otherwise a prefix is refused: its sources are many machines
  std::string tunnel;
  std::string user;
  std::vector<std::string> groups;  // sorted
};

// [[intercept]]: a provider's host that clients reach by its own name, through the tunnel.
struct Intercept {
  std::string host;                    // what SNI must say
  std::vector<IpPrefix> destinations;  // its addresses, as they are routed into the tunnel
  std::string certificate;             // for that host, of a CA that the clients trust
  std::string private_key;
};

struct Config {
  GatewayConfig gateway;
  Limits limits;
  Alerts alerts;
  std::vector<Intercept> intercepts;
  std::vector<Provider> providers;
  std::vector<Group> groups;
  std::vector<ConfiguredPeer> peers;
  std::vector<Rule> rules;
};

struct Problem {
  uint32_t line = 0;
  std::string key;     // "policy[1].models"
  std::string text;    // what is wrong, with the value
  std::string remedy;  // what to write
};
std::string to_string(const Problem& problem, std::string_view file);

std::variant<Config, std::vector<Problem>> parse_config(std::string_view toml);

}  // namespace tollgate::policy
