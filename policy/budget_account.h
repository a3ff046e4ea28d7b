// The pieces of Budgets, for its own files.
#pragma once

#include <algorithm>
#include <limits>

#include "policy/budget.h"

namespace tollgate::policy {

// Nothing was sent, or the provider refused it: it counts as no request either.
inline bool is_void(const Charge& charge) {
  return charge.cost.value == 0 && charge.tokens == 0;
}

struct Budgets::Account {
  LimitScope scope;
  LimitUnit unit;
  Window window;
  std::vector<std::string> models;
  std::string subject;
  Consumption consumption;
  Wide held = 0;  // a limit that only warns lets through what a client makes as large as he likes
  int64_t running = 0;
  uint64_t generation = 0;  // of the last policy that needed it
  bool filling = true;
  struct Watched {  // the limits that are compared with it, for alerts
    Limit limit;
    uint32_t alerted_percent = 0;
  };
  std::vector<Watched> watched{};
  std::vector<Watched> watched_before{};  // under the policy before: what was told already

  bool covers(std::string_view user, std::span<const std::string> groups,
              std::string_view model) const {
    const bool ours = scope == LimitScope::user
                          ? user == subject
                          : std::find(groups.begin(), groups.end(), subject) != groups.end();
    return ours && matches_any(models, model);
  }
  int64_t amount_of(const Charge& charge) const {
    switch (unit) {
      case LimitUnit::usd:
        return charge.cost.value;
      case LimitUnit::tokens:
        return static_cast<int64_t>(charge.tokens);
      case LimitUnit::requests:
      case LimitUnit::concurrent:
        return 1;
    }
    return 0;
  }
  int64_t used(BudgetTime now) {
    return unit == LimitUnit::concurrent ? running : consumption.used(now);
  }
  // Once, though two policies may have it.
  void watch(const Limit& limit) {
    const auto is_it = [&](const Watched& known) { return known.limit.amount == limit.amount; };
    if (std::any_of(watched.begin(), watched.end(), is_it)) return;
    const auto before = std::find_if(watched_before.begin(), watched_before.end(), is_it);
    watched.push_back({limit, before == watched_before.end() ? 0 : before->alerted_percent});
  }
  // What runs now is counted once: of a limit on running requests it is what is used.
  Wide held_beside_used() const { return unit == LimitUnit::concurrent ? 0 : held; }
};

struct Budgets::Open {  // a hold
  std::vector<Account*> accounts;
  Charge charge;
  bool strict = false;
  std::string user;
  std::vector<std::string> groups;
  std::string model;
};

// Each limit of the policy with each of its subjects; some come more than once.
template <typename Use>
void for_each_limit(const Policy& policy, Use use) {
  for (const Rule& rule : policy.rules()) {
    for (const Limit& limit : rule.limits) {
      for (const Group& group : policy.groups()) {
        if (std::find(rule.groups.begin(), rule.groups.end(), group.name) == rule.groups.end()) {
          continue;
        }
        if (limit.per == LimitScope::group) {
          use(rule, limit, group.name);
          continue;
        }
        for (const std::string& member : group.members)
          use(rule, limit, member);
      }
    }
  }
}

template <typename Use>
void Budgets::for_each_covering(std::string_view user, std::span<const std::string> groups,
                                std::string_view model, Use use) {
  for (auto& item : accounts_) {
    ByText<std::unique_ptr<Account>>& by_subject = item.second;
    const auto use_of = [&](std::string_view subject) {
      const auto found = by_subject.find(subject);
      if (found != by_subject.end() && found->second->covers(user, groups, model)) {
        use(*found->second);
      }
    };
    // A user and a group may have the same name; covers() tells them apart.
    use_of(user);
    for (const std::string& group : groups) {
      if (group != user) use_of(group);
    }
  }
}

}  // namespace tollgate::policy
