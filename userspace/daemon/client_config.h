// `tollgated --client-config FILE`: what makes Codex on a developer's machine use this gateway, as
// files to copy, and whether it would: name, certificate and permission are tried against the
// gateway that runs.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "policy/policy_parse.h"
#include "userspace/daemon/doctor.h"

namespace tollgate::daemon {

// What the files are written from.
struct ClientSetup {
  std::string base_url;  // "https://ai.example.internal/v1"
  std::string user;      // empty: for anybody
  std::string model;     // one that the user may use; empty: Codex chooses
  bool catalog = false;  // the gateway has one for Codex
  bool websocket = false;
  std::string ca_file;                   // empty: a CA that this system trusts, or no TLS
  std::string ca_sha256;                 // its fingerprint
  std::vector<std::string> intercepted;  // hosts that the gateway serves under their own name
};

// What base_url says: the first host name that the certificate is for, else an address.
std::string gateway_host(const policy::GatewayConfig& gateway,
                         const std::vector<std::string>& certificate_names);
std::string base_url_of(const policy::GatewayConfig& gateway, const std::string& host);

std::string config_toml(const ClientSetup& setup);        // ~/.codex/config.toml
std::string requirements_toml(const ClientSetup& setup);  // /etc/codex/requirements.toml
std::string certificate_notes(const ClientSetup& setup);  // as comments

// Parts that judge what was seen.
Finding judge_addresses(const std::string& host, const std::vector<Endpoint>& found,
                        const std::vector<Endpoint>& listen);
// The daemon's answer to `explain`, or what came instead.
Finding judge_explanation(const std::string& user, const std::string& answer);

struct ClientConfigAsk {
  std::string config;
  std::string user{};  // empty: the files for everybody, without a model
  std::string ca{};    // the CA that signed the gateway's certificate; empty: one of the system's
  bool json = false;
};
// The exit code: 1 when something would not work.
int client_config(std::ostream& out, const ClientConfigAsk& ask);

}  // namespace tollgate::daemon
