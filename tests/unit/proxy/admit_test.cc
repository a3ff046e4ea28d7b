#include "userspace/proxy/admit.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/proxy/admit_for_tests.h"

namespace tollgate::proxy {
namespace {

using policy::LimitUnit;
using policy::Refusal;
using policy::RefusalCode;

struct Case {
  const char* description;
  PeerTag tag;
  codec::RequestFacts facts;
  bool store_healthy;
  bool draining;
  std::optional<RefusalCode> refusal;
};

policy::Policy::Parts parts_revoking_alice() {
  policy::Policy::Parts parts = parts_for_tests();
  parts.peers[0].revoked = true;
  parts.peers[0].revoked_why = "laptop lost";
  parts.peers[0].tag.generation = 2;
  return parts;
}

TEST(Identify, SaysRevokedToConnectionsOfBeforeAndAfter) {
  const auto snapshot = snapshot_for_tests(parts_revoking_alice());
  for (const PeerTag tag : {kAlice, PeerTag{1, 2}}) {
    const auto who = identify(*snapshot, tag, "10.99.0.2");
    ASSERT_TRUE(std::holds_alternative<Refusal>(who));
    EXPECT_EQ(std::get<Refusal>(who).code, RefusalCode::access_revoked);
    EXPECT_NE(std::get<Refusal>(who).message.find("laptop lost"), std::string::npos);
  }
  EXPECT_TRUE(std::holds_alternative<const policy::Peer*>(identify(*snapshot, kBob, "10.99.0.3")));
}

TEST(Admit, RefusesARevokedPeerAndHoldsNothing) {
  World world(parts_revoking_alice());
  EXPECT_EQ(denied(world, asking_for("gpt-a")).refusal.code, RefusalCode::access_revoked);
  EXPECT_EQ(world.holds_open(), 0u);
}

TEST(StopsNow, EndsARunningRequestForWhatTheNewPolicyNoLongerAllows) {
  struct Row {
    const char* description;
    void (*change)(policy::Policy::Parts&);
    const char* model;
    const char* tier;
    std::optional<RefusalCode> refusal;
  };
  const Row rows[] = {
      {"nothing changed", [](auto&) {}, "gpt-a", "", std::nullopt},
      {"another generation, still allowed",
       [](auto& parts) {
         parts.peers[0].groups.push_back("more");
         parts.peers[0].tag.generation = 2;
       },
       "gpt-a", "priority", std::nullopt},
      {"revoked", [](auto& parts) { parts.peers[0].revoked = true; }, "gpt-a", "",
       RefusalCode::access_revoked},
      {"somebody else revoked", [](auto& parts) { parts.peers[1].revoked = true; }, "gpt-a", "",
       std::nullopt},
      {"the peer is gone", [](auto& parts) { parts.peers.erase(parts.peers.begin()); }, "gpt-a", "",
       RefusalCode::identity_changed},
      {"its address is somebody else's",
       [](auto& parts) {
         parts.peers[0].tag = {7, 2};
         parts.peers[0].user = "eve@example.com";
       },
       "gpt-a", "", RefusalCode::identity_changed},
      {"out of the group", [](auto& parts) { parts.peers[0].groups.clear(); }, "gpt-a", "",
       RefusalCode::policy_none},
      {"another model only", [](auto& parts) { parts.rules[0].models = {"gpt-b"}; }, "gpt-a", "",
       RefusalCode::model_denied},
      {"the model it was stepped down to", [](auto& parts) { parts.rules[0].models = {"gpt-b"}; },
       "gpt-b", "", std::nullopt},
      {"a tier without a price", [](auto&) {}, "gpt-a", "flex", RefusalCode::price_unknown},
  };
  for (const Row& row : rows) {
    policy::Policy::Parts parts = parts_for_tests();
    row.change(parts);
    const auto refusal =
        stops_now(*snapshot_for_tests(std::move(parts)),
                  {.tag = kAlice, .remote = "10.99.0.2", .model = row.model, .tier = row.tier});
    EXPECT_EQ(refusal.has_value(), row.refusal.has_value()) << row.description;
    if (refusal && row.refusal) {
      EXPECT_EQ(refusal->code, *row.refusal) << row.description;
    }
  }
}

TEST(Admit, EachGateHasItsNearestRefusal) {
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
    World world;
    AdmitAsk ask = ask_in(world, c.facts);
    ask.tag = c.tag;
    ask.store_healthy = c.store_healthy;
    ask.draining = c.draining;
    const auto verdict = admit(ask);
    if (!c.refusal) {
      ASSERT_TRUE(std::holds_alternative<Admission>(verdict)) << c.description;
      const auto& admission = std::get<Admission>(verdict);
      EXPECT_EQ(admission.rule->name, "engineering-codex");
      EXPECT_EQ(admission.target->key_name, "main");
      EXPECT_EQ(admission.served_model, "gpt-a");
      EXPECT_TRUE(admission.changes.empty()) << c.description;
      EXPECT_EQ(world.holds_open(), 1u) << c.description;
    } else {
      ASSERT_TRUE(std::holds_alternative<Denial>(verdict)) << c.description;
      EXPECT_EQ(std::get<Denial>(verdict).refusal.code, *c.refusal) << c.description;
      EXPECT_FALSE(std::get<Denial>(verdict).refusal.message.empty()) << c.description;
      EXPECT_EQ(world.holds_open(), 0u) << c.description;
    }
  }
}

TEST(Admit, UnmeteredTrafficClosesTheGateInWords) {
  World world;
  const codec::RequestFacts facts = asking_for("gpt-a");
  AdmitAsk ask = ask_in(world, facts);
  ask.unmetered = true;
  const auto verdict = admit(ask);
  ASSERT_TRUE(std::holds_alternative<Denial>(verdict));
  const Refusal& refusal = std::get<Denial>(verdict).refusal;
  EXPECT_EQ(refusal.code, RefusalCode::unmetered_traffic);
  EXPECT_NE(refusal.message.find("`tollgate unmetered`"), std::string::npos) << refusal.message;
  EXPECT_EQ(world.holds_open(), 0u);
}

TEST(Admit, AnAdmissionKeepsTheSnapshotItWasMadeUnder) {
  World world;
  const codec::RequestFacts facts = asking_for("gpt-a");
  const Admission admission = admitted(world, facts);
  const std::weak_ptr<const Snapshot> watch = world.snapshot;
  world.snapshot.reset();
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(admission.peer->user, "alice@example.com");
}

TEST(Admit, AStrangerHearsTheAddressAndWhomToAsk) {
  const auto snapshot = snapshot_for_tests();
  const auto who = identify(*snapshot, {}, "203.0.113.9");
  const std::string& message = std::get<Refusal>(who).message;
  EXPECT_NE(message.find("203.0.113.9"), message.npos);
  EXPECT_NE(message.find("ask #ai-platform"), message.npos);
}

TEST(Admit, HoldsWhatSuchARequestUsuallyTakes) {
  World world(parts_with(limit_for_tests(LimitUnit::usd, 10 * kHoldCost)));
  const codec::RequestFacts facts = asking_for("gpt-a");
  const Admission admission = admitted(world, facts);
  EXPECT_EQ(admission.hold.input_tokens, 1'000u);
  EXPECT_EQ(admission.hold.output_tokens, 2'000u);
  EXPECT_EQ(admission.hold.cost.value, kHoldCost);
  EXPECT_EQ(admission.expected_input_tokens, 1'000u);
  EXPECT_EQ(world.first_limit().held, kHoldCost);
  ASSERT_EQ(admission.standing.size(), 1u);
  EXPECT_EQ(admission.standing[0].used_percent, 0u);
  EXPECT_EQ(admission.standing[0].window_minutes, 1'440u);
  EXPECT_EQ(admission.warning, "");
}

TEST(Admit, AnEstimateIsHeldUpToAWholeLimitAndThatIsWhatTheAdmissionSays) {
  policy::Policy::Parts parts = parts_with(limit_for_tests(LimitUnit::usd, kHoldCost / 2));
  parts.rules[0].limits.push_back(limit_for_tests(LimitUnit::tokens, 1'200));
  World world(std::move(parts));
  const codec::RequestFacts facts = asking_for("gpt-a");
  const Admission admission = admitted(world, facts);
  EXPECT_EQ(admission.hold.cost.value, kHoldCost / 2);
  EXPECT_EQ(admission.hold.input_tokens, 1'000u);
  EXPECT_EQ(admission.hold.output_tokens, 200u);
  EXPECT_EQ(world.first_limit().held, kHoldCost / 2);
  EXPECT_EQ(denied(world, facts).refusal.code, RefusalCode::budget_exceeded);
}

TEST(Admit, LearnsWhatTheUsersRequestsTake) {
  World world;
  world.budgets.with([](policy::Budgets& budgets) {
    for (int i = 0; i < 3; ++i)
      budgets.calibration().learn("alice@example.com", "gpt-a", 10'000, 1'000, 300);
    return 0;
  });
  const codec::RequestFacts facts = asking_for("gpt-a");
  const Admission admission = admitted(world, facts);
  EXPECT_EQ(admission.hold.input_tokens, 301u);
  EXPECT_EQ(admission.hold.output_tokens, 300u);
}

TEST(Admit, WritesTheOutputCapWhereItIsMissingOrLarger) {
  struct Row {
    const char* description;
    std::optional<uint64_t> asked;
    const char* written;
    uint64_t held;
  };
  const Row rows[] = {
      {"missing", std::nullopt, "1500", 1'500},
      {"larger", 1'501, "1500", 1'500},
      {"equal", 1'500, "unchanged", 1'500},
      {"smaller", 20, "unchanged", 20},
      {"none", 0, "1500", 1'500},
  };
  for (const Row& row : rows) {
    policy::Policy::Parts parts = parts_for_tests();
    parts.rules[0].max_output_tokens = 1'500;
    World world(std::move(parts));
    codec::RequestFacts facts = asking_for("gpt-a");
    facts.max_output_tokens = row.asked;
    const Admission admission = admitted(world, facts);
    EXPECT_EQ(change(admission, "max_output_tokens"), row.written) << row.description;
    EXPECT_EQ(admission.hold.output_tokens, row.held) << row.description;
  }
  World without_cap;
  codec::RequestFacts facts = asking_for("gpt-a");
  EXPECT_TRUE(admitted(without_cap, facts).changes.empty());
}

TEST(Admit, AUsedUpLimitRefusesWithTheTimeAndHoldsNothing) {
  World world(parts_with(limit_for_tests(LimitUnit::usd, kHoldCost)));
  const codec::RequestFacts facts = asking_for("gpt-a");
  const AdmitAsk first = ask_in(world, facts);
  ASSERT_TRUE(std::holds_alternative<Admission>(admit(first)));
  world.budgets.with([&](policy::Budgets& budgets) {
    return budgets.settle({first.id, {{kHoldCost / 2}, 3'000}, world.budgets.now()});
  });
  const Denial denial = denied(world, facts);
  EXPECT_EQ(denial.refusal.code, RefusalCode::budget_exceeded);
  EXPECT_GT(denial.refusal.resets_unix_s, wall_unix_ms() / 1'000);
  EXPECT_NE(denial.refusal.promo, "");
  ASSERT_EQ(denial.standing.size(), 1u);
  EXPECT_EQ(denial.standing[0].used_percent, 50u);
  EXPECT_EQ(world.holds_open(), 0u);
}

TEST(Admit, ALimitMaySayToServeACheaperModel) {
  World world(parts_with(downgrading(1)));
  use_up(world);
  codec::RequestFacts facts = asking_for("gpt-b");
  Admission admission = admitted(world, facts);
  EXPECT_EQ(admission.served_model, "gpt-a");
  EXPECT_EQ(change(admission, "model"), "\"gpt-a\"");
  EXPECT_EQ(change(admission, "service_tier"), "unchanged");
  EXPECT_EQ(admission.hold.cost.value, kHoldCost);
  // The limit does not stop the cheaper one, and counts it.
  EXPECT_EQ(world.first_limit().held, kHoldCost);
}

TEST(Admit, TheTierIsRewrittenWhereTheCheaperModelHasNoPriceForIt) {
  for (const bool priced : {true, false}) {
    policy::Policy::Parts parts = parts_with(downgrading(1));
    std::vector<policy::ModelPrice> prices = parts.prices.models();
    for (policy::ModelPrice& price : prices) {
      price.tiers["priority"] = price.tiers["default"];
      if (price.model == "gpt-a" && !priced) price.tiers.erase("priority");
    }
    parts.prices = policy::PriceTable("test-2", prices);
    World world(std::move(parts));
    use_up(world);
    codec::RequestFacts facts = asking_for("gpt-b");
    facts.service_tier = "priority";
    const Admission admission = admitted(world, facts);
    EXPECT_EQ(admission.served_model, "gpt-a");
    EXPECT_EQ(admission.tier, priced ? "priority" : "default");
    EXPECT_EQ(change(admission, "service_tier"), priced ? "unchanged" : "\"default\"");
  }
}

TEST(Admit, LimitsThatStepDownToEachOtherEnd) {
  policy::Limit limit = downgrading(1);
  policy::Policy::Parts parts = parts_with(limit);
  limit.downgrade_model = "gpt-b";
  limit.window.rolling_ms /= 2;
  parts.rules[0].limits.push_back(limit);
  World world(std::move(parts));
  use_up(world);
  const codec::RequestFacts facts = asking_for("gpt-a");
  EXPECT_EQ(denied(world, facts).refusal.code, RefusalCode::policy_none);
  EXPECT_EQ(world.holds_open(), 0u);
}

TEST(Admit, AHostedToolWithoutAPriceIsRefusedAndAnUnheardOfOnePasses) {
  struct Row {
    const char* tool;
    bool passes;
  };
  for (const Row& row :
       {Row{"web_search", true}, Row{"web_search_2025_08_26", true}, Row{"file_search", false},
        Row{"web_search_preview", false}, Row{"something_new", true}}) {
    World world;
    codec::RequestFacts facts = asking_for("gpt-a");
    facts.hosted_tools = {row.tool};
    if (row.passes) {
      EXPECT_TRUE(admitted(world, facts).changes.empty()) << row.tool;
      continue;
    }
    const Denial denial = denied(world, facts);
    EXPECT_EQ(denial.refusal.code, RefusalCode::price_unknown) << row.tool;
    EXPECT_EQ(denial.refusal.param, "tools");
    EXPECT_NE(denial.refusal.message.find(row.tool), std::string::npos);
    EXPECT_EQ(world.holds_open(), 0u);
  }
}

TEST(Admit, AStrictHoldBoundsTheCallsOfPaidTools) {
  struct Row {
    const char* description;
    std::optional<uint64_t> asked;
    const char* written;
    int64_t calls;
  };
  const Row rows[] = {
      {"missing", std::nullopt, "32", 32}, {"larger", 33, "32", 32},
      {"equal", 32, "unchanged", 32},      {"smaller", 3, "unchanged", 3},
      {"none", 0, "unchanged", 0},
  };
  World plain(strict_parts());
  codec::RequestFacts facts = asking_for("gpt-a");
  const int64_t without = admitted(plain, facts).hold.cost.value;
  EXPECT_EQ(without, 3'512 * 1'000 + 5'000 * 8'000);
  facts.hosted_tools = {"web_search"};
  for (const Row& row : rows) {
    World world(strict_parts());
    facts.max_tool_calls = row.asked;
    const Admission admission = admitted(world, facts);
    EXPECT_EQ(change(admission, "max_tool_calls"), row.written) << row.description;
    EXPECT_EQ(admission.hold.cost.value, without + row.calls * 10'000'000) << row.description;
  }
  World world(strict_parts());
  facts.hosted_tools = {"something_new"};
  facts.max_tool_calls = std::nullopt;
  EXPECT_EQ(change(admitted(world, facts), "max_tool_calls"), "unchanged");
}

TEST(Admit, AStrictHoldThatNothingBoundsIsRefused) {
  policy::Policy::Parts parts = strict_parts();
  parts.rules[0].max_output_tokens = 0;
  World world(std::move(parts));
  codec::RequestFacts facts = asking_for("gpt-a");
  EXPECT_EQ(denied(world, facts).refusal.code, RefusalCode::price_unknown);
  EXPECT_EQ(world.holds_open(), 0u);
  facts.max_output_tokens = 100;
  EXPECT_EQ(admitted(world, facts).hold.output_tokens, 100u);
}

TEST(Admit, AForecastSaysTheSameAndHoldsNothing) {
  World world(parts_with(limit_for_tests(LimitUnit::usd, kHoldCost)));
  const policy::Policy& policy = *world.snapshot->policy;
  const policy::Peer& peer = policy.peers()[0];
  const codec::RequestFacts facts = asking_for("gpt-a");
  auto seen = forecast(policy, peer, facts, kBodyBytes, world.budgets);
  EXPECT_EQ(std::get<Forecast>(seen).hold.cost.value, kHoldCost);
  EXPECT_TRUE(std::holds_alternative<policy::Budgets::Granted>(std::get<Forecast>(seen).outcome));
  EXPECT_EQ(world.holds_open(), 0u);
  admitted(world, facts);
  seen = forecast(policy, peer, facts, kBodyBytes, world.budgets);
  EXPECT_TRUE(std::holds_alternative<policy::Budgets::Exceeded>(std::get<Forecast>(seen).outcome));
  EXPECT_EQ(world.holds_open(), 1u);
  seen = forecast(policy, peer, asking_for("claude"), kBodyBytes, world.budgets);
  EXPECT_EQ(std::get<Refusal>(seen).code, RefusalCode::model_denied);
}

}  // namespace
}  // namespace tollgate::proxy
