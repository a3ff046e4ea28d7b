// What people see of the limits: response headers, tables, alerts.
#include <algorithm>
#include <tuple>
#include <utility>

#include "policy/budget_account.h"

namespace tollgate::policy {
namespace {

constexpr int64_t kMinuteMs = 60'000;
// Nobody reads more at once; the counter tells how many there were.
constexpr size_t kAlertsKept = 1'000;

uint32_t percent_of(int64_t used, int64_t cap) {
  if (cap <= 0) return 100;
  return static_cast<uint32_t>(std::min<Wide>(Wide{used} * 100 / cap, 100'000));
}

uint32_t minutes_of(const Window& window) {
  constexpr int64_t kDayMinutes = 24 * 60;
  switch (window.kind) {
    case Window::Kind::rolling:
      return static_cast<uint32_t>(std::max<int64_t>(window.rolling_ms / kMinuteMs, 1));
    case Window::Kind::day:
      return kDayMinutes;
    case Window::Kind::week:
      return 7 * kDayMinutes;
    case Window::Kind::month:
      return 30 * kDayMinutes;
  }
  return 0;
}

}  // namespace

// What is recorded, not what is held: a person is warned of what was spent.
std::vector<Standing> Budgets::standing(const std::vector<Bound>& bounds, BudgetTime now) const {
  std::vector<std::pair<uint32_t, const Bound*>> by_percent;
  for (const Bound& bound : bounds) {
    if (bound.exempt || bound.account->unit == LimitUnit::concurrent) continue;
    const int64_t cap_now = cap(*bound.binding.limit, *bound.account, now.window_ms);
    const uint32_t percent = percent_of(bound.account->consumption.used(now), cap_now);
    by_percent.emplace_back(std::min(percent, 100u), &bound);
  }
  std::stable_sort(by_percent.begin(), by_percent.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<Standing> all;
  for (const auto& [percent, bound] : by_percent) {
    if (all.size() == 2) break;
    all.push_back({percent, minutes_of(bound->binding.limit->window),
                   bound->account->consumption.falls_to(0, now) / 1'000});
  }
  return all;
}

std::vector<Budgets::State> Budgets::states(const Policy& policy, std::string_view user,
                                            BudgetTime now) const {
  const Peer peer = policy.peer_of(user);
  std::vector<State> states;
  for_each_limit(policy, [&](const Rule& rule, const Limit& limit, const std::string& subject) {
    const bool wanted = user.empty() || (limit.per == LimitScope::user
                                             ? subject == user
                                             : std::find(peer.groups.begin(), peer.groups.end(),
                                                         subject) != peer.groups.end());
    Account* account = find(limit, subject);
    if (!wanted || account == nullptr) return;
    for (State& known : states) {
      if (known.subject != subject || *known.limit != limit) continue;
      if (known.policies.back() != rule.name) known.policies.push_back(rule.name);
      return;
    }
    State state;
    state.limit = &limit;
    state.subject = subject;
    state.policies = {rule.name};
    state.models = rule.models;
    state.used = account->used(now);
    state.held = clamped(account->held_beside_used());
    state.granted = granted(*account, now.window_ms);
    if (limit.unit != LimitUnit::concurrent && state.used > 0) {
      state.resets_unix_ms = account->consumption.falls_to(0, now);
    }
    states.push_back(std::move(state));
  });
  std::stable_sort(states.begin(), states.end(), [](const State& a, const State& b) {
    return std::tie(a.limit->per, a.subject) < std::tie(b.limit->per, b.subject);
  });
  return states;
}

// A threshold is told once, and again after the use has fallen below it.
void Budgets::watch(Account& account, BudgetTime now) {
  const int64_t used = account.used(now);
  for (Account::Watched& watched : account.watched) {
    const int64_t cap_now = cap(watched.limit, account, now.window_ms);
    const uint32_t percent = percent_of(used, cap_now);
    uint32_t reached = 0;
    for (const uint32_t threshold : thresholds_) {
      if (percent >= threshold) reached = std::max(reached, threshold);
    }
    if (reached > watched.alerted_percent) {
      ++alerts_raised_;
      if (alerts_.size() < kAlertsKept) {
        alerts_.push_back({.limit = usage_text({watched.limit, account.subject, cap_now, used}),
                           .scope = account.scope,
                           .subject = account.subject,
                           .unit = account.unit,
                           .window = account.window,
                           .used = used,
                           .limit_amount = cap_now,
                           .threshold_percent = reached,
                           .at_unix_s = now.wall_ms / 1'000});
      }
    }
    watched.alerted_percent = reached;
  }
}

std::vector<Budgets::Alert> Budgets::take_alerts() {
  return std::exchange(alerts_, {});
}

size_t Budgets::accounts() const {
  size_t count = 0;
  for (const auto& [series, by_subject] : accounts_)
    count += by_subject.size();
  return count;
}

}  // namespace tollgate::policy
