#include "userspace/ctl/since.h"

#include <chrono>
#include <ctime>

namespace tollgate::ctl {
namespace {

// Reads exactly `digits` digits and moves on.
std::optional<int> number(std::string_view& text, size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int value = 0;
  for (size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return value;
}

bool skip(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == any_of.npos) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<int64_t> date_ms(std::string_view& text) {
  const auto year = number(text, 4);
  if (!year || !skip(text, "-")) return std::nullopt;
  const auto month = number(text, 2);
  if (!month || !skip(text, "-")) return std::nullopt;
  const auto day = number(text, 2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year{*year},
                                         std::chrono::month{static_cast<unsigned>(*month)},
                                         std::chrono::day{static_cast<unsigned>(*day)}};
  if (!date.ok()) return std::nullopt;
  return int64_t{std::chrono::sys_days{date}.time_since_epoch().count()} * 86'400'000;
}

// What follows the date in RFC 3339: "T10:00:00Z", "T10:00:00.5+02:00".
std::optional<int64_t> time_ms(std::string_view text) {
  if (!skip(text, "Tt ")) return std::nullopt;
  const auto hour = number(text, 2);
  if (!hour || *hour > 23 || !skip(text, ":")) return std::nullopt;
  const auto minute = number(text, 2);
  if (!minute || *minute > 59 || !skip(text, ":")) return std::nullopt;
  const auto second = number(text, 2);
  if (!second || *second > 59) return std::nullopt;
  int64_t milliseconds = ((*hour * 60 + *minute) * 60 + *second) * int64_t{1000};
  if (skip(text, ".")) {
    int64_t place = 100;
    bool any = false;
    while (const auto digit = number(text, 1)) {
      milliseconds += *digit * place;
      place /= 10;
      any = true;
    }
    if (!any) return std::nullopt;
  }
  if (skip(text, "Zz")) return text.empty() ? std::optional<int64_t>{milliseconds} : std::nullopt;
  const bool east = text.starts_with('+');
  if (!skip(text, "+-")) return std::nullopt;
  const auto offset_hour = number(text, 2);
  if (!offset_hour || *offset_hour > 23 || !skip(text, ":")) return std::nullopt;
  const auto offset_minute = number(text, 2);
  if (!offset_minute || *offset_minute > 59 || !text.empty()) return std::nullopt;
  const int64_t offset = (*offset_hour * 60 + *offset_minute) * int64_t{60'000};
  return east ? milliseconds - offset : milliseconds + offset;
}

}  // namespace

Result<Since> parse_since(std::string_view text, int64_t now_unix_ms) {
  if (const auto ago = parse_duration_ms(text)) {
    const int64_t start = now_unix_ms > *ago ? now_unix_ms - *ago : 0;
    return Since{start, "in the last " + std::string(text)};
  }
  std::string_view rest = text;
  std::optional<int64_t> start = date_ms(rest);
  if (start && !rest.empty()) {
    const auto time = time_ms(rest);
    start = time ? std::optional<int64_t>{*start + *time} : std::nullopt;
  }
  if (!start || *start < 0) {
    return Error{Fault::config, 0, "--since: \"" + std::string(text) + "\" is not a time",
                 "write 24h, 7d, 2026-11-20 or 2026-11-20T14:00:00Z"};
  }
  if (*start > now_unix_ms) {
    return Error{Fault::config, 0, "--since: " + std::string(text) + " is in the future", {}};
  }
  return Since{*start, "since " + utc_time(*start) + " UTC"};
}

std::optional<int64_t> parse_duration_ms(std::string_view text) {
  int64_t unit = 0;
  switch (text.empty() ? ' ' : text.back()) {
    case 's':
      unit = 1'000;
      break;
    case 'm':
      unit = 60'000;
      break;
    case 'h':
      unit = 3'600'000;
      break;
    case 'd':
      unit = 86'400'000;
      break;
    case 'w':
      unit = 7 * 86'400'000;
      break;
    default:
      return std::nullopt;
  }
  text.remove_suffix(1);
  if (text.empty() || text.size() > 6) return std::nullopt;
  const std::optional<int> count = number(text, text.size());
  if (!count || *count == 0) return std::nullopt;
  return *count * unit;
}

std::string utc_time(int64_t unix_ms) {
  const std::time_t seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm parts{};
  char text[32] = "";
  if (::gmtime_r(&seconds, &parts) == nullptr) return "-";
  const size_t length = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return {text, length};
}

}  // namespace tollgate::ctl
