// How much was used within a window: the sum that a limit is compared with.
//
// A rolling window is 120 buckets long and always ends now. The bucket that the window's start cuts
// through counts whole, so that no span of the window's length ever holds more than was allowed;
// what was used leaves at most a 120th of the window late. A calendar window is the period of the
// wall clock; what was counted in a later period (before the clock was set back) counts too.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "policy/limit.h"
#include "policy/wide.h"
#include "userspace/base/period.h"

namespace tollgate::policy {

struct BudgetTime {
  int64_t window_ms = 0;  // of the window clock: never back, not moved by steps
  int64_t wall_ms = 0;    // since 1970
};

// The calendar period that holds a moment; given by the daemon, which has the time zones.
using PeriodOf = std::function<Period(const Window& window, int64_t wall_ms)>;

class Consumption {
 public:
  Consumption(const Window& window, const PeriodOf& period_of);

  // In any order: what is too old for the window is passed over. Amounts are not negative.
  void add(int64_t amount, BudgetTime at);
  int64_t used(BudgetTime now);
  // The wall time at which, with no further use, at most `rest` will still count; `now` when that
  // is so already. A calendar window falls to zero at its end, but for what was counted ahead.
  int64_t falls_to(int64_t rest, BudgetTime now);
  void clear();

 private:
  struct Entry {
    int64_t start = 0;  // rolling: number of the bucket; calendar: start of the period
    int64_t amount = 0;
  };
  bool rolling() const { return window_.kind == Window::Kind::rolling; }
  int64_t entry_of(BudgetTime at);
  int64_t oldest_counted(BudgetTime now);
  void expire(BudgetTime now);

  Window window_;
  const PeriodOf& period_of_;
  int64_t bucket_ms_ = 1;
  Period period_;               // calendar: the last one asked for
  std::vector<Entry> entries_;  // sorted; only those with an amount, so an idle account is small
  Wide sum_ = 0;
};

}  // namespace tollgate::policy
