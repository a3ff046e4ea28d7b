#include "userspace/base/calendar.h"

#include <gtest/gtest.h>

#include <latch>
#include <thread>
#include <vector>

namespace tollgate {
namespace {

constexpr int64_t kHour = 3'600'000;

// First in the file and so in the program: nobody has touched the tz database before.
TEST(Calendar, FirstUseMayBeConcurrent) {
  constexpr int kThreads = 8;
  std::latch start(kThreads);
  std::vector<Period> seen(kThreads);
  std::vector<std::thread> threads;
  for (Period& period : seen) {
    threads.emplace_back([&start, &period] {
      start.arrive_and_wait();
      period = period_of(CalendarUnit::day, "Asia/Kolkata", 0);
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  for (const Period& period : seen) {
    EXPECT_EQ(period.start_unix_ms, -5 * kHour - kHour / 2);
    EXPECT_EQ(period.end_unix_ms, 24 * kHour - 5 * kHour - kHour / 2);
  }
}

TEST(Calendar, KnowsPlainZoneNamesOnly) {
  for (const char* name : {"UTC", "Etc/UTC", "Europe/Berlin", "US/Eastern", "Asia/Beirut"})
    EXPECT_TRUE(is_timezone(name)) << name;
  for (const char* name :
       {"", "Europe", "Europe/", "/Europe/Berlin", "Europe/Berlin ", "europe/berlin",
        "Europe/Atlantis", "../etc/passwd", "../../../etc/passwd", "Europe/../Europe/Berlin",
        "posix/Europe/Berlin", "right/UTC", "localtime", "zone.tab", "CEST", "+01:00"})
    EXPECT_FALSE(is_timezone(name)) << name;
  EXPECT_FALSE(is_timezone(std::string_view("Europe/Berlin\0", 14)));
}

TEST(Calendar, PeriodsBeginAndEndWithLocalDays) {
  using enum CalendarUnit;
  const struct {
    const char* description;
    CalendarUnit unit;
    const char* timezone;
    int64_t at;  // seconds since 1970, as are the next two
    int64_t start;
    int64_t end;
  } cases[] = {
      {"day in UTC", day, "UTC", 1795219200 + 5, 1795219200, 1795219200 + 86400},
      {"its first moment", day, "UTC", 1795219200, 1795219200, 1795219200 + 86400},
      {"the moment before", day, "UTC", 1795219199, 1795219200 - 86400, 1795219200},
      {"unknown zone is UTC", day, "Europe/Atlantis", 1795219205, 1795219200, 1795305600},
      {"Berlin, ordinary day", day, "Europe/Berlin", 1795219200, 1795215600, 1795302000},
      {"Berlin, 23 hours", day, "Europe/Berlin", 1774746000, 1774738800, 1774821600},
      {"Berlin, 25 hours", day, "Europe/Berlin", 1792900000, 1792879200, 1792969200},
      {"New York, 23 hours", day, "America/New_York", 1772960000, 1772946000, 1773028800},
      {"New York, 25 hours", day, "America/New_York", 1793520000, 1793505600, 1793595600},
      {"Sao Paulo, no midnight on 2018-11-04", day, "America/Sao_Paulo", 1541340000, 1541300400,
       1541383200},
      {"Sao Paulo, the day before ends there", day, "America/Sao_Paulo", 1541300399, 1541214000,
       1541300400},
      {"Sao Paulo, 23 h to 24 h twice on 2018-02-17", day, "America/Sao_Paulo", 1518918000,
       1518832800, 1518922800},
      {"Beirut, no midnight on 2022-03-27", day, "Asia/Beirut", 1648350000, 1648332000, 1648414800},
      {"St. John's, back from 00:01 to 23:01 on 2010-11-07: the new day has begun", day,
       "America/St_Johns", 1289097600, 1289097000, 1289187000},
      {"week begins on Monday", week, "Europe/Berlin", 1795219200, 1794783600, 1795388400},
      {"Sunday is its last day", week, "UTC", 1795391999, 1794787200, 1795392000},
      {"Monday is its first", week, "UTC", 1795392000, 1795392000, 1795996800},
      {"week of a change has 167 hours", week, "Europe/Berlin", 1774746000, 1774220400, 1774821600},
      {"month", month, "Europe/Berlin", 1795219200, 1793487600, 1796079600},
      {"December ends with the year", month, "Europe/Berlin", 1798000000, 1796079600, 1798758000},
      {"January begins it", month, "Europe/Berlin", 1798758000, 1798758000, 1801436400},
      {"February of a leap year", month, "UTC", 1835000000, 1832976000, 1835481600},
      {"before 1970", month, "UTC", -1, -2678400, 0},
  };
  for (const auto& c : cases) {
    const Period period = period_of(c.unit, c.timezone, c.at * 1000);
    EXPECT_EQ(period.start_unix_ms, c.start * 1000) << c.description;
    EXPECT_EQ(period.end_unix_ms, c.end * 1000) << c.description;
  }
}

TEST(Calendar, MillisecondsBelongToTheirPeriod) {
  EXPECT_EQ(period_of(CalendarUnit::day, "UTC", 24 * kHour - 1).start_unix_ms, 0);
  EXPECT_EQ(period_of(CalendarUnit::day, "UTC", 24 * kHour).start_unix_ms, 24 * kHour);
  EXPECT_EQ(period_of(CalendarUnit::day, "UTC", -1).end_unix_ms, 0);
}

// Hour by hour through the years with the odd changes: each moment lies in its period, and periods
// meet without gap or overlap.
TEST(Calendar, PeriodsMeet) {
  constexpr int64_t kFrom = 1'262'304'000'000;  // 2010-01-01
  constexpr int64_t kTo = 1'325'376'000'000;    // 2012-01-01
  for (const char* zone : {"America/St_Johns", "Pacific/Apia", "Asia/Beirut", "America/Sao_Paulo",
                           "Africa/Cairo", "America/Havana"}) {
    Period last = period_of(CalendarUnit::day, zone, kFrom);
    for (int64_t at = kFrom; at < kTo; at += kHour / 4) {
      const Period now = period_of(CalendarUnit::day, zone, at);
      ASSERT_TRUE(now.start_unix_ms <= at && at < now.end_unix_ms) << zone << ' ' << at;
      if (now.start_unix_ms != last.start_unix_ms) {
        ASSERT_EQ(now.start_unix_ms, last.end_unix_ms) << zone << ' ' << at;
      }
      last = now;
    }
  }
}

TEST(Calendar, WritesLocalTimes) {
  EXPECT_EQ(local_time_text("Europe/Berlin", 1795302000000), "2026-11-22 00:00 CET");
  EXPECT_EQ(local_time_text("Europe/Berlin", 1784100000000), "2026-07-15 09:20 CEST");
  EXPECT_EQ(local_time_text("UTC", 1795302000000), "2026-11-21 23:00 UTC");
  EXPECT_EQ(local_time_text("Europe/Atlantis", -1), "1969-12-31 23:59 UTC");
}

}  // namespace
}  // namespace tollgate
