// Asking to be admitted, for the tests of admission.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/proxy/snapshot_for_tests.h"
#include "userspace/proxy/admit.h"

namespace tollgate::proxy {

inline constexpr uint64_t kBodyBytes = 3'000;
// Of such a body before anything is learned: a third of its bytes in, 2,000 out.
inline constexpr int64_t kHoldCost = 1'000 * 1'000 + 2'000 * 8'000;

inline codec::RequestFacts asking_for(const char* model) {
  codec::RequestFacts facts;
  facts.model = model;
  return facts;
}

inline AdmitAsk ask_in(World& world, const codec::RequestFacts& facts) {
  static uint64_t last_id = 0;
  AdmitAsk ask;
  ask.snapshot = world.snapshot;
  ask.tag = kAlice;
  ask.id = {1, ++last_id};
  ask.facts = &facts;
  ask.body_bytes = kBodyBytes;
  ask.budgets = &world.budgets;
  ask.store_healthy = true;
  return ask;
}

inline Admission admitted(World& world, const codec::RequestFacts& facts) {
  auto verdict = admit(ask_in(world, facts));
  const Denial* denial = std::get_if<Denial>(&verdict);
  EXPECT_EQ(denial, nullptr) << denial->refusal.message;
  return denial == nullptr ? std::get<Admission>(std::move(verdict)) : Admission{};
}

inline Denial denied(World& world, const codec::RequestFacts& facts) {
  auto verdict = admit(ask_in(world, facts));
  EXPECT_TRUE(std::holds_alternative<Denial>(verdict));
  if (auto* denial = std::get_if<Denial>(&verdict)) return std::move(*denial);
  return {{policy::RefusalCode::upstream_protocol, "admitted", ""}};
}

inline std::string change(const Admission& admission, std::string_view key) {
  for (const codec::FieldChange& field : admission.changes) {
    if (field.key == key) return field.value;
  }
  return "unchanged";
}

// parts_for_tests with gpt-b allowed, too.
inline policy::Policy::Parts parts_with(policy::Limit limit) {
  policy::Policy::Parts parts = parts_for_tests();
  parts.rules[0].models = {"gpt-*"};
  parts.rules[0].limits = {std::move(limit)};
  return parts;
}

inline policy::Policy::Parts strict_parts() {
  policy::Policy::Parts parts = parts_for_tests();
  parts.rules[0].hold = policy::HoldMode::strict;
  parts.rules[0].max_output_tokens = 5'000;
  return parts;
}

inline policy::Limit downgrading(int64_t amount) {
  policy::Limit limit = limit_for_tests(policy::LimitUnit::usd, amount);
  limit.on_exceed = policy::OnExceed::downgrade;
  limit.downgrade_model = "gpt-a";
  return limit;
}

// Takes all of limits that are one nano-USD or one token.
inline void use_up(World& world) {
  const policy::Policy& policy = *world.snapshot->policy;
  world.budgets.with([&](policy::Budgets& budgets) {
    const policy::BudgetTime now = world.budgets.now();
    const RequestId id{2, 2};
    EXPECT_TRUE(std::holds_alternative<policy::Budgets::Granted>(
        budgets.reserve({id, policy, policy.peers()[0], "gpt-a", {{1}, 1}, true, now})));
    return budgets.settle({id, {{1}, 1}, now});
  });
}

}  // namespace tollgate::proxy
