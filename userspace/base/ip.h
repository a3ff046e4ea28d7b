// IP addresses as values: an IPv4 address is kept as ::ffff:a.b.c.d, so that one key serves both
// families and a v4-mapped peer is the same peer.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace tollgate {

struct IpAddress {
  std::array<uint8_t, 16> bytes{};  // network order
  auto operator<=>(const IpAddress&) const = default;
  bool is_v4() const;
};

struct Endpoint {
  IpAddress address;
  uint16_t port = 0;  // host order
  auto operator<=>(const Endpoint&) const = default;
};

// Addresses that begin alike. Bits count in the 16 bytes: an IPv4 /24 has 120.
struct IpPrefix {
  IpPrefix() = default;
  IpPrefix(const IpAddress& first, uint8_t length = 128) : address(first), bits(length) {}
  IpAddress address;  // bits behind the prefix are zero
  uint8_t bits = 128;
  auto operator<=>(const IpPrefix&) const = default;
  bool contains(const IpAddress& other) const;  // of its own family: ::/0 holds no IPv4
  bool is_single() const { return bits == 128; }
};

// "10.0.0.0/24", "fd99::/64", or an address alone; nothing when bits behind the prefix are set.
std::optional<IpPrefix> parse_prefix(std::string_view text);
std::string to_string(const IpPrefix& prefix);  // a single address without its length

// "10.0.0.1", "fd99::1"; no prefix length, no zone.
std::optional<IpAddress> parse_ip(std::string_view text);
// "10.0.0.1:443", "[fd99::1]:443"; port 1 to 65535.
std::optional<Endpoint> parse_endpoint(std::string_view text);
std::string to_string(const IpAddress& address);
std::string to_string(const Endpoint& endpoint);

// v4-mapped addresses come back as IPv4 in both directions.
std::optional<Endpoint> endpoint_from_sockaddr(const sockaddr_storage& from);
// Returns the length to pass to bind or connect.
socklen_t sockaddr_from_endpoint(const Endpoint& endpoint, sockaddr_storage& to);

}  // namespace tollgate

template <>
struct std::hash<tollgate::IpAddress> {
  size_t operator()(const tollgate::IpAddress& a) const noexcept {
    return std::hash<std::string_view>{}(
        {reinterpret_cast<const char*>(a.bytes.data()), a.bytes.size()});
  }
};
