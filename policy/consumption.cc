#include "policy/consumption.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace tollgate::policy {
namespace {

constexpr int64_t kBuckets = 120;
// A calendar account remembers so many periods: the current one and what a clock that was ahead for
// a while has left.
constexpr size_t kPeriodsKept = 3;

int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b < 0 ? 1 : 0);
}

}  // namespace

Consumption::Consumption(const Window& window, const PeriodOf& period_of)
    : window_(window), period_of_(period_of) {
  if (rolling()) bucket_ms_ = std::max<int64_t>(1, (window_.rolling_ms + kBuckets - 1) / kBuckets);
}

void Consumption::add(int64_t amount, BudgetTime at) {
  if (amount <= 0) return;
  const int64_t start = entry_of(at);
  auto place = std::lower_bound(entries_.begin(), entries_.end(), start,
                                [](const Entry& entry, int64_t key) { return entry.start < key; });
  if (place == entries_.end() || place->start != start) place = entries_.insert(place, {start, 0});
  const int64_t before = std::exchange(place->amount, clamped(Wide{place->amount} + amount));
  sum_ += place->amount - before;
  // The newest entry says what is certainly over; `used` expires the rest.
  if (rolling()) {
    const int64_t newest = entries_.back().start;
    const int64_t span = window_.rolling_ms / bucket_ms_ + 1;
    while (entries_.front().start < newest - span) {
      sum_ -= entries_.front().amount;
      entries_.erase(entries_.begin());
    }
  } else if (entries_.size() > kPeriodsKept) {
    sum_ -= entries_.front().amount;
    entries_.erase(entries_.begin());
  }
}

int64_t Consumption::used(BudgetTime now) {
  if (entries_.empty()) return 0;
  if (rolling()) {
    expire(now);
    return clamped(sum_);
  }
  // Kept, not expired: the clock may be set back into the period before.
  const int64_t oldest = oldest_counted(now);
  Wide sum = 0;
  for (const Entry& entry : entries_) {
    if (entry.start >= oldest) sum += entry.amount;
  }
  return clamped(sum);
}

int64_t Consumption::falls_to(int64_t rest, BudgetTime now) {
  int64_t left = used(now);
  if (left <= rest) return now.wall_ms;
  const int64_t oldest = oldest_counted(now);
  int64_t gone_ms = now.wall_ms;
  for (const Entry& entry : entries_) {
    if (entry.start < oldest) continue;
    left -= entry.amount;
    // A bucket counts until its last moment is older than the window, a period to its end.
    gone_ms = rolling() ? now.wall_ms - now.window_ms + (entry.start + 1) * bucket_ms_ +
                              window_.rolling_ms
                        : period_of_(window_, entry.start).end_unix_ms;
    if (left <= rest) break;
  }
  return std::max(gone_ms, now.wall_ms);
}

void Consumption::clear() {
  entries_.clear();
  sum_ = 0;
}

int64_t Consumption::entry_of(BudgetTime at) {
  if (rolling()) return floor_div(at.window_ms, bucket_ms_);
  return oldest_counted(at);
}

int64_t Consumption::oldest_counted(BudgetTime now) {
  if (rolling()) return floor_div(now.window_ms - window_.rolling_ms, bucket_ms_);
  if (now.wall_ms < period_.start_unix_ms || now.wall_ms >= period_.end_unix_ms) {
    period_ = period_of_(window_, now.wall_ms);
  }
  return period_.start_unix_ms;
}

void Consumption::expire(BudgetTime now) {
  const int64_t oldest = oldest_counted(now);
  auto first = entries_.begin();
  while (first != entries_.end() && first->start < oldest) {
    sum_ -= first->amount;
    ++first;
  }
  entries_.erase(entries_.begin(), first);
}

}  // namespace tollgate::policy
