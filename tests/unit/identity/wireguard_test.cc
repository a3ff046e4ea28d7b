#include "userspace/identity/wireguard.h"

#include <gtest/gtest.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cerrno>

#include "tests/unit/identity/netlink_text.h"

namespace tollgate::identity {
namespace {

std::span<const std::byte> bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string whole_peer() {
  sockaddr_storage endpoint{};
  const socklen_t size = sockaddr_from_endpoint(*parse_endpoint("192.0.2.7:51820"), endpoint);
  const int64_t handshake[2] = {1'700'000'000, 5};
  return wg_peer('a', allowed_v4("10.0.0.2") + allowed_v6("fd99::2") + allowed_v4("10.1.0.0", 16),
                 attribute(WGPEER_A_PRESHARED_KEY, std::string(WG_KEY_LEN, 's')) +
                     attribute(WGPEER_A_ENDPOINT, raw(&endpoint, size)) +
                     attribute(WGPEER_A_LAST_HANDSHAKE_TIME, raw_of(handshake)));
}

TEST(DeviceDump, ReadsKeysAddressesEndpointAndHandshake) {
  DeviceDump dump;
  const auto last = dump.add(bytes(generic(wg_device(whole_peer() + wg_peer('b', ""))) + done()));
  ASSERT_TRUE(last) << last.error().text;
  EXPECT_TRUE(*last);
  const auto peers = dump.take();
  ASSERT_EQ(peers.size(), 2u);
  EXPECT_EQ(peers[0].public_key, "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=");
  EXPECT_EQ(peers[0].allowed,
            (std::vector<IpPrefix>{*parse_prefix("10.0.0.2"), *parse_prefix("fd99::2"),
                                   *parse_prefix("10.1.0.0/16")}));
  EXPECT_EQ(peers[0].endpoint, "192.0.2.7:51820");
  EXPECT_EQ(peers[0].last_handshake_unix_s, 1'700'000'000);
  EXPECT_TRUE(peers[1].allowed.empty());
}

TEST(DeviceDump, JoinsAPeerThatIsSpreadOverMessages) {
  DeviceDump dump;
  const auto first = dump.add(bytes(generic(wg_device(wg_peer('a', allowed_v4("10.0.0.2"))))));
  ASSERT_TRUE(first);
  EXPECT_FALSE(*first);
  const auto second = dump.add(bytes(generic(
      wg_device(wg_peer('a', allowed_v4("10.0.0.3")) + wg_peer('b', allowed_v4("10.0.0.4"))))));
  ASSERT_TRUE(second);
  ASSERT_TRUE(dump.add(bytes(done())));
  const auto peers = dump.take();
  ASSERT_EQ(peers.size(), 2u);
  EXPECT_EQ(peers[0].allowed.size(), 2u);
  EXPECT_EQ(peers[1].allowed.size(), 1u);
}

TEST(DeviceDump, SaysWhatTheKernelAnswered) {
  const struct {
    const char* description;
    std::string datagram;
    int sys_errno;
  } rows[] = {
      {"refused", failed(-EPERM), EPERM},
      {"gone meanwhile", done(-ENODEV), ENODEV},
      {"changed meanwhile", generic(wg_device(""), NLM_F_MULTI | NLM_F_DUMP_INTR), EINTR},
      {"an error that is none", failed(5), EBADMSG},
  };
  for (const auto& row : rows) {
    DeviceDump dump;
    const auto answer = dump.add(bytes(row.datagram));
    ASSERT_FALSE(answer) << row.description;
    EXPECT_EQ(answer.error().sys_errno, row.sys_errno) << row.description;
  }
}

TEST(DeviceDump, RefusesWhatIsCutOffAtAnyByte) {
  const std::string all = generic(wg_device(whole_peer()));
  for (size_t length = 1; length < all.size(); ++length) {
    // As cut off by a datagram that ends early, and by a message that says so of itself.
    DeviceDump dump;
    EXPECT_FALSE(dump.add(bytes(all.substr(0, length)))) << length;
    std::string shorter = all.substr(0, length);
    const auto said = static_cast<uint32_t>(length);
    if (length < sizeof(nlmsghdr)) continue;
    std::memcpy(shorter.data(), &said, sizeof said);
    DeviceDump another;
    const auto read = another.add(bytes(shorter));
    if (read) {
      EXPECT_TRUE(another.take().empty()) << length;  // cut before the list of peers
    }
  }
}

TEST(DeviceDump, RefusesStrangePeers) {
  const struct {
    const char* description;
    std::string peers;
  } rows[] = {
      {"no key", nested(0, nested(WGPEER_A_ALLOWEDIPS, allowed_v4("10.0.0.2")))},
      {"short key", nested(0, attribute(WGPEER_A_PUBLIC_KEY, "short"))},
      {"family and address differ", wg_peer('a', allowed_ip(AF_INET6, "1234", 32))},
      {"unknown family", wg_peer('a', allowed_ip(99, "1234", 32))},
      {"length beyond the address", wg_peer('a', allowed_v4("10.0.0.2", 33))},
      {"bits behind the prefix", wg_peer('a', allowed_v4("10.0.0.2", 24))},
      {"no family", wg_peer('a', nested(0, attribute(WGALLOWEDIP_A_IPADDR, "1234")))},
  };
  for (const auto& row : rows) {
    DeviceDump dump;
    EXPECT_FALSE(dump.add(bytes(generic(wg_device(row.peers))))) << row.description;
  }
}

TEST(DeviceDump, TakesNoMappedAddressForIpv4) {
  DeviceDump dump;
  ASSERT_TRUE(dump.add(bytes(generic(wg_device(wg_peer('a', allowed_v6("::ffff:10.0.0.2")))))));
  const auto peers = dump.take();
  ASSERT_EQ(peers.size(), 1u);
  EXPECT_TRUE(peers[0].allowed.empty());
}

TEST(ParseLink, ReadsIndexFlagsAndKind) {
  ifinfomsg info{};
  info.ifi_index = 12;
  info.ifi_flags = IFF_UP;
  const std::string kind =
      nested(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, std::string("wireguard\0", 10)));
  const auto link = parse_link(bytes(message(RTM_NEWLINK, raw_of(info) + kind)));
  ASSERT_TRUE(link);
  EXPECT_EQ(link->ifindex, 12u);
  EXPECT_TRUE(link->up);
  EXPECT_EQ(link->kind, "wireguard");
  info.ifi_flags = 0;
  const auto down = parse_link(bytes(message(RTM_NEWLINK, raw_of(info))));
  ASSERT_TRUE(down);
  EXPECT_FALSE(down->up);
  EXPECT_EQ(down->kind, "");
}

TEST(ParseLink, SaysThatThereIsNone) {
  const auto link = parse_link(bytes(failed(-ENODEV)));
  ASSERT_FALSE(link);
  EXPECT_EQ(link.error().sys_errno, ENODEV);
  EXPECT_FALSE(parse_link({}));
  EXPECT_FALSE(parse_link(bytes(message(RTM_NEWLINK, "short"))));
}

TEST(ParseFamily, ReadsItsNumber) {
  const uint16_t id = 0x1f;
  const auto family = parse_family(bytes(generic(attribute(CTRL_ATTR_FAMILY_ID, raw_of(id)))));
  ASSERT_TRUE(family);
  EXPECT_EQ(*family, id);
  EXPECT_EQ(parse_family(bytes(failed(-ENOENT))).error().sys_errno, ENOENT);
  EXPECT_FALSE(parse_family(bytes(generic(""))));
}

}  // namespace
}  // namespace tollgate::identity
