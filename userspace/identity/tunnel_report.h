// Tunnels as text, from the process that may ask the kernel to the one that talks to strangers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "userspace/base/result.h"
#include "userspace/identity/peers.h"

namespace tollgate::identity {

std::string report_text(const std::vector<Tunnel>& tunnels);
// Believes nothing: keys, addresses and names are of their shape, each tunnel one of `names`, in
// their order.
Result<std::vector<Tunnel>> parse_report(std::string_view text,
                                         const std::vector<std::string>& names);

}  // namespace tollgate::identity
