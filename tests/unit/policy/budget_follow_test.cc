// Limits come and go: policies, grants, resets, and what the ledger knows of the past.
#include <gtest/gtest.h>

#include "tests/unit/policy/budget_for_tests.h"

namespace tollgate::policy {
namespace {

const std::vector<std::string> kEng = {"eng"};

PastCharge past(uint64_t id, int64_t nano, BudgetTime when = at(kNoonMs - kHourMs),
                const char* user = "bob", const char* model = "gpt-a") {
  return {{1, id}, user, kEng, model, usd(nano), when};
}

Rule plain(int64_t amount) {
  return rule_of("p", {limit_of(LimitUnit::usd, amount)});
}

TEST(Following, EditsThatCountTheSameKeepWhatWasConsumed) {
  const Policy before(parts_of({plain(100)}));
  Rule renamed = plain(100);
  renamed.name = "q";
  Rule warned = plain(100);
  warned.limits[0] = warning(warned.limits[0]);
  Rule shared = plain(100);
  shared.groups = {"eng", "ops"};
  const struct {
    const char* description;
    Rule rule;
  } rows[] = {{"renamed", renamed},
              {"another amount", plain(500)},
              {"it warns now", warned},
              {"for another group, too", shared}};
  for (const auto& row : rows) {
    Desk desk(before);
    desk.spend(before, "bob", usd(30));
    ASSERT_TRUE(desk.granted(before, "bob", usd(7)));
    const Policy after(parts_of({row.rule}));
    EXPECT_EQ(desk.budgets.follow(after), row.rule.groups.size() > 1) << "carol is new";
    desk.budgets.end_filling();
    EXPECT_EQ(desk.state(after, "bob").used, 30) << row.description;
    EXPECT_EQ(desk.state(after, "bob").held, 7) << row.description;
    EXPECT_TRUE(desk.settle(desk.last, usd(7))) << row.description;
    EXPECT_EQ(desk.state(after, "bob").used, 37) << row.description;
    EXPECT_EQ(desk.state(after, "bob").held, 0) << row.description;
  }
}

TEST(TakingOver, HoldsWhatAnotherProcessAdmittedEvenAboveTheLimit) {
  const Policy policy(parts_of({plain(100)}));
  for (const bool account_first : {true, false}) {
    Desk desk;
    const RequestId running{9, 1};
    const auto take_over = [&] {
      desk.budgets.take_over({running, "bob", kEng, "gpt-a", usd(150)});
    };
    if (!account_first) take_over();
    desk.budgets.follow(policy);
    desk.budgets.end_filling();
    if (account_first) take_over();
    EXPECT_EQ(desk.state(policy, "bob").held, 150);
    EXPECT_FALSE(desk.granted(policy, "bob", usd(1)));
    EXPECT_TRUE(desk.granted(policy, "alice", usd(1))) << "another user's limit";
    EXPECT_TRUE(desk.settle(running, usd(20)));
    EXPECT_EQ(desk.state(policy, "bob").held, 0);
    EXPECT_EQ(desk.state(policy, "bob").used, 20);
    EXPECT_TRUE(desk.granted(policy, "bob", usd(80)));
    EXPECT_FALSE(desk.granted(policy, "bob", usd(1)));
    EXPECT_EQ(desk.budgets.holds_exceeded(), 0u) << "what was promised for it is not known";
  }
}

TEST(Following, ANewLimitBeginsWithWhatWasUsedAndWithWhatRuns) {
  const Policy before(parts_of({plain(100)}));
  Rule other_models = plain(100);
  other_models.models = {"gpt-a"};
  const Policy after(parts_of({other_models}));
  Desk desk(before);
  ASSERT_TRUE(desk.granted(before, "bob", usd(7)));
  const RequestId running = desk.last;
  ASSERT_TRUE(desk.granted(before, "bob", usd(9), at(kNoonMs), "gpt-b"));
  ASSERT_TRUE(desk.budgets.follow(after));
  EXPECT_LE(desk.budgets.oldest_counted_ms(kNoonWindowMs), kNoonWindowMs - kDayMs);
  desk.budgets.count_past(past(1, 30));
  desk.budgets.count_past(past(2, 500, at(kNoonMs - kHourMs), "bob", "gpt-b"));
  desk.budgets.count_past(past(3, 500, at(kNoonMs - kHourMs), "alice"));
  desk.budgets.count_past(past(4, 500, at(kNoonMs - 2 * kDayMs)));
  desk.budgets.end_filling();
  EXPECT_EQ(desk.state(after, "bob").used, 30);
  EXPECT_EQ(desk.state(after, "bob").held, 7);
  EXPECT_TRUE(desk.settle(running, usd(5)));
  EXPECT_EQ(desk.state(after, "bob").used, 35);
  EXPECT_EQ(desk.state(after, "bob").held, 0);
}

TEST(Following, WhatIsSettledWhileFillingIsNotCountedTwice) {
  const Policy policy(parts_of({plain(100)}));
  const Policy none(parts_of({}));
  Desk desk(none);
  ASSERT_TRUE(desk.granted(none, "bob", usd(7)));
  ASSERT_TRUE(desk.budgets.follow(policy));
  EXPECT_TRUE(desk.settle(desk.last, usd(5)));
  PastCharge same = past(1, 5);
  same.id = desk.last;
  desk.budgets.count_past(same);
  desk.budgets.count_past(past(2, 20));
  desk.budgets.end_filling();
  EXPECT_EQ(desk.state(policy, "bob").used, 25);
  // Filled: what the ledger says again is not its business any more.
  desk.budgets.count_past(past(3, 20));
  EXPECT_EQ(desk.state(policy, "bob").used, 25);
}

// Between following a policy and serving it, requests are still admitted under the one before.
TEST(Following, WhatTheOldPolicyAdmitsMeanwhileCountsInTheNewLimits) {
  const Policy none(parts_of({}));
  const Policy policy(parts_of({plain(100)}));
  Desk desk(none);
  ASSERT_TRUE(desk.budgets.follow(policy));
  ASSERT_TRUE(desk.granted(none, "bob", usd(60)));
  desk.budgets.end_filling();
  EXPECT_EQ(desk.state(policy, "bob").held, 60);
  const RequestId running = desk.last;
  EXPECT_FALSE(desk.granted(policy, "bob", usd(41)));
  EXPECT_TRUE(desk.settle(running, usd(50)));
  EXPECT_EQ(desk.state(policy, "bob").used, 50);
}

TEST(Following, ALimitThatComesBackAtOnceHasCountedInBetween) {
  const Policy limited(parts_of({plain(100)}));
  const Policy none(parts_of({}));
  Desk desk(limited);
  EXPECT_FALSE(desk.budgets.follow(none));
  desk.spend(none, "bob", usd(80));
  if (desk.budgets.follow(limited)) {
    desk.budgets.count_past(past(1, 80));
    desk.budgets.end_filling();
  }
  EXPECT_EQ(desk.state(limited, "bob").used, 80);
}

TEST(Following, AFillingThatFailedIsCountedAnew) {
  const Policy none(parts_of({}));
  const Policy policy(parts_of({plain(100)}));
  for (const bool abandoned : {false, true}) {
    Desk desk(none);
    ASSERT_TRUE(desk.granted(none, "bob", usd(7)));
    ASSERT_TRUE(desk.budgets.follow(policy));
    desk.budgets.count_past(past(1, 20));
    EXPECT_TRUE(desk.settle(desk.last, usd(5)));
    if (abandoned) {
      desk.budgets.abandon_filling();
      EXPECT_EQ(desk.budgets.accounts(), 0u);
      EXPECT_FALSE(desk.budgets.follow(none));
    }
    // By now the ledger has all of it.
    ASSERT_TRUE(desk.budgets.follow(policy));
    PastCharge same = past(1, 5);
    same.id = desk.last;
    for (const PastCharge& charge : {past(1, 20), same})
      desk.budgets.count_past(charge);
    desk.budgets.end_filling();
    EXPECT_EQ(desk.state(policy, "bob").used, 25) << abandoned;
    EXPECT_EQ(desk.state(policy, "bob").held, 0) << abandoned;
  }
}

TEST(Following, AnAbandonedPolicyLeavesRunningRequestsAndOldLimitsAlone) {
  const Policy old(parts_of({plain(100)}));
  Rule tighter = plain(100);
  tighter.limits.push_back(within(limit_of(LimitUnit::usd, 50), kHourMs));
  const Policy fresh(parts_of({tighter}));
  Desk desk(old);
  ASSERT_TRUE(desk.granted(old, "bob", usd(7)));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(desk.budgets.follow(fresh));
    desk.budgets.abandon_filling();
    EXPECT_FALSE(desk.budgets.follow(old));
  }
  EXPECT_EQ(desk.state(old, "bob").held, 7);
  EXPECT_TRUE(desk.settle(desk.last, usd(6)));
  EXPECT_EQ(desk.state(old, "bob").used, 6);
  EXPECT_TRUE(desk.granted(old, "bob", usd(94)));
}

TEST(Following, TheLimitsOfThePolicyBeforeLastGoWhenNothingRunsInThem) {
  const Policy first(parts_of({plain(100)}));
  const Policy second(parts_of({rule_of("q", {limit_of(LimitUnit::tokens, 100)})}));
  for (const bool running : {false, true}) {
    Desk desk(first);
    if (running) {
      ASSERT_TRUE(desk.granted(first, "bob", usd(7)));
    }
    desk.budgets.follow(second);
    desk.budgets.end_filling();
    EXPECT_EQ(desk.budgets.accounts(), 4u) << "alice and bob, twice";
    EXPECT_TRUE(desk.granted(first, "alice", usd(1))) << "still admitted under the first";
    EXPECT_TRUE(desk.settle(desk.last, usd(1)));
    desk.budgets.follow(second);
    EXPECT_EQ(desk.budgets.accounts(), running ? 3u : 2u);
    if (running) {
      EXPECT_TRUE(desk.settle({7, 1}, usd(7)));
      desk.budgets.follow(second);
      EXPECT_EQ(desk.budgets.accounts(), 2u);
    }
    EXPECT_EQ(desk.refusal(first, "bob", usd(1)).code, RefusalCode::overloaded);
    EXPECT_EQ(desk.budgets.holds_open(), 0u);
  }
}

TEST(Following, AVoidRequestOfThePastNeverWas) {
  const Policy policy(parts_of({rule_of("p", {limit_of(LimitUnit::requests, 10)})}));
  Desk desk;
  ASSERT_TRUE(desk.budgets.follow(policy));
  PastCharge nothing = past(1, 0);
  nothing.charge = {};
  desk.budgets.count_past(nothing);
  desk.budgets.count_past(past(2, 5));
  desk.budgets.end_filling();
  EXPECT_EQ(desk.state(policy, "bob").used, 1);
}

TEST(Following, AUserAndAGroupOfOneNameAreTwo) {
  Policy::Parts parts = parts_of({rule_of(
      "p", {limit_of(LimitUnit::usd, 100), limit_of(LimitUnit::usd, 500, LimitScope::group)},
      {"bob"})});
  parts.groups = {{"bob", {"bob", "alice"}}};
  const Policy policy(std::move(parts));
  Desk desk(policy);
  desk.spend(policy, "bob", usd(10));
  desk.spend(policy, "alice", usd(20));
  EXPECT_EQ(desk.state(policy, "bob", 0).used, 10);
  EXPECT_EQ(desk.state(policy, "bob", 1).used, 30);
}

TEST(Granting, GivesTheSubjectMoreUntilItExpires) {
  const Policy policy(parts_of({plain(100)}));
  Desk desk(policy);
  const int64_t expires = kNoonWindowMs + kHourMs;
  desk.budgets.grant({LimitScope::user, "bob", LimitUnit::usd, 50, expires});
  desk.budgets.grant({LimitScope::user, "bob", LimitUnit::tokens, 50, expires});
  desk.budgets.grant({LimitScope::group, "bob", LimitUnit::usd, 50, expires});
  EXPECT_EQ(desk.state(policy, "bob").granted, 50);
  EXPECT_FALSE(desk.granted(policy, "bob", usd(151)));
  EXPECT_FALSE(desk.granted(policy, "alice", usd(101)));
  EXPECT_FALSE(desk.granted(policy, "bob", usd(150), at(kNoonMs + kHourMs)));
  EXPECT_TRUE(desk.granted(policy, "bob", usd(150), at(kNoonMs + kHourMs - 1)));
  EXPECT_EQ(desk.state(policy, "bob", 0, at(kNoonMs + kHourMs)).granted, 0);
}

TEST(Granting, NoSumWrapsAround) {
  constexpr int64_t kTop = std::numeric_limits<int64_t>::max();
  const Policy policy(parts_of({plain(kTop)}));
  Desk desk(policy);
  for (int i = 0; i < 3; ++i)
    desk.budgets.grant({LimitScope::user, "bob", LimitUnit::usd, kTop, kTop});
  EXPECT_TRUE(desk.granted(policy, "bob", usd(kTop)));
  EXPECT_FALSE(desk.granted(policy, "bob", usd(1)));
}

TEST(Resetting, ForgetsWhatWasUsedUpToThenAndNotWhatRuns) {
  const Policy policy(parts_of({plain(100)}));
  Desk desk(policy);
  desk.spend(policy, "bob", usd(60));
  desk.spend(policy, "alice", usd(60));
  ASSERT_TRUE(desk.granted(policy, "bob", usd(30)));
  desk.budgets.reset(LimitScope::user, "bob", kNoonWindowMs);
  EXPECT_EQ(desk.state(policy, "bob").used, 0);
  EXPECT_EQ(desk.state(policy, "bob").held, 30);
  EXPECT_EQ(desk.state(policy, "alice").used, 60);
  EXPECT_TRUE(desk.settle(desk.last, usd(20), at(kNoonMs + 1)));
  EXPECT_EQ(desk.state(policy, "bob", 0, at(kNoonMs + 1)).used, 20);
}

TEST(Resetting, HoldsForTheLedgersPastToo) {
  const Policy policy(
      parts_of({plain(100), rule_of("g", {limit_of(LimitUnit::usd, 100, LimitScope::group)})}));
  Desk desk;
  desk.budgets.reset(LimitScope::user, "bob", kNoonWindowMs - kHourMs);
  ASSERT_TRUE(desk.budgets.follow(policy));
  desk.budgets.count_past(past(1, 1, at(kNoonMs - kHourMs - 1)));
  desk.budgets.count_past(past(2, 20, at(kNoonMs - kHourMs)));
  desk.budgets.count_past(past(3, 300, at(kNoonMs - kHourMs + 1)));
  desk.budgets.end_filling();
  for (const Budgets::State& state : desk.budgets.states(policy, "bob", at(kNoonMs)))
    EXPECT_EQ(state.used, state.limit->per == LimitScope::user ? 300 : 321);
}

}  // namespace
}  // namespace tollgate::policy
