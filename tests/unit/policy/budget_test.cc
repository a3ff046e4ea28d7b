#include "policy/budget.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/policy/budget_for_tests.h"

namespace tollgate::policy {
namespace {

constexpr int64_t kTop = std::numeric_limits<int64_t>::max();

TEST(Budgets, HoldsAndSettlesToTheNano) {
  const Policy policy(parts_of({rule_of("p", {limit_of(LimitUnit::usd, 1'000)})}));
  Desk desk(policy);
  EXPECT_EQ(desk.refusal(policy, "alice", usd(1'001)).code, RefusalCode::request_over_limit);
  ASSERT_TRUE(desk.granted(policy, "alice", usd(999)));
  const RequestId first = desk.last;
  EXPECT_FALSE(desk.granted(policy, "alice", usd(2)));
  ASSERT_TRUE(desk.granted(policy, "alice", usd(1)));
  const RequestId second = desk.last;
  EXPECT_EQ(desk.state(policy, "alice").held, 1'000);
  EXPECT_EQ(desk.state(policy, "alice").used, 0);

  EXPECT_TRUE(desk.settle(first, usd(400)));
  EXPECT_EQ(desk.state(policy, "alice").held, 1);
  EXPECT_EQ(desk.state(policy, "alice").used, 400);
  EXPECT_FALSE(desk.granted(policy, "alice", usd(600)));
  EXPECT_TRUE(desk.granted(policy, "alice", usd(599)));
  EXPECT_TRUE(desk.settle(desk.last, usd(599)));
  EXPECT_TRUE(desk.settle(second, usd(1)));
  EXPECT_EQ(desk.state(policy, "alice").used, 1'000);
  EXPECT_EQ(desk.state(policy, "alice").held, 0);
  EXPECT_EQ(desk.budgets.holds_open(), 0u);
  EXPECT_EQ(desk.refusal(policy, "alice", usd(1)).code, RefusalCode::budget_exceeded);
  EXPECT_TRUE(desk.granted(policy, "bob", usd(1'000))) << "another's limit is his own";
}

TEST(Budgets, OfAThousandRequestsTheTenThatFitPass) {
  const Policy policy(parts_of({rule_of("p", {limit_of(LimitUnit::usd, 1'050)})}));
  Desk desk(policy);
  std::vector<RequestId> passed;
  for (int i = 0; i < 1'000; ++i) {
    if (desk.granted(policy, "alice", usd(100))) passed.push_back(desk.last);
  }
  ASSERT_EQ(passed.size(), 10u);
  // They took a fifth of what was held: as much more fits.
  for (const RequestId& id : passed)
    EXPECT_TRUE(desk.settle(id, usd(20)));
  size_t more = 0;
  for (int i = 0; i < 1'000; ++i)
    more += desk.granted(policy, "alice", usd(100)) ? 1u : 0u;
  EXPECT_EQ(more, 8u);
}

TEST(Budgets, SettlesOnceAndCountsWhatWasNeverHeld) {
  const Policy policy(parts_of({rule_of("p", {limit_of(LimitUnit::usd, 1'000)})}));
  Desk desk(policy);
  ASSERT_TRUE(desk.granted(policy, "alice", usd(100)));
  EXPECT_EQ(desk.budgets.settled_unheld(), 0u);
  EXPECT_TRUE(desk.settle(desk.last, usd(50)));
  EXPECT_FALSE(desk.settle(desk.last, usd(50)));
  EXPECT_FALSE(desk.settle({9, 9}, usd(50)));
  EXPECT_EQ(desk.budgets.settled_unheld(), 2u);
  EXPECT_EQ(desk.state(policy, "alice").used, 50);
  EXPECT_EQ(desk.state(policy, "alice").held, 0);
}

TEST(Budgets, AVoidRequestNeverWas) {
  const Policy policy(parts_of(
      {rule_of("p", {limit_of(LimitUnit::requests, 1), limit_of(LimitUnit::concurrent, 1)})}));
  Desk desk(policy);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(desk.granted(policy, "alice", usd(5)));
    EXPECT_TRUE(desk.settle(desk.last, {}));
  }
  EXPECT_EQ(desk.state(policy, "alice", 0).used, 0);
  desk.spend(policy, "alice", tokens(1));
  EXPECT_FALSE(desk.granted(policy, "alice", usd(5)));
}

TEST(Budgets, EachUnitCountsItsOwn) {
  const Policy policy(parts_of(
      {rule_of("p", {limit_of(LimitUnit::usd, 1'000), limit_of(LimitUnit::tokens, 500),
                     limit_of(LimitUnit::requests, 3), limit_of(LimitUnit::concurrent, 2)})}));
  Desk desk(policy);
  EXPECT_FALSE(desk.granted(policy, "alice", {{1}, 501}));
  ASSERT_TRUE(desk.granted(policy, "alice", {{700}, 400}));
  const RequestId first = desk.last;
  EXPECT_FALSE(desk.granted(policy, "alice", {{1}, 101}));
  ASSERT_TRUE(desk.granted(policy, "alice", {{1}, 100}));
  const RequestId second = desk.last;
  EXPECT_TRUE(desk.settle(first, {{200}, 150}));
  EXPECT_TRUE(desk.settle(second, {{1}, 50}));
  const struct {
    size_t index;
    int64_t used;
  } rows[] = {{0, 201}, {1, 200}, {2, 2}, {3, 0}};
  for (const auto& row : rows) {
    EXPECT_EQ(desk.state(policy, "alice", row.index).used, row.used) << row.index;
    EXPECT_EQ(desk.state(policy, "alice", row.index).held, 0) << row.index;
  }
  ASSERT_TRUE(desk.granted(policy, "alice", {{1}, 1}));
  EXPECT_EQ(desk.state(policy, "alice", 2).held, 1);
  EXPECT_EQ(desk.state(policy, "alice", 3).used, 1);
  EXPECT_EQ(desk.refusal(policy, "alice", {{1}, 1}).code, RefusalCode::budget_exceeded);
}

TEST(Budgets, RunningRequestsAreLimitedWithoutATime) {
  const Policy policy(parts_of({rule_of("p", {limit_of(LimitUnit::concurrent, 2)})}));
  Desk desk(policy);
  ASSERT_TRUE(desk.granted(policy, "alice", usd(kTop)));
  ASSERT_TRUE(desk.granted(policy, "alice", usd(kTop)));
  const Refusal refusal = desk.refusal(policy, "alice", usd(1));
  EXPECT_EQ(refusal.code, RefusalCode::concurrency_exceeded);
  EXPECT_EQ(refusal.resets_unix_s, 0);
  EXPECT_TRUE(desk.granted(policy, "bob", usd(1)));
  EXPECT_TRUE(desk.settle({7, 1}, usd(1)));
  EXPECT_TRUE(desk.granted(policy, "alice", usd(1)));
}

TEST(Budgets, TheLimitsOfBothGroupsBindAndMembersShareThem) {
  const Policy policy(
      parts_of({rule_of("e", {limit_of(LimitUnit::usd, 100, LimitScope::group)}, {"eng"}),
                rule_of("o", {limit_of(LimitUnit::usd, 50, LimitScope::group)}, {"ops"})}));
  Desk desk(policy);
  EXPECT_FALSE(desk.granted(policy, "alice", usd(51))) << "ops binds her";
  EXPECT_TRUE(desk.granted(policy, "bob", usd(51))) << "and not him";
  ASSERT_TRUE(desk.granted(policy, "alice", usd(40)));
  EXPECT_FALSE(desk.granted(policy, "bob", usd(10))) << "eng has 9 left";
  EXPECT_FALSE(desk.granted(policy, "carol", usd(11))) << "ops has 10 left";
  EXPECT_TRUE(desk.granted(policy, "carol", usd(10)));
  EXPECT_TRUE(desk.granted(policy, "bob", usd(9)));
}

TEST(Budgets, ALimitBindsTheModelsOfItsPolicyAlone) {
  const Policy policy(parts_of({rule_of("a", {limit_of(LimitUnit::usd, 10)}, {"eng"}, {"gpt-a"}),
                                rule_of("all", {limit_of(LimitUnit::usd, 100)})}));
  Desk desk(policy);
  EXPECT_FALSE(desk.granted(policy, "alice", usd(11)));
  EXPECT_TRUE(desk.granted(policy, "alice", usd(91), at(kNoonMs), "gpt-b"));
  EXPECT_FALSE(desk.granted(policy, "alice", usd(10)));
  EXPECT_TRUE(desk.granted(policy, "alice", usd(9)));
}

TEST(Budgets, TwoPoliciesMayCompareOneConsumptionWithTwoAmounts) {
  const Policy policy(parts_of({rule_of("a", {limit_of(LimitUnit::usd, 100)}, {"eng"}),
                                rule_of("b", {limit_of(LimitUnit::usd, 30)}, {"ops"})}));
  Desk desk(policy);
  EXPECT_FALSE(desk.granted(policy, "alice", usd(31)));
  ASSERT_TRUE(desk.granted(policy, "alice", usd(30)));
  EXPECT_EQ(desk.state(policy, "alice", 0).held, 30);
  EXPECT_EQ(desk.state(policy, "alice", 1).held, 30);
  EXPECT_TRUE(desk.settle(desk.last, usd(30)));
  EXPECT_EQ(desk.state(policy, "alice", 1).used, 30);
  EXPECT_EQ(desk.state(policy, "alice", 1).held, 0);
}

TEST(Budgets, ALimitThatWarnsStopsNothing) {
  const Policy policy(parts_of({rule_of("p", {warning(limit_of(LimitUnit::usd, 1'000'000'000))})}));
  Desk desk(policy);
  Budgets::Outcome outcome = desk.reserve(policy, "alice", usd(1'000'000'000));
  EXPECT_EQ(std::get<Budgets::Granted>(outcome).warning, "");
  EXPECT_TRUE(desk.settle(desk.last, usd(1'000'000'000)));
  outcome = desk.reserve(policy, "alice", usd(1));
  EXPECT_EQ(std::get<Budgets::Granted>(outcome).warning,
            "user alice: $1.00 of $1.00 in the last 24h");
}

TEST(Budgets, NoSumOfHoldsWrapsAround) {
  const Policy policy(parts_of({rule_of("p", {warning(limit_of(LimitUnit::usd, 100))}, {"eng"}),
                                rule_of("q", {limit_of(LimitUnit::usd, 100)}, {"ops"})}));
  Desk desk(policy);
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(desk.granted(policy, "bob", usd(kTop)));
  EXPECT_EQ(desk.state(policy, "bob").held, kTop);
  for (uint64_t i = 1; i <= 3; ++i)
    EXPECT_TRUE(desk.settle({7, i}, usd(1)));
  EXPECT_EQ(desk.state(policy, "bob").held, 0);
  EXPECT_EQ(desk.refusal(policy, "alice", usd(kTop)).code, RefusalCode::request_over_limit);
}

TEST(Budgets, ADowngradeIsTriedBeforeARefusalIsBelieved) {
  const Policy policy(parts_of(
      {rule_of("p", {limit_of(LimitUnit::usd, 100),
                     stepping_down(within(limit_of(LimitUnit::usd, 60), kHourMs), "gpt-mini")})}));
  Desk desk(policy);
  ASSERT_TRUE(desk.granted(policy, "alice", usd(60)));
  Budgets::Outcome outcome = desk.reserve(policy, "alice", usd(50));
  ASSERT_TRUE(std::holds_alternative<Budgets::Downgrade>(outcome));
  EXPECT_EQ(std::get<Budgets::Downgrade>(outcome).model, "gpt-mini");
  EXPECT_EQ(desk.budgets.holds_open(), 1u);
  // The cheaper one is not bound by the limit that sent it here, and counted by it.
  EXPECT_TRUE(desk.granted(policy, "alice", usd(40), at(kNoonMs), "gpt-mini"));
  EXPECT_EQ(desk.state(policy, "alice", 1).held, 100);
  EXPECT_EQ(desk.refusal(policy, "alice", usd(1), at(kNoonMs), "gpt-mini").code,
            RefusalCode::budget_exceeded);
}

TEST(Budgets, TheRefusalThatFreesLastSpeaks) {
  const struct {
    const char* description;
    std::vector<Limit> limits;
    Charge charge;
    RefusalCode code;
    int64_t resets_after_ms;  // the bucket in which it was used has passed; 0: no time
  } rows[] = {
      {"the longer window",
       {within(limit_of(LimitUnit::usd, 60), kHourMs), limit_of(LimitUnit::usd, 60)},
       usd(10),
       RefusalCode::budget_exceeded,
       kDayMs},
      {"in whatever order",
       {limit_of(LimitUnit::usd, 60), within(limit_of(LimitUnit::usd, 60), kHourMs)},
       usd(10),
       RefusalCode::budget_exceeded,
       kDayMs},
      {"running requests end first",
       {limit_of(LimitUnit::concurrent, 1), within(limit_of(LimitUnit::usd, 60), kHourMs)},
       usd(10),
       RefusalCode::budget_exceeded,
       kHourMs},
      {"what never fits speaks before what frees",
       {limit_of(LimitUnit::usd, 60), within(limit_of(LimitUnit::tokens, 60), kHourMs)},
       {{10}, 61},
       RefusalCode::request_over_limit,
       0},
      {"also when it comes first",
       {within(limit_of(LimitUnit::tokens, 60), kHourMs), limit_of(LimitUnit::usd, 60)},
       {{10}, 61},
       RefusalCode::request_over_limit,
       0},
  };
  for (const auto& row : rows) {
    const Policy policy(parts_of({rule_of("p", row.limits)}));
    Desk desk(policy);
    desk.spend(policy, "alice", {{55}, 55});
    ASSERT_TRUE(desk.granted(policy, "alice", {{1}, 1})) << row.description;
    const Refusal refusal = desk.refusal(policy, "alice", row.charge);
    EXPECT_EQ(refusal.code, row.code) << row.description;
    const int64_t earliest_s = (kNoonMs + row.resets_after_ms) / 1'000;
    if (row.resets_after_ms == 0) {
      EXPECT_EQ(refusal.resets_unix_s, 0) << row.description;
    } else {
      EXPECT_GE(refusal.resets_unix_s, earliest_s) << row.description;
      EXPECT_LE(refusal.resets_unix_s, earliest_s + row.resets_after_ms / 120'000 + 1)
          << row.description;
    }
  }
}

TEST(Budgets, AtTheTimeItNamesTheRequestFits) {
  Limit daily = limit_of(LimitUnit::usd, 100);
  daily.window = {Window::Kind::day, 0, "UTC"};
  for (const Limit& limit :
       {limit_of(LimitUnit::usd, 100), within(limit_of(LimitUnit::usd, 100), 90'500), daily}) {
    const Policy policy(parts_of({rule_of("p", {limit})}));
    Desk desk(policy);
    for (int i = 0; i < 10; ++i)
      desk.spend(policy, "alice", usd(9), at(kNoonMs + i * 3'333));
    ASSERT_TRUE(desk.granted(policy, "alice", usd(5), at(kNoonMs + 34'000)));
    const Refusal refusal = desk.refusal(policy, "alice", usd(30), at(kNoonMs + 35'000));
    EXPECT_EQ(refusal.code, RefusalCode::budget_exceeded);
    const int64_t resets_ms = refusal.resets_unix_s * 1'000;
    EXPECT_FALSE(desk.granted(policy, "alice", usd(30), at(resets_ms - 1'000)))
        << to_string(limit.window);
    EXPECT_TRUE(desk.granted(policy, "alice", usd(30), at(resets_ms))) << to_string(limit.window);
  }
}

TEST(Budgets, MoreThanAWholeLimitIsSaidToBeThat) {
  const Policy policy(parts_of({rule_of("p", {limit_of(LimitUnit::tokens, 1'000)})}));
  Desk desk(policy);
  const Refusal refusal = desk.refusal(policy, "alice", tokens(1'001));
  EXPECT_EQ(refusal.code, RefusalCode::request_over_limit);
  EXPECT_EQ(refusal.resets_unix_s, 0);
  EXPECT_EQ(refusal.promo, "");
  EXPECT_NE(refusal.message.find("1,001 tokens"), std::string::npos) << refusal.message;
  EXPECT_NE(refusal.message.find("ask #ai"), std::string::npos) << refusal.message;
  EXPECT_TRUE(desk.granted(policy, "alice", tokens(1'000)));
}

// An estimate that locked its user out would never be corrected.
TEST(Budgets, AnEstimateAboveAWholeLimitPassesWhenNothingElseIsUsedOrHeld) {
  const Policy policy(parts_of(
      {rule_of("p", {limit_of(LimitUnit::usd, 1'000), limit_of(LimitUnit::tokens, 500)})}));
  Desk desk(policy);
  desk.strict = false;
  Budgets::Outcome outcome = desk.reserve(policy, "alice", {{5'000}, 2'000});
  ASSERT_TRUE(std::holds_alternative<Budgets::Granted>(outcome));
  EXPECT_EQ(std::get<Budgets::Granted>(outcome).charge.cost.value, 1'000);
  EXPECT_EQ(std::get<Budgets::Granted>(outcome).charge.tokens, 500u);
  EXPECT_EQ(desk.state(policy, "alice").held, 1'000);
  const RequestId first = desk.last;
  EXPECT_EQ(desk.refusal(policy, "alice", {{5'000}, 2'000}).code, RefusalCode::budget_exceeded);
  EXPECT_TRUE(desk.settle(first, {{1}, 1}));
  EXPECT_EQ(desk.state(policy, "alice").held, 0);
  EXPECT_EQ(desk.refusal(policy, "alice", {{5'000}, 2'000}).code, RefusalCode::budget_exceeded);
}

TEST(Budgets, ALimitThatOnlyWarnsMakesNoHoldSmaller) {
  const Policy policy(
      parts_of({rule_of("p", {warning(within(limit_of(LimitUnit::usd, 10), kHourMs)),
                              limit_of(LimitUnit::usd, 1'000)})}));
  Desk desk(policy);
  desk.strict = false;
  ASSERT_TRUE(desk.granted(policy, "alice", usd(600)));
  EXPECT_EQ(desk.state(policy, "alice", 1).held, 600);
  EXPECT_FALSE(desk.granted(policy, "alice", usd(600)));
}

TEST(Budgets, CountsWhatIsChargedAboveAStrictHold) {
  const Policy policy(parts_of({rule_of("p", {limit_of(LimitUnit::usd, 1'000)})}));
  for (const bool strict : {true, false}) {
    Desk desk(policy);
    desk.strict = strict;
    const Charge held{{100}, 100};
    for (const Charge& charge : {Charge{{100}, 100}, Charge{{101}, 100}, Charge{{100}, 101}}) {
      ASSERT_TRUE(desk.granted(policy, "alice", held));
      EXPECT_TRUE(desk.settle(desk.last, charge));
    }
    EXPECT_EQ(desk.budgets.holds_exceeded(), strict ? 2u : 0u);
    EXPECT_EQ(desk.state(policy, "alice").used, 301);
  }
}

TEST(Budgets, APreviewSaysTheSameAndHoldsNothing) {
  const Policy policy(parts_of({rule_of("p", {limit_of(LimitUnit::usd, 100)})}));
  Desk desk(policy);
  const Peer alice = policy.peer_of("alice");
  for (const int64_t nano : {100, 101}) {
    const Budgets::Ask ask{{}, policy, alice, "gpt-a", usd(nano), true, at(kNoonMs)};
    EXPECT_EQ(std::holds_alternative<Budgets::Granted>(desk.budgets.preview(ask)), nano == 100);
  }
  EXPECT_EQ(desk.budgets.holds_open(), 0u);
  EXPECT_EQ(desk.state(policy, "alice").held, 0);
}

TEST(Budgets, WithoutLimitsEverythingIsHeldAndSettled) {
  const Policy policy(parts_of({rule_of("p", {})}));
  Desk desk(policy);
  EXPECT_EQ(desk.budgets.accounts(), 0u);
  const Budgets::Outcome outcome = desk.reserve(policy, "alice", usd(kTop));
  ASSERT_TRUE(std::holds_alternative<Budgets::Granted>(outcome));
  EXPECT_TRUE(std::get<Budgets::Granted>(outcome).standing.empty());
  EXPECT_EQ(desk.budgets.holds_open(), 1u);
  EXPECT_TRUE(desk.settle(desk.last, usd(kTop)));
  EXPECT_EQ(desk.budgets.holds_open(), 0u);
}

}  // namespace
}  // namespace tollgate::policy
