// What people see of limits: standing, tables, alerts, sentences.
#include <gtest/gtest.h>

#include "tests/unit/policy/budget_for_tests.h"

namespace tollgate::policy {
namespace {

std::vector<uint32_t> told(Desk& desk) {
  std::vector<uint32_t> percents;
  for (const Budgets::Alert& alert : desk.budgets.take_alerts())
    percents.push_back(alert.threshold_percent);
  return percents;
}

using Percents = std::vector<uint32_t>;

TEST(Standing, NamesTheTwoLimitsThatAreUsedFurthest) {
  const Policy policy(parts_of({rule_of(
      "p", {limit_of(LimitUnit::usd, 1'000), within(limit_of(LimitUnit::usd, 400), kHourMs),
            within(limit_of(LimitUnit::usd, 500), 5 * kHourMs),
            limit_of(LimitUnit::concurrent, 1'000)})}));
  Desk desk(policy);
  desk.spend(policy, "alice", usd(300));
  const auto outcome = desk.reserve(policy, "alice", usd(10));
  const auto& standing = std::get<Budgets::Granted>(outcome).standing;
  ASSERT_EQ(standing.size(), 2u);
  EXPECT_EQ(standing[0].used_percent, 75u) << "of what is recorded, not of what is held";
  EXPECT_EQ(standing[0].window_minutes, 60u);
  EXPECT_GE(standing[0].resets_unix_s, (kNoonMs + kHourMs) / 1'000);
  EXPECT_EQ(standing[1].used_percent, 60u);
  EXPECT_EQ(standing[1].window_minutes, 300u);
}

TEST(Standing, GoesWithARefusalAndStopsAtAHundred) {
  const Policy policy(parts_of({rule_of("p", {within(limit_of(LimitUnit::usd, 100), 1'000)})}));
  Desk desk(policy);
  ASSERT_TRUE(desk.granted(policy, "alice", usd(90)));
  EXPECT_TRUE(desk.settle(desk.last, usd(250)));
  const auto outcome = desk.reserve(policy, "alice", usd(10));
  const auto& standing = std::get<Budgets::Exceeded>(outcome).standing;
  ASSERT_EQ(standing.size(), 1u);
  EXPECT_EQ(standing[0].used_percent, 100u);
  EXPECT_EQ(standing[0].window_minutes, 1u) << "no window is shorter for Codex";
}

TEST(Standing, LeavesOutTheLimitThatSentTheRequestHere) {
  const Policy policy(
      parts_of({rule_of("p", {stepping_down(limit_of(LimitUnit::usd, 100), "gpt-mini")})}));
  Desk desk(policy);
  desk.spend(policy, "alice", usd(100));
  const auto outcome = desk.reserve(policy, "alice", usd(10), at(kNoonMs), "gpt-mini");
  EXPECT_TRUE(std::get<Budgets::Granted>(outcome).standing.empty());
}

TEST(States, MergePoliciesThatSayTheSameAndShowWhatDiffers) {
  const Policy policy(
      parts_of({rule_of("a", {limit_of(LimitUnit::usd, 100)}),
                rule_of("b", {limit_of(LimitUnit::usd, 100)}, {"ops"}),
                rule_of("c", {limit_of(LimitUnit::usd, 70)}, {"ops"}),
                rule_of("d", {limit_of(LimitUnit::usd, 100)}, {"eng", "ops"}, {"gpt-b"})}));
  Desk desk(policy);
  desk.spend(policy, "alice", usd(30));
  const auto states = desk.budgets.states(policy, "alice", at(kNoonMs));
  ASSERT_EQ(states.size(), 3u);
  EXPECT_EQ(states[0].policies, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(states[0].used, 30);
  EXPECT_GE(states[0].resets_unix_ms, kNoonMs + kDayMs);
  EXPECT_EQ(states[1].policies, std::vector<std::string>{"c"});
  EXPECT_EQ(states[1].used, 30);
  EXPECT_EQ(states[2].policies, std::vector<std::string>{"d"});
  EXPECT_EQ(states[2].models, std::vector<std::string>{"gpt-b"});
  EXPECT_EQ(states[2].used, 0);
  EXPECT_EQ(states[2].resets_unix_ms, 0) << "nothing is used";
}

TEST(States, AreOfTheUserAndOfHisGroupsOrOfAll) {
  const Policy policy(parts_of({rule_of(
      "p", {limit_of(LimitUnit::usd, 100), limit_of(LimitUnit::usd, 500, LimitScope::group)},
      {"eng", "ops"})}));
  Desk desk(policy);
  const struct {
    const char* user;
    std::vector<std::string> subjects;
  } rows[] = {
      {"alice", {"alice", "eng", "ops"}},
      {"bob", {"bob", "eng"}},
      {"stranger", {}},
      {"", {"alice", "bob", "carol", "eng", "ops"}},
  };
  for (const auto& row : rows) {
    std::vector<std::string> subjects;
    for (const Budgets::State& state : desk.budgets.states(policy, row.user, at(kNoonMs)))
      subjects.push_back(state.subject);
    EXPECT_EQ(subjects, row.subjects) << row.user;
  }
}

TEST(Alerts, AreTheHighestThresholdOnceAndAgainAfterFalling) {
  const Policy policy(parts_of({rule_of("p", {within(limit_of(LimitUnit::usd, 100), kHourMs)})}));
  Desk desk(policy);
  desk.budgets.set_thresholds({50, 80, 100});
  desk.spend(policy, "bob", usd(49));
  EXPECT_EQ(told(desk), Percents{});
  desk.spend(policy, "bob", usd(1));
  EXPECT_EQ(told(desk), Percents{50});
  desk.spend(policy, "bob", usd(29));
  EXPECT_EQ(told(desk), Percents{});
  desk.spend(policy, "bob", usd(21));
  EXPECT_EQ(told(desk), Percents{100}) << "not 80 as well";
  EXPECT_EQ(desk.budgets.alerts_raised(), 2u);
  // Nothing was asked while it fell; the first request after that goes over a threshold again.
  const BudgetTime later = at(kNoonMs + 3 * kHourMs);
  desk.spend(policy, "bob", usd(60), later);
  EXPECT_EQ(told(desk), Percents{50});
}

TEST(Alerts, AreOneForALimitThatAUserHasTwice) {
  const Policy policy(parts_of({rule_of("p", {limit_of(LimitUnit::usd, 100)}, {"eng", "ops"}),
                                rule_of("q", {limit_of(LimitUnit::usd, 100)})}));
  Desk desk(policy);
  desk.budgets.set_thresholds({50});
  desk.spend(policy, "alice", usd(60));
  EXPECT_EQ(told(desk), Percents{50});
}

TEST(Alerts, SayWhoseLimitAndHowMuch) {
  const Policy policy(
      parts_of({rule_of("p", {limit_of(LimitUnit::tokens, 5'000, LimitScope::group)})}));
  Desk desk(policy);
  desk.budgets.set_thresholds({80});
  desk.spend(policy, "bob", tokens(4'200));
  const auto alerts = desk.budgets.take_alerts();
  ASSERT_EQ(alerts.size(), 1u);
  EXPECT_EQ(alerts[0].limit, "group eng: 4,200 of 5,000 tokens in the last 24h");
  EXPECT_EQ(alerts[0].scope, LimitScope::group);
  EXPECT_EQ(alerts[0].subject, "eng");
  EXPECT_EQ(alerts[0].unit, LimitUnit::tokens);
  EXPECT_EQ(alerts[0].used, 4'200);
  EXPECT_EQ(alerts[0].limit_amount, 5'000);
  EXPECT_EQ(alerts[0].threshold_percent, 80u);
  EXPECT_EQ(alerts[0].at_unix_s, kNoonMs / 1'000);
}

TEST(Alerts, AReloadTellsNothingTwiceAndANewAmountIsLookedAtAnew) {
  const Policy policy(parts_of({rule_of("p", {limit_of(LimitUnit::usd, 100)})}));
  const Policy same(parts_of({rule_of("q", {warning(limit_of(LimitUnit::usd, 100))})}));
  const Policy tighter(parts_of({rule_of("q", {limit_of(LimitUnit::usd, 90)})}));
  Desk desk(policy);
  desk.budgets.set_thresholds({50});
  desk.spend(policy, "bob", usd(60));
  EXPECT_EQ(told(desk), Percents{50});
  desk.budgets.follow(same);
  desk.spend(same, "bob", usd(1));
  EXPECT_EQ(told(desk), Percents{});
  desk.budgets.follow(tighter);
  desk.spend(tighter, "bob", usd(1));
  EXPECT_EQ(told(desk), Percents{50});
}

TEST(Alerts, AResetAndAGrantBeginAnew) {
  const Policy policy(parts_of({rule_of("p", {limit_of(LimitUnit::usd, 100)})}));
  for (const bool reset : {true, false}) {
    Desk desk(policy);
    desk.budgets.set_thresholds({50});
    desk.spend(policy, "bob", usd(60));
    EXPECT_EQ(told(desk), Percents{50});
    if (reset) {
      desk.budgets.reset(LimitScope::user, "bob", kNoonWindowMs);
    } else {
      desk.budgets.grant({LimitScope::user, "bob", LimitUnit::usd, 100, kNoonWindowMs + kDayMs});
      desk.spend(policy, "bob", usd(1));
      EXPECT_EQ(told(desk), Percents{});
    }
    desk.spend(policy, "bob", usd(55));
    EXPECT_EQ(told(desk), Percents{50}) << reset;
  }
}

TEST(Words, OfARefusalAreTheNumbersAndWhatToDo) {
  const int64_t resets_ms = kNoonMs + 1;
  struct Row {
    const char* description;
    LimitWords words;
    const char* text;
  };
  const Limit user = limit_of(LimitUnit::usd, 50'000'000'000);
  const Limit group = limit_of(LimitUnit::tokens, 5'000, LimitScope::group);
  Limit daily = limit_of(LimitUnit::requests, 3);
  daily.window = {Window::Kind::day, 0, "UTC"};
  const Row rows[] = {
      {"used up",
       {user, "bob", 50'000'000'000, 50'000'000'000, 0, 1, "ask #ai"},
       "You have used $50.00 of $50.00 in the last 24h; ask #ai"},
      {"held",
       {user, "bob", 50'000'000'000, 10'000'000'000, 40'000'000'000, 1, "ask #ai"},
       "You have used $10.00 of $50.00 in the last 24h, running requests hold $40.00; ask #ai"},
      {"nearly",
       {group, "eng", 5'000, 4'200, 0, 900, "ask #ai"},
       "Group eng has used 4,200 of 5,000 tokens in the last 24h, this one may take 900 tokens; "
       "ask #ai"},
      {"a day",
       {daily, "bob", 3, 3, 0, 1, "ask #ai"},
       "You have used 3 of 3 requests today; ask #ai"},
  };
  for (const Row& row : rows) {
    const Refusal refusal = exceeded_refusal(row.words, resets_ms);
    EXPECT_EQ(refusal.code, RefusalCode::budget_exceeded) << row.description;
    EXPECT_EQ(refusal.promo, row.text) << row.description;
    EXPECT_EQ(refusal.message, std::string(row.text) + ".") << row.description;
    EXPECT_EQ(refusal.resets_unix_s, kNoonMs / 1'000 + 1) << "rounded up";
  }
}

TEST(Words, OfAmountsNameTheirUnit) {
  EXPECT_EQ(amount_text(LimitUnit::usd, 12'400'000'000), "$12.40");
  EXPECT_EQ(amount_text(LimitUnit::tokens, 1'200'000), "1,200,000 tokens");
  EXPECT_EQ(amount_text(LimitUnit::requests, 1), "1 request");
  EXPECT_EQ(amount_text(LimitUnit::requests, 2), "2 requests");
  EXPECT_EQ(amount_text(LimitUnit::concurrent, 4), "4 running");
}

}  // namespace
}  // namespace tollgate::policy
