// The second belt: an nftables table that outlives the daemon and lets no packet of a peer pass to
// a guarded address, whatever the routes say and whoever listens.
//
//   prerouting   not TCP (QUIC, DNS, ping)            rejected at once
//   input        TCP                                  goes on to a socket that Tollgate steered it
//                                                     to; without one it is reset
//   forward      TCP that the rules did not catch     reset
//
// `nft list table inet tollgate` shows the counters of each.
#pragma once

#include <string>
#include <vector>

#include "userspace/base/ip.h"
#include "userspace/base/result.h"

namespace tollgate::kernel {

// Puts the table into force, or another one into its place in one step. Interfaces are matched by
// name, so that it also holds for those that do not exist yet.
Status set_guard(const std::vector<std::string>& tunnels, const std::vector<IpPrefix>& guarded);
bool has_guard();
Status remove_guard();  // nothing to do where there is none

}  // namespace tollgate::kernel
