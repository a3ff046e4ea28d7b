// Money and tokens. Integers only: 1 USD = 1,000,000,000 nano-USD, so that a price per million
// tokens down to 0.001 USD is exact per token; products go through 128 bits.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "userspace/base/result.h"

namespace tollgate {

struct NanoUsd {
  int64_t value = 0;
  auto operator<=>(const NanoUsd&) const = default;
  NanoUsd operator+(NanoUsd other) const { return {value + other.value}; }
  NanoUsd& operator+=(NanoUsd other) {
    value += other.value;
    return *this;
  }
};

struct Tokens {
  uint64_t value = 0;
  auto operator<=>(const Tokens&) const = default;
};

inline constexpr int64_t kNanoUsdPerUsd = 1'000'000'000;

// "12.40", "-0.000000001", "3": plain decimal, at most nine places, no sign but '-', no exponent.
Result<NanoUsd> parse_usd(std::string_view text);
// Shortest exact decimal with at least two places: "12.40", "0.0000125".
std::string format_usd_exact(NanoUsd amount);
// For people: "$1,234.50"; below a cent four significant digits: "$0.001234".
std::string format_usd_short(NanoUsd amount);

// "1,234,567"
std::string thousands(int64_t number);

}  // namespace tollgate
