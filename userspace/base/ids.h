// Identifiers that travel: a peer as the kernel tags it, a request as people quote it.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace tollgate {

// What sock_ops writes into the socket and the policy snapshot resolves. `generation` changes
// whenever what stands behind the id changes; both must match for a request to be anyone's.
struct PeerTag {
  uint32_t peer_id = 0;  // 0 is nobody
  uint32_t generation = 0;
  auto operator<=>(const PeerTag&) const = default;
};

// Minted by the gateway for each request (clients' ids are not unique). 128 bits: 48 of wall-clock
// milliseconds, then random, so that ids sort by time.
struct RequestId {
  uint64_t high = 0;
  uint64_t low = 0;
  auto operator<=>(const RequestId&) const = default;
};

RequestId make_request_id(int64_t wall_unix_ms);
std::string to_string(const RequestId& id);  // "gw_" and 32 hex digits

}  // namespace tollgate
