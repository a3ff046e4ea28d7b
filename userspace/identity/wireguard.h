// What the kernel is asked about a tunnel and how its answers read (netlink, linux/wireguard.h).
// Pure: bytes in, values out; the sockets are tunnel_reader's. Of a device's answer, its private
// key and its peers' preshared keys are never looked at.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "userspace/base/result.h"
#include "userspace/identity/peers.h"

namespace tollgate::identity {

using Bytes = std::vector<std::byte>;

Bytes link_question(const std::string& interface);
Bytes family_question();  // WireGuard's number among the generic families
Bytes device_question(uint16_t family, uint32_t ifindex);

struct Link {
  uint32_t ifindex = 0;
  bool up = false;
  std::string kind;  // "wireguard", "tun"; empty: the kernel does not say
};

// Error::sys_errno is what the kernel answered, ENODEV for one: no such interface.
Result<Link> parse_link(std::span<const std::byte> datagram);
Result<uint16_t> parse_family(std::span<const std::byte> datagram);

// The peers of a device, which come in several datagrams. The allowed-ips of one peer may be spread
// over several messages too.
class DeviceDump {
 public:
  // True: this was the last one. EINTR: the device changed meanwhile; ask again.
  Result<bool> add(std::span<const std::byte> datagram);
  std::vector<TunnelPeer> take() { return std::move(peers_); }

 private:
  bool add_device(std::span<const std::byte> attributes);
  bool add_peer(std::span<const std::byte> attributes);

  std::vector<TunnelPeer> peers_;
};

}  // namespace tollgate::identity
