// Configured peers and what the tunnels say → the peers in force. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "policy/policy_parse.h"
#include "userspace/base/ip.h"

namespace tollgate::identity {

struct TunnelPeer {
  std::string public_key;  // base64
  std::vector<IpPrefix> allowed;
  std::string endpoint{};  // where it was last heard from; changes as it roams
  int64_t last_handshake_unix_s = 0;
  bool operator==(const TunnelPeer&) const = default;
};

// One interface of gateway.tunnels.
struct Tunnel {
  std::string name;
  uint32_t ifindex = 0;  // 0: it does not exist now
  bool up = false;
  bool wireguard = false;  // its peers are known; otherwise addresses are taken as they are written
  // It is WireGuard, and this is why its peers are not known: they never were (wireguard = false),
  // or not any more (true: then they are nobody).
  std::string unreadable{};
  std::vector<TunnelPeer> peers{};
  bool operator==(const Tunnel&) const = default;
};

// Whether both name the same peers: all but where a peer is and when it was last heard.
bool same_peers(const std::vector<Tunnel>& one, const std::vector<Tunnel>& other);

struct PeerProblem {
  std::string text;             // what, why, and what to write
  std::vector<size_t> entries;  // of `configured`: who of them is nobody because of it
};

struct PeersInForce {
  std::vector<policy::Peer> peers;  // tags and `revoked` unset; each (tunnel, address) once
  std::vector<PeerProblem> problems;
};
PeersInForce peers_in_force(const std::vector<policy::ConfiguredPeer>& configured,
                            const std::vector<Tunnel>& tunnels);

}  // namespace tollgate::identity
