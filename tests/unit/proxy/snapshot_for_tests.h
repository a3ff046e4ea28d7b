// A small world for admission tests: alice may use gpt-a and gpt-unpriced, bob is in no policy. The
// price file knows gpt-b, too, and how much web_search costs.
#pragma once

#include <memory>
#include <utility>

#include "userspace/base/clock.h"
#include "userspace/proxy/budget_table.h"
#include "userspace/proxy/snapshot.h"

namespace tollgate::proxy {

inline constexpr PeerTag kAlice{1, 1};
inline constexpr PeerTag kBob{2, 1};

inline policy::Policy::Parts parts_for_tests() {
  policy::Policy::Parts parts;
  parts.contact = "ask #ai-platform";
  policy::Provider provider;
  provider.name = "openai";
  provider.scheme = "https";
  provider.host = "api.example.test";
  parts.providers = {provider};
  parts.groups = {{"engineering", {"alice@example.com"}}};
  policy::Peer alice;
  alice.tag = kAlice;
  alice.address = *parse_ip("10.99.0.2");
  alice.tunnel = "wg0";
  alice.user = "alice@example.com";
  alice.groups = {"engineering"};
  policy::Peer bob = alice;
  bob.tag = kBob;
  bob.address = *parse_ip("10.99.0.3");
  bob.user = "bob@example.com";
  bob.groups = {};
  parts.peers = {alice, bob};
  parts.rules = {{"engineering-codex", {"engineering"}, "openai", {"gpt-a", "gpt-unpriced"}}};
  policy::ModelPrice price;
  price.model = "gpt-a";
  price.tiers["default"] = {
      .input = 1000, .cached_input = 100, .cache_write = 1000, .output = 8000};
  price.tiers["priority"] = {
      .input = 2000, .cached_input = 200, .cache_write = 2000, .output = 16000};
  policy::ModelPrice dearer;
  dearer.model = "gpt-b";
  dearer.tiers["default"] = {
      .input = 5000, .cached_input = 500, .cache_write = 5000, .output = 40000};
  parts.prices =
      policy::PriceTable("test-1", {price, dearer}, {{"web_search", {10'000'000}, "", ""}});
  return parts;
}

inline policy::Limit limit_for_tests(policy::LimitUnit unit, int64_t amount) {
  policy::Limit limit;
  limit.unit = unit;
  limit.amount = amount;
  limit.window.rolling_ms = 86'400'000;
  return limit;
}

inline std::shared_ptr<const Snapshot> snapshot_for_tests(
    policy::Policy::Parts parts = parts_for_tests()) {
  auto target = std::make_shared<Target>();
  target->provider = "openai";
  target->key_name = "main";
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->policy = std::make_shared<const policy::Policy>(std::move(parts));
  snapshot->targets = {std::move(target)};
  return snapshot;
}

// Rolling windows ask for no calendar.
inline Period no_calendar(const policy::Window&, int64_t) {
  return {};
}

struct World {
  explicit World(policy::Policy::Parts parts = parts_for_tests())
      : snapshot(snapshot_for_tests(std::move(parts))),
        budgets(no_calendar, WindowClock(boottime_ms(), wall_unix_ms())) {
    budgets.with([&](policy::Budgets& table) {
      table.follow(*snapshot->policy);
      table.end_filling();
      return 0;
    });
  }
  size_t holds_open() {
    return budgets.with([](policy::Budgets& table) { return table.holds_open(); });
  }
  // What the user's or the group's first limit says.
  policy::Budgets::State first_limit() {
    return budgets.with([&](policy::Budgets& table) {
      return table.states(*snapshot->policy, "alice@example.com", budgets.now()).at(0);
    });
  }

  std::shared_ptr<const Snapshot> snapshot;
  BudgetTable budgets;
};

}  // namespace tollgate::proxy
