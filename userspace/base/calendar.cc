#include "userspace/base/calendar.h"

#include <date/tz.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>

namespace tollgate {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The whole list is read with the first look-up and each zone's file with its first use, both under
// the library's own once-flags; a machine without tz data knows no zone.
const date::time_zone* find_zone(std::string_view name) {
  // "localtime" would mean another zone on another machine.
  if (name == "localtime") return nullptr;
  try {
    const auto& zones = date::get_tzdb().zones;
    const auto zone = std::lower_bound(zones.begin(), zones.end(), name,
                                       [](const date::time_zone& a, std::string_view b) {
                                         return std::string_view(a.name()) < b;
                                       });
    if (zone == zones.end() || zone->name() != name) return nullptr;
    zone->get_info(date::sys_seconds{});  // throws now if the file is no zone after all
    return &*zone;
  } catch (const std::exception&) {
    return nullptr;
  }
}

// A time zone, or UTC when there is none.
class Zone {
 public:
  explicit Zone(std::string_view name) : zone_(find_zone(name)) {}

  date::local_seconds to_local(date::sys_seconds at) const {
    return date::local_seconds{at.time_since_epoch() + info(at).offset};
  }
  // The first moment whose local date is this one: midnight, the first of two, or what follows a
  // gap that swallowed it.
  date::sys_seconds start_of(date::local_days day) const {
    if (zone_ == nullptr) return date::sys_seconds{day.time_since_epoch()};
    const date::local_info at = zone_->get_info(date::local_seconds{day});
    if (at.result == date::local_info::nonexistent) return at.first.end;
    return date::sys_seconds{date::local_seconds{day}.time_since_epoch() - at.first.offset};
  }
  date::sys_info info(date::sys_seconds at) const {
    if (zone_ != nullptr) return zone_->get_info(at);
    date::sys_info utc{};
    utc.abbrev = "UTC";
    return utc;
  }

 private:
  const date::time_zone* zone_;
};

date::local_days first_day(CalendarUnit unit, date::local_days day) {
  const date::year_month_day date{day};
  switch (unit) {
    case CalendarUnit::day:
      break;
    case CalendarUnit::week:
      return day - (date::weekday{day} - date::Monday);
    case CalendarUnit::month:
      return date::local_days{date.year() / date.month() / 1};
  }
  return day;
}

date::local_days next_first_day(CalendarUnit unit, date::local_days first) {
  const date::year_month_day date{first};
  switch (unit) {
    case CalendarUnit::day:
      break;
    case CalendarUnit::week:
      return first + date::weeks{1};
    case CalendarUnit::month:
      return date::local_days{date.year() / date.month() / 1 + date::months{1}};
  }
  return first + date::days{1};
}

int64_t to_ms(date::sys_seconds at) {
  return milliseconds(at.time_since_epoch()).count();
}

date::sys_seconds to_seconds(int64_t unix_ms) {
  return date::sys_seconds{std::chrono::floor<seconds>(milliseconds(unix_ms))};
}

}  // namespace

bool is_timezone(std::string_view name) {
  return find_zone(name) != nullptr;
}

Period period_of(CalendarUnit unit, std::string_view timezone, int64_t unix_ms) {
  const Zone zone(timezone);
  const auto today = date::floor<date::days>(zone.to_local(to_seconds(unix_ms)));
  date::local_days first = first_day(unit, today);
  date::local_days next = next_first_day(unit, first);
  // Clocks set back across midnight show the old date again after the new one has begun; a period
  // that has begun stays.
  if (unix_ms >= to_ms(zone.start_of(next))) {
    first = next;
    next = next_first_day(unit, first);
  }
  return {to_ms(zone.start_of(first)), to_ms(zone.start_of(next))};
}

std::string local_time_text(std::string_view timezone, int64_t unix_ms) {
  const Zone zone(timezone);
  const date::sys_seconds at = to_seconds(unix_ms);
  const date::local_seconds local = zone.to_local(at);
  const date::year_month_day date{date::floor<date::days>(local)};
  const date::hh_mm_ss<seconds> time{local - date::floor<date::days>(local)};
  char text[64];
  const int size = std::snprintf(
      text, sizeof text, "%d-%02u-%02u %02ld:%02ld ", static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
      static_cast<long>(time.hours().count()), static_cast<long>(time.minutes().count()));
  return std::string(text, static_cast<size_t>(size)) + zone.info(at).abbrev;
}

}  // namespace tollgate
