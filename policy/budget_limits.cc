// Limits come and go with the policy; their consumption comes from the ledger.
#include <algorithm>
#include <utility>

#include "policy/budget_account.h"

namespace tollgate::policy {

bool Budgets::follow(const Policy& policy) {
  // Filling still: it failed, and nobody was admitted under that policy.
  if (!filling_) ++generation_;
  filling_ = false;
  settled_while_filling_.clear();
  for (auto& [series, by_subject] : accounts_) {
    for (auto& [subject, account] : by_subject) {
      // What a filling that failed has left half counted is counted anew.
      if (account->filling) account->consumption.clear();
      account->watched_before = std::exchange(account->watched, {});
    }
  }
  for_each_limit(policy, [&](const Rule& rule, const Limit& limit, const std::string& subject) {
    filling_ = take_in(rule, limit, subject) || filling_;
  });
  for (auto& [series, by_subject] : accounts_) {
    // Running requests point at their accounts.
    std::erase_if(by_subject, [&](const auto& item) {
      return item.second->generation + 1 < generation_ && item.second->running == 0;
    });
  }
  std::erase_if(accounts_, [](const auto& item) { return item.second.empty(); });
  return filling_;
}

// True when the account is yet to be filled.
bool Budgets::take_in(const Rule& rule, const Limit& limit, const std::string& subject) {
  std::unique_ptr<Account>& account = accounts_[limit.series][subject];
  if (account == nullptr) {
    account.reset(new Account{limit.per, limit.unit, limit.window, rule.models, subject,
                              Consumption(limit.window, period_of_)});
    for (auto& item : open_) {
      Open& open = item.second;
      if (account->covers(open.user, open.groups, open.model)) link(open, *account);
    }
  }
  account->generation = generation_;
  account->watch(limit);
  return account->filling;
}

int64_t Budgets::oldest_counted_ms(int64_t now_window_ms) const {
  constexpr int64_t kDayMs = 86'400'000;
  int64_t longest_ms = 0;
  for (const auto& [series, by_subject] : accounts_) {
    for (const auto& [subject, account] : by_subject) {
      if (!account->filling || account->unit == LimitUnit::concurrent) continue;
      // A calendar period began at most so long ago, a day more for zones and clock changes.
      const int64_t span_ms = account->window.kind == Window::Kind::rolling
                                  ? account->window.rolling_ms * 2
                                  : 33 * kDayMs;
      longest_ms = std::max(longest_ms, span_ms);
    }
  }
  return now_window_ms - longest_ms;
}

void Budgets::count_past(const PastCharge& past) {
  if (is_void(past.charge) || settled_while_filling_.count(past.id) != 0) return;
  for_each_covering(past.user, past.groups, past.model, [&](Account& account) {
    const bool wants_it = account.filling && account.unit != LimitUnit::concurrent;
    if (!wants_it || is_forgotten(account, past)) return;
    account.consumption.add(account.amount_of(past.charge), past.at);
  });
}

bool Budgets::is_forgotten(const Account& account, const PastCharge& past) const {
  return std::any_of(resets_.begin(), resets_.end(), [&](const Reset& reset) {
    return reset.scope == account.scope && reset.subject == account.subject &&
           past.at.window_ms <= reset.window_ms;
  });
}

void Budgets::abandon_filling() {
  for (auto& [id, open] : open_) {
    std::erase_if(open.accounts, [](const Account* account) { return account->filling; });
  }
  for (auto& [series, by_subject] : accounts_) {
    std::erase_if(by_subject, [](const auto& item) { return item.second->filling; });
  }
  end_filling();
}

void Budgets::end_filling() {
  filling_ = false;
  settled_while_filling_.clear();
  for (auto& [series, by_subject] : accounts_) {
    for (auto& [subject, account] : by_subject)
      account->filling = false;
  }
}

void Budgets::grant(Grant grant) {
  grants_.push_back(std::move(grant));
}

void Budgets::reset(LimitScope scope, const std::string& subject, int64_t window_ms) {
  resets_.push_back({scope, subject, window_ms});
  for (auto& [series, by_subject] : accounts_) {
    const auto found = by_subject.find(subject);
    if (found == by_subject.end() || found->second->scope != scope) continue;
    found->second->consumption.clear();
    for (auto& watched : found->second->watched)
      watched.alerted_percent = 0;
  }
}

}  // namespace tollgate::policy
