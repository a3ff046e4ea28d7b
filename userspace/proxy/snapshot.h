// What a worker needs to serve, immutable and swapped as a whole on reload: policy, providers with
// their keys and TLS settings, our certificate. A request keeps the snapshot it was admitted under.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "policy/policy.h"
#include "policy/policy_parse.h"
#include "userspace/base/ip.h"
#include "userspace/base/secret.h"
#include "userspace/tls/channel.h"

namespace tollgate::proxy {

struct Catalog;

// A provider made ready to be dialled. The key never leaves this struct but into a request head.
struct Target {
  std::string provider;
  std::string scheme;
  std::string host;
  std::string authority;  // the Host field: port only when it is not the scheme's
  std::string path_prefix;
  bool websocket = false;  // else a client's WebSocket is bridged to HTTP
  std::string key_name;
  std::shared_ptr<const Secret> key;
  std::shared_ptr<const tls::ClientContext> tls;  // null: plain http on loopback
  std::vector<Endpoint> addresses;                // resolved; never empty once serving
  // Equal for targets whose pooled connections may be shared (same place, same verification).
  std::string pool_key;
};

struct Snapshot {
  std::shared_ptr<const policy::Policy> policy;
  std::vector<std::shared_ptr<const Target>> targets;
  std::shared_ptr<const tls::ServerContext> server_tls;  // null: plain_http
  std::shared_ptr<const Catalog> catalog;                // gateway.model_catalog; null: none
  std::shared_ptr<const Secret> metadata_key;            // null: no policy hashes turn metadata
  // The gateway's own addresses, where others are intercepted as well; else empty.
  std::vector<Endpoint> own_endpoints;

  bool intercepts(const Endpoint& local) const {
    return !own_endpoints.empty() &&
           std::find(own_endpoints.begin(), own_endpoints.end(), local) == own_endpoints.end();
  }
  const std::shared_ptr<const Target>* target_of(std::string_view provider) const {
    for (const auto& target : targets) {
      if (target->provider == provider) return &target;
    }
    return nullptr;
  }
};

}  // namespace tollgate::proxy
