// The budgets with their one lock and their clock. What a worker does under it is O(limits of the
// request); nothing in it waits.
#pragma once

#include <mutex>
#include <utility>

#include "policy/budget.h"
#include "userspace/base/clock.h"
#include "userspace/base/window_clock.h"

namespace tollgate::proxy {

class BudgetTable {
 public:
  BudgetTable(policy::PeriodOf period_of, WindowClock clock)
      : clock_(clock), budgets_(std::move(period_of)) {}

  // One critical section. `use` keeps nothing of what it was given.
  template <typename Use>
  auto with(Use&& use) {
    const std::lock_guard lock(mutex_);
    return std::forward<Use>(use)(budgets_);
  }
  policy::BudgetTime now() const { return {clock_.at(boottime_ms()), wall_unix_ms()}; }

 private:
  const WindowClock clock_;
  std::mutex mutex_;
  policy::Budgets budgets_;
};

}  // namespace tollgate::proxy
