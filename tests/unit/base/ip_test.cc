#include "userspace/base/ip.h"

#include <gtest/gtest.h>

namespace tollgate {
namespace {

struct Row {
  const char* description;
  std::string text;
  std::optional<std::string> shown;  // nothing: refused
};

TEST(ParseIp, AcceptsLiteralsOnly) {
  const Row rows[] = {
      {"IPv4", "10.0.0.1", "10.0.0.1"},
      {"IPv6", "fd99::1", "fd99::1"},
      {"a v4-mapped address is the IPv4 one", "::ffff:10.0.0.1", "10.0.0.1"},
      {"prefix", "10.0.0.0/8", std::nullopt},
      {"zone", "fe80::1%eth0", std::nullopt},
      {"leading zero", "010.0.0.1", std::nullopt},
      {"short form", "10.1", std::nullopt},
      {"empty", "", std::nullopt},
      {"space", " 10.0.0.1", std::nullopt},
      {"a zero byte hides nothing", std::string("10.0.0.1\0x", 10), std::nullopt},
  };
  for (const Row& row : rows) {
    const auto address = parse_ip(row.text);
    ASSERT_EQ(address.has_value(), row.shown.has_value()) << row.description;
    if (address) {
      EXPECT_EQ(to_string(*address), *row.shown) << row.description;
    }
  }
}

TEST(ParseEndpoint, WantsBracketsAroundIpv6AndAPort) {
  const Row rows[] = {
      {"IPv4", "10.0.0.1:443", "10.0.0.1:443"},
      {"IPv6", "[fd99::1]:65535", "[fd99::1]:65535"},
      {"IPv6 without brackets", "fd99::1:443", std::nullopt},
      {"IPv4 in brackets", "[10.0.0.1]:443", std::nullopt},
      {"port 0", "10.0.0.1:0", std::nullopt},
      {"port too large", "10.0.0.1:65536", std::nullopt},
      {"sign", "10.0.0.1:+443", std::nullopt},
      {"no port", "10.0.0.1", std::nullopt},
      {"empty port", "10.0.0.1:", std::nullopt},
      {"name", "localhost:443", std::nullopt},
  };
  for (const Row& row : rows) {
    const auto endpoint = parse_endpoint(row.text);
    ASSERT_EQ(endpoint.has_value(), row.shown.has_value()) << row.description;
    if (endpoint) {
      EXPECT_EQ(to_string(*endpoint), *row.shown) << row.description;
    }
  }
}

TEST(IpPrefix, HoldsAddressesOfItsOwnFamilyAlone) {
  const struct {
    const char* prefix;
    const char* address;
    bool holds;
  } rows[] = {{"10.0.0.0/24", "10.0.0.255", true}, {"10.0.0.0/24", "10.0.1.0", false},
              {"10.0.0.0/23", "10.0.1.0", true},   {"0.0.0.0/0", "192.0.2.1", true},
              {"0.0.0.0/0", "fd99::1", false},     {"::/0", "fd99::1", true},
              {"::/0", "192.0.2.1", false},        {"10.0.0.1", "10.0.0.1", true}};
  for (const auto& [prefix, address, holds] : rows)
    EXPECT_EQ(parse_prefix(prefix)->contains(*parse_ip(address)), holds) << prefix << address;
}

TEST(Sockaddr, RoundTripsBothFamilies) {
  for (const char* text : {"10.0.0.1:443", "[fd99::1]:8443"}) {
    const auto endpoint = parse_endpoint(text);
    ASSERT_TRUE(endpoint);
    sockaddr_storage storage{};
    const socklen_t length = sockaddr_from_endpoint(*endpoint, storage);
    EXPECT_EQ(length, endpoint->address.is_v4() ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    EXPECT_EQ(endpoint_from_sockaddr(storage), endpoint) << text;
  }
  sockaddr_storage unix_address{};
  unix_address.ss_family = AF_UNIX;
  EXPECT_FALSE(endpoint_from_sockaddr(unix_address));
}

}  // namespace
}  // namespace tollgate
