// Calendar periods in a time zone of the system's tz database.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "userspace/base/period.h"

namespace tollgate {

enum class CalendarUnit : uint8_t { day, week, month };  // weeks begin on Monday

// "UTC", "Europe/Berlin": is it known here? Anything but a plain zone name is not.
bool is_timezone(std::string_view name);

// The period that holds the moment: from local midnight to local midnight, so that a day of a
// daylight-saving change has 23 or 25 hours. Where midnight does not exist, the period begins with
// the first moment of the day. An unknown zone is UTC (the configuration was checked).
Period period_of(CalendarUnit unit, std::string_view timezone, int64_t unix_ms);

// "2026-11-22 00:00 CET" for sentences.
std::string local_time_text(std::string_view timezone, int64_t unix_ms);

}  // namespace tollgate
