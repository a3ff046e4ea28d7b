#include "policy/limit.h"

#include <utility>

namespace tollgate::policy {

std::string_view to_string(LimitScope scope) {
  return scope == LimitScope::user ? "user" : "group";
}

std::string_view to_string(LimitUnit unit) {
  constexpr std::string_view kNames[] = {"usd", "tokens", "requests", "concurrent"};
  return kNames[static_cast<size_t>(unit)];
}

std::string to_string(const Window& window) {
  constexpr int64_t kDayMs = 86'400'000;
  constexpr std::pair<int64_t, const char*> kUnits[] = {
      {kDayMs, "d"}, {3'600'000, "h"}, {60'000, "m"}, {1000, "s"}};
  switch (window.kind) {
    case Window::Kind::day:
      return "day " + window.timezone;
    case Window::Kind::week:
      return "week " + window.timezone;
    case Window::Kind::month:
      return "month " + window.timezone;
    case Window::Kind::rolling:
      break;
  }
  for (const auto& [unit_ms, letter] : kUnits) {
    // "1d" reads like a calendar day, which it is not.
    if (window.rolling_ms == kDayMs && unit_ms == kDayMs) continue;
    if (window.rolling_ms % unit_ms == 0)
      return std::to_string(window.rolling_ms / unit_ms) + letter;
  }
  return std::to_string(window.rolling_ms) + "ms";
}

}  // namespace tollgate::policy
