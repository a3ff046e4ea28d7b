#include "userspace/base/units.h"

#include <limits>

namespace tollgate {
namespace {

constexpr int kPlaces = 9;

std::string decimal(NanoUsd amount, size_t places_min, size_t places_max) {
  const bool negative = amount.value < 0;
  const uint64_t magnitude =
      negative ? 0 - static_cast<uint64_t>(amount.value) : static_cast<uint64_t>(amount.value);
  std::string fraction = std::to_string(magnitude % uint64_t{kNanoUsdPerUsd});
  fraction.insert(0, kPlaces - fraction.size(), '0');
  fraction.resize(places_max);
  while (fraction.size() > places_min && fraction.back() == '0')
    fraction.pop_back();
  return (negative ? "-" : "") + std::to_string(magnitude / uint64_t{kNanoUsdPerUsd}) + "." +
         fraction;
}

// Commas into the digits of text[first, end).
void group_digits(std::string& text, size_t first, size_t end) {
  while (end > first + 3) {
    end -= 3;
    text.insert(end, 1, ',');
  }
}

}  // namespace

Result<NanoUsd> parse_usd(std::string_view text) {
  const auto refuse = [&] {
    return Error{Fault::config, 0,
                 "read amount \"" + std::string(text) + "\": not a decimal number of USD",
                 "write it like \"50.00\": digits, at most nine places"};
  };
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative) rest.remove_prefix(1);
  const size_t dot = rest.find('.');
  const std::string_view whole = rest.substr(0, dot);
  const std::string_view fraction = dot == rest.npos ? std::string_view{} : rest.substr(dot + 1);
  if (whole.empty() || whole.size() > 9 || fraction.size() > kPlaces ||
      (dot != rest.npos && fraction.empty())) {
    return refuse();
  }
  int64_t value = 0;
  for (const char c : whole) {
    if (c < '0' || c > '9') return refuse();
    value = value * 10 + (c - '0');
  }
  int64_t nano = 0;
  for (size_t i = 0; i < kPlaces; ++i) {
    const char c = i < fraction.size() ? fraction[i] : '0';
    if (c < '0' || c > '9') return refuse();
    nano = nano * 10 + (c - '0');
  }
  value = value * kNanoUsdPerUsd + nano;
  return NanoUsd{negative ? -value : value};
}

std::string format_usd_exact(NanoUsd amount) {
  return decimal(amount, 2, kPlaces);
}

std::string thousands(int64_t number) {
  std::string text = std::to_string(number);
  group_digits(text, number < 0 ? 1 : 0, text.size());
  return text;
}

std::string format_usd_short(NanoUsd amount) {
  const uint64_t magnitude = amount.value < 0 ? 0 - static_cast<uint64_t>(amount.value)
                                              : static_cast<uint64_t>(amount.value);
  if (magnitude == 0) return "$0.00";
  size_t places = 2;
  // Below a cent, keep four significant digits.
  for (uint64_t floor = 10'000'000; places < kPlaces && magnitude < floor; floor /= 10) {
    places = places == 2 ? 6 : places + 1;
  }
  std::string text = decimal(amount, 2, places);
  group_digits(text, text.starts_with('-') ? 1 : 0, text.find('.'));
  return text.starts_with('-') ? "-$" + text.substr(1) : "$" + text;
}

}  // namespace tollgate
