#include "policy/consumption.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "userspace/base/calendar.h"

namespace tollgate::policy {
namespace {

constexpr int64_t kSecond = 1'000;
constexpr int64_t kHour = 3'600 * kSecond;
constexpr int64_t kDay = 24 * kHour;

const PeriodOf kPeriodOf = [](const Window& window, int64_t wall_ms) {
  const CalendarUnit unit = window.kind == Window::Kind::day    ? CalendarUnit::day
                            : window.kind == Window::Kind::week ? CalendarUnit::week
                                                                : CalendarUnit::month;
  return tollgate::period_of(unit, window.timezone, wall_ms);
};

Window rolling(int64_t ms) {
  return {Window::Kind::rolling, ms, ""};
}

// The wall clock shows something else: a rolling window must not look at it.
BudgetTime at(int64_t window_ms) {
  return {window_ms, window_ms + 77 * kDay};
}

BudgetTime wall(int64_t wall_ms) {
  return {5, wall_ms};
}

struct Use {
  int64_t amount;
  int64_t at_ms;
};

int64_t sum_between(const std::vector<Use>& uses, int64_t after_ms, int64_t until_ms) {
  int64_t sum = 0;
  for (const Use& use : uses) {
    if (use.at_ms > after_ms && use.at_ms <= until_ms) sum += use.amount;
  }
  return sum;
}

struct Span {
  const char* description;
  int64_t ms;
};

constexpr Span kSpans[] = {
    {"the shortest", kSecond},
    {"no multiple of a bucket", 7'777},
    {"a minute and a half", 90 * kSecond},
    {"a day", kDay},
    {"the longest", 31 * kDay},
};

TEST(Consumption, ABurstAtTheEdgeOfABucketDoesNotDouble) {
  const int64_t window_ms = 120 * kSecond;
  Consumption use(rolling(window_ms), kPeriodOf);
  use.add(100, at(kSecond - 1));
  EXPECT_EQ(use.used(at(window_ms)), 100);
  EXPECT_EQ(use.used(at(window_ms + kSecond - 1)), 100);
  EXPECT_EQ(use.used(at(window_ms + kSecond)), 0);
}

// Admitted while it fits, at random times with bursts and pauses: no span shorter than the window
// ever holds more than the cap, and what is older counts at most a 120th of the window longer.
TEST(Consumption, NoSpanOfTheWindowsLengthHoldsMoreThanTheCap) {
  std::mt19937_64 random(1);
  for (const Span& span : kSpans) {
    constexpr int64_t kCap = 1'000;
    const int64_t late_ms = (span.ms + 119) / 120;
    Consumption use(rolling(span.ms), kPeriodOf);
    std::vector<Use> admitted;
    int64_t now_ms = static_cast<int64_t>(random() % kDay);
    for (int i = 0; i < 2'000; ++i) {
      const auto scale = static_cast<uint64_t>(span.ms) / (random() % 3 == 0 ? 2 : 100) + 1;
      now_ms += static_cast<int64_t>(random() % scale);
      const auto amount = static_cast<int64_t>(random() % 200);
      const int64_t used = use.used(at(now_ms));
      ASSERT_GE(used, sum_between(admitted, now_ms - span.ms, now_ms)) << span.description;
      ASSERT_LE(used, sum_between(admitted, now_ms - span.ms - late_ms, now_ms))
          << span.description;
      if (used + amount > kCap) continue;
      use.add(amount, at(now_ms));
      admitted.push_back({amount, now_ms});
    }
    EXPECT_GT(admitted.size(), 100u) << span.description;
    for (const Use& last : admitted) {
      ASSERT_LE(sum_between(admitted, last.at_ms - span.ms, last.at_ms), kCap) << span.description;
    }
  }
}

TEST(Consumption, FallsAtTheMomentItNamesAndNotBefore) {
  std::mt19937_64 random(2);
  for (const Span& span : kSpans) {
    const auto ms = static_cast<uint64_t>(span.ms);
    for (int i = 0; i < 200; ++i) {
      Consumption use(rolling(span.ms), kPeriodOf);
      int64_t now_ms = 0;
      for (int k = 0; k < 20; ++k) {
        now_ms += static_cast<int64_t>(random() % (ms / 8));
        use.add(static_cast<int64_t>(random() % 100), at(now_ms));
      }
      const auto rest = static_cast<int64_t>(random() % 1'000);
      const int64_t used = use.used(at(now_ms));
      const int64_t falls_ms = use.falls_to(rest, at(now_ms));
      if (used <= rest) {
        ASSERT_EQ(falls_ms, at(now_ms).wall_ms) << span.description;
        continue;
      }
      const int64_t until_ms = falls_ms - at(now_ms).wall_ms + now_ms;
      ASSERT_GT(use.used(at(until_ms - 1)), rest) << span.description;
      ASSERT_LE(use.used(at(until_ms)), rest) << span.description;
    }
  }
}

TEST(Consumption, RebuiltInAnyOrderItIsTheSame) {
  std::mt19937_64 random(3);
  const Window windows[] = {rolling(kSecond),
                            rolling(7'777),
                            rolling(kDay),
                            {Window::Kind::day, 0, "Europe/Berlin"},
                            {Window::Kind::month, 0, "UTC"}};
  for (const Window& window : windows) {
    const int64_t span_ms = window.kind == Window::Kind::rolling ? window.rolling_ms : kDay;
    std::vector<Use> uses;
    int64_t now_ms = 1'790'000'000'000;
    for (int i = 0; i < 300; ++i) {
      now_ms += static_cast<int64_t>(random() % static_cast<uint64_t>(span_ms / 50));
      uses.push_back({static_cast<int64_t>(random() % 100), now_ms});
    }
    Consumption in_order(window, kPeriodOf);
    for (const Use& use : uses) {
      in_order.add(use.amount, {use.at_ms, use.at_ms});
      in_order.used({use.at_ms, use.at_ms});
    }
    std::shuffle(uses.begin(), uses.end(), random);
    Consumption rebuilt(window, kPeriodOf);
    for (const Use& use : uses)
      rebuilt.add(use.amount, {use.at_ms, use.at_ms});
    for (int step = 0; step < 150; ++step) {
      const BudgetTime now{now_ms, now_ms};
      ASSERT_EQ(rebuilt.used(now), in_order.used(now)) << to_string(window);
      ASSERT_EQ(rebuilt.falls_to(0, now), in_order.falls_to(0, now)) << to_string(window);
      now_ms += span_ms / 100;
    }
    EXPECT_EQ(rebuilt.used({now_ms, now_ms}), in_order.used({now_ms, now_ms}));
  }
}

TEST(Consumption, ASumBeyondTheRangeStaysAtTheTop) {
  constexpr int64_t kTop = std::numeric_limits<int64_t>::max();
  for (const Window& window : {rolling(kDay), Window{Window::Kind::day, 0, "UTC"}}) {
    Consumption use(window, kPeriodOf);
    use.add(kTop, {0, 0});
    use.add(kTop, {0, 0});
    use.add(kTop, {kHour * 12, kHour * 12});
    EXPECT_EQ(use.used({kHour * 12, kHour * 12}), kTop) << to_string(window);
    EXPECT_EQ(use.used({kDay * 3, kDay * 3}), 0) << to_string(window);
  }
}

TEST(Consumption, ClearedItBeginsAtZero) {
  Consumption use(rolling(kDay), kPeriodOf);
  use.add(5, at(0));
  use.clear();
  EXPECT_EQ(use.used(at(1)), 0);
  use.add(7, at(1));
  EXPECT_EQ(use.used(at(1)), 7);
}

TEST(Consumption, ACalendarPeriodCountsFromItsFirstMomentToItsLast) {
  using Kind = Window::Kind;
  const struct {
    const char* description;
    Window window;
    int64_t start_s;
    int64_t end_s;
  } cases[] = {
      {"a day", {Kind::day, 0, "UTC"}, 1'795'219'200, 1'795'305'600},
      {"a day of 23 hours", {Kind::day, 0, "Europe/Berlin"}, 1'774'738'800, 1'774'821'600},
      {"the day after it", {Kind::day, 0, "Europe/Berlin"}, 1'774'821'600, 1'774'908'000},
      {"a day of 25 hours", {Kind::day, 0, "Europe/Berlin"}, 1'792'879'200, 1'792'969'200},
      {"the day after that", {Kind::day, 0, "Europe/Berlin"}, 1'792'969'200, 1'793'055'600},
      {"a week of 167 hours", {Kind::week, 0, "Europe/Berlin"}, 1'774'220'400, 1'774'821'600},
      {"a month with an hour more",
       {Kind::month, 0, "Europe/Berlin"},
       1'790'805'600,
       1'793'487'600},
  };
  for (const auto& c : cases) {
    const int64_t start_ms = c.start_s * kSecond;
    const int64_t end_ms = c.end_s * kSecond;
    Consumption use(c.window, kPeriodOf);
    use.add(1, wall(start_ms - 1));
    use.add(20, wall(start_ms));
    use.add(300, wall(end_ms - 1));
    EXPECT_EQ(use.used(wall(start_ms)), 320) << c.description;
    EXPECT_EQ(use.falls_to(319, wall(start_ms)), end_ms) << c.description;
    EXPECT_EQ(use.falls_to(320, wall(start_ms)), start_ms) << c.description;
    EXPECT_EQ(use.used(wall(end_ms - 1)), 320) << c.description;
    EXPECT_EQ(use.used(wall(end_ms)), 0) << c.description;
    use.add(4'000, wall(end_ms));
    EXPECT_EQ(use.used(wall(end_ms)), 4'000) << c.description;
  }
}

TEST(Consumption, AStepOfTheWallClockMovesNoRollingWindow) {
  Consumption use(rolling(kHour), kPeriodOf);
  use.add(9, {10 * kHour, 10 * kHour});
  const int64_t now_ms = 10 * kHour + kHour / 2;
  for (const int64_t step : {-kHour, int64_t{0}, kHour}) {
    EXPECT_EQ(use.used({now_ms, now_ms + step}), 9) << step;
    EXPECT_EQ(use.falls_to(0, {now_ms, now_ms + step}) - (now_ms + step),
              use.falls_to(0, {now_ms, now_ms}) - now_ms)
        << step;
  }
}

TEST(Consumption, AWallClockSetBackOverMidnightBringsYesterdaysUseBack) {
  const int64_t midnight = 1'795'219'200 * kSecond;
  Consumption use({Window::Kind::day, 0, "UTC"}, kPeriodOf);
  use.add(7, wall(midnight - kHour));
  use.add(30, wall(midnight + kHour / 2));
  EXPECT_EQ(use.used(wall(midnight + kHour / 2)), 30);
  // Set back by an hour: what was counted ahead counts as well.
  const int64_t before = midnight - kHour / 2;
  EXPECT_EQ(use.used(wall(before)), 37);
  use.add(200, wall(before));
  EXPECT_EQ(use.used(wall(before)), 237);
  EXPECT_EQ(use.used(wall(midnight)), 30);
  // Set forward by an hour over the next midnight, and back.
  EXPECT_EQ(use.used(wall(midnight + kDay + 1)), 0);
  EXPECT_EQ(use.used(wall(midnight + kDay - 1)), 30);
}

// What was counted ahead leaves with its own period, not with the one that the clock was set to.
TEST(Consumption, WhatWasCountedAheadFallsWithItsOwnPeriod) {
  const int64_t midnight = 1'795'219'200 * kSecond;
  Consumption use({Window::Kind::day, 0, "UTC"}, kPeriodOf);
  use.add(30, wall(midnight + kHour));
  use.add(7, wall(midnight - kHour));
  EXPECT_EQ(use.falls_to(30, wall(midnight - kHour)), midnight);
  EXPECT_EQ(use.falls_to(29, wall(midnight - kHour)), midnight + kDay);
  EXPECT_EQ(use.falls_to(0, wall(midnight - kHour)), midnight + kDay);
}

}  // namespace
}  // namespace tollgate::policy
