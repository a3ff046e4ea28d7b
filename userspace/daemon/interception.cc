#include "userspace/daemon/interception.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>

#include "userspace/daemon/resolve.h"
#include "userspace/kernel/guard.h"
#include "userspace/kernel/routes.h"

namespace tollgate::daemon {
namespace {

// At boot there may be no DNS yet; the guard must not wait for it, and a start of the daemon asks
// again.
constexpr std::chrono::milliseconds kDnsPatience{2000};

bool is_ours_or_loopback(const IpAddress& address, const policy::GatewayConfig& gateway) {
  static const IpPrefix kLoopbackV4 = *parse_prefix("127.0.0.0/8");
  static const IpPrefix kLoopbackV6 = *parse_prefix("::1");
  return kLoopbackV4.contains(address) || kLoopbackV6.contains(address) ||
         std::any_of(gateway.listen.begin(), gateway.listen.end(),
                     [&](const Endpoint& endpoint) { return endpoint.address == address; });
}

std::vector<IpPrefix> guarded_prefixes(const policy::Config& config) {
  std::vector<AddressBook::Host> hosts;
  for (const policy::Provider& provider : config.providers)
    hosts.emplace_back(provider.host, provider.port);
  const AddressBook::Addresses found = ask_once(std::move(hosts), kDnsPatience);
  std::vector<IpPrefix> guarded = intercepted_destinations(config);
  const auto guard = [&](const IpAddress& address) {
    if (!is_ours_or_loopback(address, config.gateway)) guarded.emplace_back(address);
  };
  for (const policy::Provider& provider : config.providers) {
    if (provider.connect_to) guard(provider.connect_to->address);
    const auto addresses = found.find({provider.host, provider.port});
    const bool known = addresses != found.end() && !addresses->second.empty();
    if (!known && !provider.connect_to) {
      spdlog::warn("provider {}: {} has no address now: only intercepted destinations are guarded",
                   provider.name, provider.host);
    }
    if (!known) continue;
    for (const Endpoint& endpoint : addresses->second)
      guard(endpoint.address);
  }
  return guarded;
}

}  // namespace

std::vector<IpPrefix> intercepted_destinations(const policy::Config& config) {
  std::vector<IpPrefix> all;
  for (const policy::Intercept& intercept : config.intercepts)
    all.insert(all.end(), intercept.destinations.begin(), intercept.destinations.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

Status install_interception(const policy::Config& config) {
  const policy::GatewayConfig& gateway = config.gateway;
  // The guard first: from the rules on, packets come to this host's own sockets.
  if (Status ok = kernel::set_guard(gateway.tunnels, guarded_prefixes(config)); !ok) return ok;
  return kernel::set_routes(gateway.tunnels, intercepted_destinations(config));
}

Status follow_interception(const policy::Config& config) {
  if (!config.intercepts.empty() || kernel::has_guard()) return install_interception(config);
  return kernel::set_routes({}, {});
}

Status uninstall_interception() {
  // The rules first: without the guard nothing may come to this host's own sockets.
  if (Status ok = kernel::set_routes({}, {}); !ok) return ok;
  return kernel::remove_guard();
}

}  // namespace tollgate::daemon
