// Where a report starts: "24h", "7d", "2026-11-20" or RFC 3339. Dates without an offset are UTC.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "userspace/base/result.h"

namespace tollgate::ctl {

struct Since {
  int64_t unix_ms = 0;
  std::string label;  // "in the last 24h", "since 2026-11-20 00:00:00 UTC"
};
Result<Since> parse_since(std::string_view text, int64_t now_unix_ms);

// "90s", "24h", "7d"; at least a second.
std::optional<int64_t> parse_duration_ms(std::string_view text);

std::string utc_time(int64_t unix_ms);  // "2026-11-20 14:03:22"

}  // namespace tollgate::ctl
