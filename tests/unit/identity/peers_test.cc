#include "userspace/identity/peers.h"

#include <gtest/gtest.h>

namespace tollgate::identity {
namespace {

using policy::ConfiguredPeer;

const std::string kAlice(43, 'A');  // shapes do not matter here
const std::string kBob(43, 'B');

ConfiguredPeer entry(const char* user, const char* address, const std::string& key = {},
                     bool prefix_is_one_user = false) {
  ConfiguredPeer peer;
  if (*address != '\0') peer.address = *parse_prefix(address);
  peer.public_key = key;
  peer.prefix_is_one_user = prefix_is_one_user;
  peer.tunnel = "wg0";
  peer.user = user;
  return peer;
}

TunnelPeer owner(const std::string& key, std::initializer_list<const char*> allowed) {
  TunnelPeer peer;
  peer.public_key = key;
  for (const char* text : allowed)
    peer.allowed.push_back(*parse_prefix(text));
  return peer;
}

Tunnel wireguard(std::vector<TunnelPeer> peers) {
  Tunnel tunnel;
  tunnel.name = "wg0";
  tunnel.ifindex = 7;
  tunnel.up = true;
  tunnel.wireguard = true;
  tunnel.peers = std::move(peers);
  return tunnel;
}

Tunnel other(bool exists, bool up) {
  Tunnel tunnel;
  tunnel.name = "wg0";
  tunnel.ifindex = exists ? 7 : 0;
  tunnel.up = up;
  return tunnel;
}

Tunnel unreadable(bool wireguard) {
  Tunnel tunnel = other(true, true);
  tunnel.wireguard = wireguard;
  tunnel.unreadable = "no luck";
  return tunnel;
}

std::string shown(const PeersInForce& result) {
  std::string text;
  for (const policy::Peer& peer : result.peers) {
    text += (text.empty() ? "" : ", ") + peer.user + "=" + to_string(peer.address);
    if (!peer.public_key.empty()) text += "/" + peer.public_key.substr(0, 1);
  }
  return text;
}

struct Row {
  const char* description;
  std::vector<ConfiguredPeer> configured;
  std::vector<Tunnel> tunnels;
  const char* in_force;  // user=address/first letter of the key
  const char* problem;   // part of the only one; empty: none
};

void expect_rows(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    const PeersInForce result = peers_in_force(row.configured, row.tunnels);
    EXPECT_EQ(shown(result), row.in_force) << row.description;
    if (*row.problem == '\0') {
      EXPECT_TRUE(result.problems.empty()) << row.description << ": " << result.problems[0].text;
      continue;
    }
    ASSERT_EQ(result.problems.size(), 1u) << row.description;
    EXPECT_NE(result.problems[0].text.find(row.problem), std::string::npos)
        << row.description << ": " << result.problems[0].text;
  }
}

TEST(PeersInForce, TakesAddressesAsWrittenWhereNobodyNamesTheirOwner) {
  expect_rows({
      {"nobody looks", {entry("alice", "10.0.0.2")}, {}, "alice=10.0.0.2", ""},
      {"no WireGuard", {entry("alice", "10.0.0.2")}, {other(true, true)}, "alice=10.0.0.2", ""},
      {"a prefix on purpose",
       {entry("alice", "10.0.0.0/24", {}, true)},
       {other(true, true)},
       "alice=10.0.0.0/24",
       ""},
      {"a key", {entry("alice", "", kAlice)}, {other(true, true)}, "", "names no keys"},
      {"a key and an address",
       {entry("alice", "10.0.0.2", kAlice)},
       {other(true, true)},
       "",
       "names no keys"},
      {"a key where nobody looks", {entry("alice", "", kAlice)}, {}, "", "names no keys"},
      {"never readable",
       {entry("alice", "10.0.0.2")},
       {unreadable(false)},
       "alice=10.0.0.2",
       "CAP_NET_ADMIN"},
      {"a key, never readable", {entry("alice", "", kAlice)}, {unreadable(false)}, "", "no luck"},
      {"not readable any more", {entry("alice", "10.0.0.2")}, {unreadable(true)}, "", "no luck"},
      {"no interface", {entry("alice", "10.0.0.2")}, {other(false, false)}, "", "does not exist"},
      {"interface down", {entry("alice", "10.0.0.2")}, {other(true, false)}, "", "wg0 is down"},
  });
}

TEST(PeersInForce, GivesAKeyItsSingleAddresses) {
  expect_rows({
      {"all of them",
       {entry("alice", "", kAlice)},
       {wireguard({owner(kAlice, {"10.0.0.2", "fd99::2"}), owner(kBob, {"10.0.0.3"})})},
       "alice=10.0.0.2/A, alice=fd99::2/A",
       ""},
      {"the one that is written",
       {entry("alice", "fd99::2", kAlice)},
       {wireguard({owner(kAlice, {"10.0.0.2", "fd99::2"})})},
       "alice=fd99::2/A",
       ""},
      {"another key's address",
       {entry("alice", "10.0.0.3", kAlice)},
       {wireguard({owner(kAlice, {"10.0.0.2"}), owner(kBob, {"10.0.0.3"})})},
       "",
       "does not give that key this address"},
      {"no such key",
       {entry("alice", "", kAlice)},
       {wireguard({owner(kBob, {"10.0.0.2"})})},
       "",
       "has no peer with that key"},
      {"no address",
       {entry("alice", "", kAlice)},
       {wireguard({owner(kAlice, {})})},
       "",
       "no address"},
      {"down",
       {entry("alice", "", kAlice)},
       {[] {
         Tunnel tunnel = wireguard({owner(kAlice, {"10.0.0.2"})});
         tunnel.up = false;
         return tunnel;
       }()},
       "",
       "wg0 is down"},
  });
}

TEST(PeersInForce, GivesAnAddressToWhoeverOwnsExactlyIt) {
  expect_rows({
      {"owned",
       {entry("alice", "10.0.0.2")},
       {wireguard({owner(kAlice, {"10.0.0.2"})})},
       "alice=10.0.0.2/A",
       ""},
      {"owned by another key now",
       {entry("alice", "10.0.0.2")},
       {wireguard({owner(kBob, {"10.0.0.2"})})},
       "alice=10.0.0.2/B",
       ""},
      {"owned by nobody",
       {entry("alice", "10.0.0.2")},
       {wireguard({owner(kAlice, {"10.0.0.3"})})},
       "",
       "no peer of wg0 owns that address"},
      {"owned by two",
       {entry("alice", "10.0.0.2")},
       {wireguard({owner(kAlice, {"10.0.0.2"}), owner(kBob, {"10.0.0.2"})})},
       "",
       "more than one peer"},
      {"through a prefix",
       {entry("alice", "10.0.0.2")},
       {wireguard({owner(kAlice, {"10.0.0.0/24"})})},
       "",
       "only through 10.0.0.0/24"},
      {"an IPv6 default route owns no IPv4",
       {entry("alice", "10.0.0.2")},
       {wireguard({owner(kAlice, {"::/0"})})},
       "",
       "no peer of wg0 owns that address"},
  });
}

TEST(PeersInForce, TakesAPrefixOnlyForOneUserAndOnlyWhole) {
  const Tunnel mixed = wireguard({owner(kAlice, {"10.0.0.0/24"}), owner(kBob, {"10.0.0.9"})});
  expect_rows({
      {"not asked for",
       {entry("alice", "", kAlice)},
       {wireguard({owner(kAlice, {"10.0.0.0/24", "10.1.0.1"})})},
       "alice=10.1.0.1/A",
       "prefix_is_one_user = true"},
      {"by key",
       {entry("alice", "", kAlice, true)},
       {wireguard({owner(kAlice, {"10.0.0.0/24"})})},
       "alice=10.0.0.0/24/A",
       ""},
      {"by address",
       {entry("alice", "10.0.0.0/24", {}, true)},
       {wireguard({owner(kAlice, {"10.0.0.0/24"})})},
       "alice=10.0.0.0/24/A",
       ""},
      {"another length",
       {entry("alice", "10.0.0.0/25", {}, true)},
       {wireguard({owner(kAlice, {"10.0.0.0/24"})})},
       "",
       "only through 10.0.0.0/24"},
      {"a part of it is a known other's",
       {entry("alice", "", kAlice, true), entry("bob", "", kBob)},
       {mixed},
       "alice=10.0.0.0/24/A, bob=10.0.0.9/B",
       ""},
      {"a part of it is a stranger's",
       {entry("alice", "", kAlice, true)},
       {mixed},
       "",
       "10.0.0.9 in its 10.0.0.0/24 is of key BBBBBBBB..."},
  });
}

TEST(PeersInForce, WithdrawsAPrefixWithTheStrangersPrefixInIt) {
  const std::string carol(43, 'C');
  const PeersInForce result =
      peers_in_force({entry("alice", "", kAlice, true), entry("bob", "", kBob, true)},
                     {wireguard({owner(kAlice, {"10.0.0.0/16"}), owner(kBob, {"10.0.1.0/24"}),
                                 owner(carol, {"10.0.1.7"})})});
  EXPECT_EQ(shown(result), "");
  EXPECT_EQ(result.problems.size(), 2u);
}

TEST(PeersInForce, GivesNobodyWhatTwoClaim) {
  expect_rows({
      {"by key and by address",
       {entry("alice", "", kAlice), entry("bob", "10.0.0.2")},
       {wireguard({owner(kAlice, {"10.0.0.2", "10.0.0.3"})})},
       "alice=10.0.0.3/A",
       "alice and bob claim it"},
      {"by two keys, as one has moved",
       {entry("alice", "10.0.0.2", kAlice), entry("bob", "", kBob)},
       {wireguard({owner(kAlice, {}), owner(kBob, {"10.0.0.2"})})},
       "bob=10.0.0.2/B",
       "does not give that key this address"},
      {"as written",
       {entry("alice", "10.0.0.2"), entry("bob", "10.0.0.2")},
       {other(true, true)},
       "",
       "alice and bob claim it"},
  });
  const PeersInForce result =
      peers_in_force({entry("alice", "10.0.0.2"), entry("bob", "10.0.0.2")}, {});
  ASSERT_EQ(result.problems.size(), 1u);
  EXPECT_EQ(result.problems[0].entries, (std::vector<size_t>{0, 1}));
}

TEST(PeersInForce, SaysOnceWhatConcernsAWholeTunnelAndWhom) {
  const PeersInForce result =
      peers_in_force({entry("alice", "10.0.0.2"), entry("bob", "", kBob)}, {other(false, false)});
  ASSERT_EQ(result.problems.size(), 1u);
  EXPECT_EQ(result.problems[0].entries, (std::vector<size_t>{0, 1}));
}

TEST(PeersInForce, TakesNothingFromATunnelThatIsNotWatchedYet) {
  ConfiguredPeer fresh = entry("alice", "10.0.0.2");
  fresh.tunnel = "wg9";
  expect_rows({{"added by a reload", {fresh}, {other(true, true)}, "", "takes a restart"}});
}

TEST(SamePeers, LooksAtWhatMattersAndNotAtWhereAPeerIs) {
  const std::vector<Tunnel> before = {wireguard({owner(kAlice, {"10.0.0.2"})})};
  std::vector<Tunnel> after = before;
  after[0].peers[0].endpoint = "192.0.2.1:51820";
  after[0].peers[0].last_handshake_unix_s = 5;
  EXPECT_TRUE(same_peers(before, after));
  after[0].ifindex = 8;
  EXPECT_FALSE(same_peers(before, after));
  after = before;
  after[0].up = false;
  EXPECT_FALSE(same_peers(before, after));
  after = before;
  after[0].peers[0].public_key = kBob;
  EXPECT_FALSE(same_peers(before, after));
  after = before;
  after[0].peers[0].allowed.push_back(*parse_prefix("10.0.0.3"));
  EXPECT_FALSE(same_peers(before, after));
  after = before;
  after[0].peers.clear();
  EXPECT_FALSE(same_peers(before, after));
}

}  // namespace
}  // namespace tollgate::identity
