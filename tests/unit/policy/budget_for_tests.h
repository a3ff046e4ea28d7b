// A small company for tests of limits: alice and bob are engineers, alice and carol operate.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "policy/budget.h"

namespace tollgate::policy {

inline constexpr int64_t kMinuteMs = 60'000;
inline constexpr int64_t kHourMs = 60 * kMinuteMs;
inline constexpr int64_t kDayMs = 24 * kHourMs;
// 2026-11-22 12:00 UTC
inline constexpr int64_t kNoonMs = 1'795'219'200'000 + kDayMs / 2;

// The two clocks differ by a few days, as they may.
inline BudgetTime at(int64_t wall_ms) {
  return {wall_ms - 3 * kDayMs, wall_ms};
}
inline constexpr int64_t kNoonWindowMs = kNoonMs - 3 * kDayMs;

inline Limit limit_of(LimitUnit unit, int64_t amount, LimitScope per = LimitScope::user) {
  Limit limit;
  limit.per = per;
  limit.unit = unit;
  limit.amount = amount;
  limit.window.rolling_ms = unit == LimitUnit::concurrent ? 0 : kDayMs;
  return limit;
}

inline Limit within(Limit limit, int64_t rolling_ms) {
  limit.window.rolling_ms = rolling_ms;
  return limit;
}

inline Limit warning(Limit limit) {
  limit.on_exceed = OnExceed::warn;
  return limit;
}

inline Limit stepping_down(Limit limit, const char* model) {
  limit.on_exceed = OnExceed::downgrade;
  limit.downgrade_model = model;
  return limit;
}

inline Rule rule_of(const char* name, std::vector<Limit> limits,
                    std::vector<std::string> groups = {"eng"},
                    std::vector<std::string> models = {"gpt-*"}) {
  Rule rule;
  rule.name = name;
  rule.groups = std::move(groups);
  rule.provider = "openai";
  rule.models = std::move(models);
  rule.limits = std::move(limits);
  return rule;
}

inline Policy::Parts parts_of(std::vector<Rule> rules) {
  Policy::Parts parts;
  parts.contact = "ask #ai";
  Provider provider;
  provider.name = "openai";
  parts.providers = {provider};
  parts.groups = {{"eng", {"alice", "bob"}}, {"ops", {"alice", "carol"}}};
  parts.rules = std::move(rules);
  return parts;
}

// Days of UTC are all that these tests need of a calendar.
inline Period utc_day(const Window&, int64_t wall_ms) {
  const int64_t start_ms = wall_ms - wall_ms % kDayMs;
  return {start_ms, start_ms + kDayMs};
}

struct Desk {
  Desk() : budgets(utc_day) {}
  explicit Desk(const Policy& policy) : Desk() {
    budgets.follow(policy);
    budgets.end_filling();
  }

  Budgets::Outcome reserve(const Policy& policy, const char* user, Charge charge,
                           BudgetTime now = at(kNoonMs), const char* model = "gpt-a") {
    const Peer peer = policy.peer_of(user);
    last = {7, last.low + 1};
    return budgets.reserve({last, policy, peer, model, charge, strict, now});
  }
  bool granted(const Policy& policy, const char* user, Charge charge, BudgetTime now = at(kNoonMs),
               const char* model = "gpt-a") {
    return std::holds_alternative<Budgets::Granted>(reserve(policy, user, charge, now, model));
  }
  Refusal refusal(const Policy& policy, const char* user, Charge charge,
                  BudgetTime now = at(kNoonMs), const char* model = "gpt-a") {
    Budgets::Outcome outcome = reserve(policy, user, charge, now, model);
    const auto* exceeded = std::get_if<Budgets::Exceeded>(&outcome);
    EXPECT_NE(exceeded, nullptr);
    return exceeded == nullptr ? Refusal{RefusalCode::draining, "", ""} : exceeded->refusal;
  }
  bool settle(RequestId id, Charge charge, BudgetTime now = at(kNoonMs)) {
    return budgets.settle({id, charge, now});
  }
  // Reserved and settled at once.
  void spend(const Policy& policy, const char* user, Charge charge, BudgetTime now = at(kNoonMs),
             const char* model = "gpt-a") {
    EXPECT_TRUE(granted(policy, user, charge, now, model));
    EXPECT_TRUE(settle(last, charge, now));
  }
  Budgets::State state(const Policy& policy, const char* user, size_t index = 0,
                       BudgetTime now = at(kNoonMs)) {
    return budgets.states(policy, user, now).at(index);
  }

  Budgets budgets;
  RequestId last;
  bool strict = true;
};

inline Charge usd(int64_t nano) {
  return {{nano}, 1};
}
inline Charge tokens(uint64_t count) {
  return {{1}, count};
}

}  // namespace tollgate::policy
