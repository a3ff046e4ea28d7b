#include "userspace/proxy/admit.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/proxy/snapshot_for_tests.h"

namespace tollgate::proxy {
namespace {

using policy::Refusal;
using policy::RefusalCode;

codec::RequestFacts asking_for(const char* model) {
  codec::RequestFacts facts;
  facts.model = model;
  return facts;
}

struct Case {
  const char* description;
  PeerTag tag;
  codec::RequestFacts facts;
  bool store_healthy;
  bool draining;
  std::optional<RefusalCode> refusal;
};

TEST(Admit, EachGateHasItsNearestRefusal) {
  const auto snapshot = snapshot_for_tests();
  const codec::RequestFacts good = asking_for("gpt-a");
  codec::RequestFacts background = good;
  background.background = true;
  codec::RequestFacts other_tier = good;
  other_tier.service_tier = "flex";
  codec::RequestFacts priority = good;
  priority.service_tier = "priority";
  const Case cases[] = {
      {"all gates open", kAlice, good, true, false, std::nullopt},
      {"a priced tier", kAlice, priority, true, false, std::nullopt},
      {"no tag", PeerTag{}, good, true, false, RefusalCode::peer_unknown},
      {"an older generation", PeerTag{1, 0}, good, true, false, RefusalCode::identity_changed},
      {"a newer generation", PeerTag{1, 2}, good, true, false, RefusalCode::identity_changed},
      {"an id that is nobody's", PeerTag{9, 1}, good, true, false, RefusalCode::identity_changed},
      {"background", kAlice, background, true, false, RefusalCode::feature_denied},
      {"no policy for the user", kBob, good, true, false, RefusalCode::policy_none},
      {"a model outside of the globs", kAlice, asking_for("gpt-b"), true, false,
       RefusalCode::model_denied},
      {"a model without a price", kAlice, asking_for("gpt-unpriced"), true, false,
       RefusalCode::price_unknown},
      {"a tier without a price", kAlice, other_tier, true, false, RefusalCode::price_unknown},
      {"draining", kAlice, good, true, true, RefusalCode::draining},
      {"the ledger cannot record", kAlice, good, false, false, RefusalCode::store_unavailable},
  };
  for (const Case& c : cases) {
    const auto verdict = admit({.snapshot = snapshot,
                                .tag = c.tag,
                                .facts = &c.facts,
                                .store_healthy = c.store_healthy,
                                .draining = c.draining});
    if (!c.refusal) {
      ASSERT_TRUE(std::holds_alternative<Admission>(verdict)) << c.description;
      const auto& admission = std::get<Admission>(verdict);
      EXPECT_EQ(admission.rule->name, "engineering-codex");
      EXPECT_EQ(admission.target->key_name, "main");
      EXPECT_EQ(admission.served_model, "gpt-a");
    } else {
      ASSERT_TRUE(std::holds_alternative<Refusal>(verdict)) << c.description;
      EXPECT_EQ(std::get<Refusal>(verdict).code, *c.refusal) << c.description;
      EXPECT_FALSE(std::get<Refusal>(verdict).message.empty()) << c.description;
    }
  }
}

TEST(Admit, AnAdmissionKeepsTheSnapshotItWasMadeUnder) {
  auto snapshot = snapshot_for_tests();
  const codec::RequestFacts facts = asking_for("gpt-a");
  auto verdict =
      admit({.snapshot = snapshot, .tag = kAlice, .facts = &facts, .store_healthy = true});
  const std::weak_ptr<const Snapshot> watch = snapshot;
  snapshot.reset();
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(std::get<Admission>(verdict).peer->user, "alice@example.com");
}

TEST(Admit, AStrangerHearsTheAddressAndWhomToAsk) {
  const auto snapshot = snapshot_for_tests();
  const auto who = identify(*snapshot, {}, "203.0.113.9");
  const std::string& message = std::get<Refusal>(who).message;
  EXPECT_NE(message.find("203.0.113.9"), message.npos);
  EXPECT_NE(message.find("ask #ai-platform"), message.npos);
}

}  // namespace
}  // namespace tollgate::proxy
