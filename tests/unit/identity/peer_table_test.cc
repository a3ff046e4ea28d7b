#include "userspace/identity/peer_table.h"

#include <gtest/gtest.h>

namespace tollgate::identity {
namespace {

policy::Peer peer(const char* tunnel, const char* address, const char* user,
                  std::vector<std::string> groups = {}) {
  return {{}, *parse_ip(address), tunnel, user, std::move(groups)};
}

TEST(PeerTable, GivesEveryPeerItsOwnTagAndNobodyTheZeroId) {
  PeerTable table;
  std::vector peers = {peer("wg0", "10.99.0.2", "alice"), peer("wg0", "10.99.0.3", "alice"),
                       peer("wg1", "10.99.0.2", "bob")};
  table.assign(peers);
  EXPECT_NE(peers[0].tag.peer_id, peers[1].tag.peer_id);
  EXPECT_NE(peers[0].tag.peer_id, peers[2].tag.peer_id);
  for (const policy::Peer& each : peers)
    EXPECT_NE(each.tag.peer_id, 0u);
}

struct Change {
  const char* description;
  policy::Peer after;
  bool same_tag;
};

TEST(PeerTable, ChangesTheTagWithWhateverStandsBehindIt) {
  const Change changes[] = {
      {"nothing changed", peer("wg0", "10.99.0.2", "alice", {"a"}), true},
      {"another user", peer("wg0", "10.99.0.2", "bob", {"a"}), false},
      {"another group", peer("wg0", "10.99.0.2", "alice", {"b"}), false},
      {"no group any more", peer("wg0", "10.99.0.2", "alice"), false},
      {"another tunnel", peer("wg1", "10.99.0.2", "alice", {"a"}), false},
      {"another address", peer("wg0", "10.99.0.3", "alice", {"a"}), false},
  };
  for (const Change& change : changes) {
    PeerTable table;
    std::vector before = {peer("wg0", "10.99.0.2", "alice", {"a"})};
    table.assign(before);
    std::vector after = {change.after};
    table.assign(after);
    EXPECT_EQ(before[0].tag == after[0].tag, change.same_tag) << change.description;
  }
}

TEST(PeerTable, KeepsTheIdAcrossAChangeOfUserWithANewGeneration) {
  PeerTable table;
  std::vector before = {peer("wg0", "10.99.0.2", "alice")};
  table.assign(before);
  std::vector after = {peer("wg0", "10.99.0.2", "bob")};
  table.assign(after);
  EXPECT_EQ(before[0].tag.peer_id, after[0].tag.peer_id);
  EXPECT_NE(before[0].tag.generation, after[0].tag.generation);
}

TEST(PeerTable, NeverGivesATagTwiceToAPeerThatLeftAndCameBack) {
  PeerTable table;
  std::vector first = {peer("wg0", "10.99.0.2", "alice")};
  table.assign(first);
  std::vector<policy::Peer> none;
  table.assign(none);
  std::vector back = {peer("wg0", "10.99.0.2", "alice")};
  table.assign(back);
  EXPECT_NE(first[0].tag.peer_id, back[0].tag.peer_id);
  EXPECT_NE(first[0].tag.generation, back[0].tag.generation);
}

TEST(UserspaceResolver, FindsAPeerByItsAddressUnlessTwoTunnelsShareIt) {
  PeerTable table;
  policy::Policy::Parts parts;
  parts.peers = {peer("wg0", "10.99.0.2", "alice"), peer("wg0", "10.99.0.3", "bob"),
                 peer("wg1", "10.99.0.3", "carol")};
  table.assign(parts.peers);
  const PeerTag alice = parts.peers[0].tag;
  const policy::Policy policy(std::move(parts));
  const auto resolver = make_userspace_resolver();
  EXPECT_STREQ(resolver->name(), "userspace");
  EXPECT_EQ(resolver->resolve(-1, *parse_ip("10.99.0.2"), policy), alice);
  EXPECT_EQ(resolver->resolve(-1, *parse_ip("10.99.0.3"), policy), std::nullopt);
  EXPECT_EQ(resolver->resolve(-1, *parse_ip("10.99.0.4"), policy), std::nullopt);
}

}  // namespace
}  // namespace tollgate::identity
