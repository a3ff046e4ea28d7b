// What brings packets for somebody else's addresses to our sockets, for each family that needs it:
//
//   ip rule  pref 90  iif TUNNEL  to DESTINATION  lookup 29799     one for each pair
//   ip route local default dev lo table 29799
//
// Only what comes in by a tunnel is looked up there: the gateway's own connections to the same
// addresses take the ordinary way. A rule may name an interface that does not exist yet.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "userspace/base/ip.h"
#include "userspace/base/result.h"

namespace tollgate::kernel {

// Before the rules of WireGuard, Tailscale and NetBird, behind the kernel's own `local` table: an
// address of the gateway itself is never intercepted.
inline constexpr uint32_t kRulePriority = 90;
inline constexpr uint32_t kRouteTable = 29799;  // 0x7467, "tg"; every rule that leads here is ours

// Adds what is missing, then removes what is ours and no longer wanted. No destinations: all goes.
Status set_routes(const std::vector<std::string>& tunnels,
                  const std::vector<IpPrefix>& destinations);

}  // namespace tollgate::kernel
