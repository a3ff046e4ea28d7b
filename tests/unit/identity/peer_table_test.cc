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

TEST(PeerTable, GoesOnWhereTheProcessBeforeEnded) {
  PeerTable before;
  std::vector peers = {peer("wg0", "10.99.0.2", "alice", {"a"}), peer("wg0", "10.99.0.3", "bob")};
  before.assign(peers);
  std::vector left = {peers[0]};
  before.assign(left);
  auto after = PeerTable::from(before.save());
  ASSERT_TRUE(after) << after.error().text;
  std::vector again = {peer("wg0", "10.99.0.2", "alice", {"a"}), peer("wg0", "10.99.0.3", "carol")};
  after->assign(again);
  EXPECT_EQ(again[0].tag, peers[0].tag);
  EXPECT_NE(again[1].tag.peer_id, peers[1].tag.peer_id) << "bob's id, although he has left";
  std::vector late = {peers[0], peer("wg0", "10.99.0.4", "dave")};
  before.assign(late);
  EXPECT_NE(again[1].tag.peer_id, late[1].tag.peer_id) << "both go on for a while";
}

TEST(PeerTable, RefusesToGoOnFromWhatNoTableSaved) {
  PeerTable table;
  std::vector peers = {peer("wg0", "10.99.0.2", "alice"), peer("wg0", "10.99.0.3", "bob")};
  table.assign(peers);
  const struct {
    const char* description;
    void (*change)(PeerTable::Saved&);
    bool good;
  } rows[] = {
      {"as it is", [](PeerTable::Saved&) {}, true},
      {"id 0", [](PeerTable::Saved& s) { s.peers[0].tag.peer_id = 0; }, false},
      {"an id to come", [](PeerTable::Saved& s) { s.peers[0].tag.peer_id = s.next_id; }, false},
      {"a generation to come",
       [](PeerTable::Saved& s) { s.peers[0].tag.generation = s.next_generation; }, false},
      {"one id twice", [](PeerTable::Saved& s) { s.peers[0].tag = s.peers[1].tag; }, false},
      {"one address twice", [](PeerTable::Saved& s) { s.peers[0].address = s.peers[1].address; },
       false},
      {"no next id", [](PeerTable::Saved& s) { s.next_id = 0; }, false},
  };
  for (const auto& row : rows) {
    PeerTable::Saved saved = table.save();
    row.change(saved);
    EXPECT_EQ(PeerTable::from(std::move(saved)).has_value(), row.good) << row.description;
  }
}

TEST(PeerTable, TakesAnotherUserOrKeyForSomebodyNewAndOtherGroupsForTheSame) {
  PeerTable table;
  std::vector before = {peer("wg0", "10.99.0.2", "alice")};
  table.assign(before);
  std::vector moved = {peer("wg0", "10.99.0.2", "alice", {"a"})};
  table.assign(moved);
  EXPECT_EQ(before[0].tag.peer_id, moved[0].tag.peer_id);
  EXPECT_NE(before[0].tag.generation, moved[0].tag.generation);
  std::vector revoked = moved;
  revoked[0].revoked = true;
  table.assign(revoked);
  EXPECT_EQ(moved[0].tag.peer_id, revoked[0].tag.peer_id);
  EXPECT_NE(moved[0].tag.generation, revoked[0].tag.generation);
  std::vector rekeyed = moved;
  rekeyed[0].public_key = "another";
  table.assign(rekeyed);
  EXPECT_NE(moved[0].tag.peer_id, rekeyed[0].tag.peer_id);
  std::vector after = {peer("wg0", "10.99.0.2", "bob")};
  table.assign(after);
  EXPECT_NE(rekeyed[0].tag.peer_id, after[0].tag.peer_id);
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
