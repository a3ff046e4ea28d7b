// One request: held, then settled. The limits' coming and going is in budget_limits.cc, what people
// see of them in budget_report.cc.
#include "policy/budget.h"

#include <algorithm>
#include <utility>

#include "policy/budget_account.h"

namespace tollgate::policy {

Budgets::Budgets(PeriodOf period_of) : period_of_(std::move(period_of)) {}
Budgets::~Budgets() = default;

Budgets::Outcome Budgets::reserve(const Ask& ask) {
  const std::vector<Bound> bounds = bind(ask);
  const Charge charge = charge_of(ask, bounds);
  Outcome outcome = weigh(ask, charge, bounds);
  if (!std::holds_alternative<Granted>(outcome)) return outcome;
  Open open;
  open.charge = charge;
  open.strict = ask.strict;
  open.user = ask.peer.user;
  open.groups = ask.peer.groups;
  open.model = ask.model;
  hold(ask.id, std::move(open));
  return outcome;
}

void Budgets::take_over(Running running) {
  Open open;
  open.charge = running.charge;
  open.user = std::move(running.user);
  open.groups = std::move(running.groups);
  open.model = std::move(running.model);
  hold(running.id, std::move(open));
}

void Budgets::hold(const RequestId& id, Open open) {
  for_each_covering(open.user, open.groups, open.model,
                    [&](Account& account) { link(open, account); });
  const bool fresh = open_.emplace(id, std::move(open)).second;
  TG_ASSERT(fresh);
}

// When only running requests stand in the way nobody knows; a minute is what a person waits.
int64_t Budgets::frees_at(Account& account, int64_t rest, BudgetTime now) {
  constexpr int64_t kMinuteMs = 60'000;
  const int64_t until_ms = account.consumption.falls_to(rest, now);
  return until_ms > now.wall_ms ? until_ms : now.wall_ms + kMinuteMs;
}

Budgets::Outcome Budgets::preview(const Ask& ask) const {
  const std::vector<Bound> bounds = bind(ask);
  return weigh(ask, charge_of(ask, bounds), bounds);
}

// An estimate above a whole limit would lock its user out for good, and no new request would ever
// correct it. So such a request passes once nothing else is used or held.
Charge Budgets::charge_of(const Ask& ask, const std::vector<Bound>& bounds) const {
  Charge charge = ask.charge;
  if (ask.strict) return charge;
  for (const Bound& bound : bounds) {
    const bool stops = !bound.exempt && bound.binding.limit->on_exceed != OnExceed::warn;
    if (bound.account == nullptr || !stops) continue;
    const int64_t cap_now = cap(*bound.binding.limit, *bound.account, ask.now.window_ms);
    if (bound.account->unit == LimitUnit::usd) {
      charge.cost.value = std::min(charge.cost.value, cap_now);
    }
    if (bound.account->unit == LimitUnit::tokens) {
      charge.tokens = std::min(charge.tokens, static_cast<uint64_t>(cap_now));
    }
  }
  return charge;
}

void Budgets::link(Open& open, Account& account) {
  open.accounts.push_back(&account);
  account.held += account.amount_of(open.charge);
  ++account.running;
}

std::vector<Budgets::Bound> Budgets::bind(const Ask& ask) const {
  std::vector<Bound> bounds;
  for (const Binding& binding : ask.policy.bindings(ask.peer, ask.model)) {
    Account* account = find(*binding.limit, binding.subject);
    // The one it steps down to is not bound by the limit that sent it there. It is still counted.
    const bool exempt = binding.limit->on_exceed == OnExceed::downgrade &&
                        binding.limit->downgrade_model == ask.model;
    bounds.push_back({binding, account, exempt});
  }
  return bounds;
}

// A downgrade is tried before a refusal is believed: the cheaper request may fit everywhere. Of
// several limits that refuse, the one that frees last speaks: the time it names holds for all. What
// is more than a whole limit never fits; a running request ends first of all.
Budgets::Outcome Budgets::weigh(const Ask& ask, const Charge& charge,
                                const std::vector<Bound>& bounds) const {
  constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  const Bound* refusing = nullptr;
  int64_t refusing_until_ms = -1;
  Granted granted;
  granted.charge = charge;
  for (const Bound& bound : bounds) {
    // A policy older than the last two reloads: its limits are not kept any more.
    if (bound.account == nullptr) {
      return Exceeded{{RefusalCode::overloaded,
                       "The gateway is loading its policy. Try again in a moment.", ""},
                      {}};
    }
    if (bound.exempt) continue;
    Account& account = *bound.account;
    const int64_t cap_now = cap(*bound.binding.limit, account, ask.now.window_ms);
    const int64_t wanted = account.amount_of(charge);
    const Wide held = account.held_beside_used();
    const int64_t used = account.used(ask.now);
    if (used + held + wanted <= cap_now) continue;
    switch (bound.binding.limit->on_exceed) {
      case OnExceed::downgrade:
        return Downgrade{bound.binding.limit->downgrade_model};
      case OnExceed::warn:
        if (!granted.warning.empty()) granted.warning += "; ";
        granted.warning += usage_text({*bound.binding.limit, bound.binding.subject, cap_now, used});
        break;
      case OnExceed::refuse: {
        const auto rest = static_cast<int64_t>(std::max<Wide>(cap_now - held - wanted, 0));
        const int64_t until_ms = account.unit == LimitUnit::concurrent ? 0
                                 : wanted > cap_now                    ? kNever
                                                    : frees_at(account, rest, ask.now);
        if (until_ms > refusing_until_ms) {
          refusing = &bound;
          refusing_until_ms = until_ms;
        }
        break;
      }
    }
  }
  granted.standing = standing(bounds, ask.now);
  if (refusing == nullptr) return granted;
  Account& account = *refusing->account;
  const Limit& limit = *refusing->binding.limit;
  return Exceeded{
      exceeded_refusal({limit, refusing->binding.subject, cap(limit, account, ask.now.window_ms),
                        account.used(ask.now), clamped(account.held_beside_used()),
                        account.amount_of(charge), ask.policy.contact()},
                       refusing_until_ms),
      std::move(granted.standing)};
}

bool Budgets::settle(const Settlement& settlement) {
  const auto found = open_.find(settlement.id);
  if (found == open_.end()) {
    ++settled_unheld_;
    return false;
  }
  const Open& open = found->second;
  const Charge& charge = settlement.charge;
  for (Account* account : open.accounts) {
    account->held -= account->amount_of(open.charge);
    --account->running;
    if (is_void(charge) || account->unit == LimitUnit::concurrent) continue;
    // Twice: what has fallen below a threshold since the last time may be told again.
    watch(*account, settlement.now);
    account->consumption.add(account->amount_of(charge), settlement.now);
    watch(*account, settlement.now);
  }
  if (open.strict && (charge.cost > open.charge.cost || charge.tokens > open.charge.tokens)) {
    ++holds_exceeded_;
  }
  if (filling_) settled_while_filling_.insert(settlement.id);
  open_.erase(found);
  return true;
}

Budgets::Account* Budgets::find(const Limit& limit, std::string_view subject) const {
  const auto by_subject = accounts_.find(limit.series);
  if (by_subject == accounts_.end()) return nullptr;
  const auto found = by_subject->second.find(subject);
  return found == by_subject->second.end() ? nullptr : found->second.get();
}

int64_t Budgets::granted(const Account& account, int64_t now_window_ms) const {
  Wide sum = 0;
  for (const Grant& grant : grants_) {
    if (grant.scope == account.scope && grant.unit == account.unit &&
        grant.expires_window_ms > now_window_ms && grant.subject == account.subject) {
      sum += grant.amount;
    }
  }
  return clamped(sum);
}

int64_t Budgets::cap(const Limit& limit, const Account& account, int64_t now_window_ms) const {
  return clamped(Wide{limit.amount} + granted(account, now_window_ms));
}

}  // namespace tollgate::policy
