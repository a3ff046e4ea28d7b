#include "tests/bench/loadgen/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace tollgate::bench {
namespace {

constexpr uint64_t kSteps = 128;
constexpr uint64_t kStepBits = 7;

size_t bucket_of(uint64_t value) {
  if (value < kSteps) return value;
  uint64_t exponent = static_cast<uint64_t>(std::bit_width(value)) - 1;
  return (exponent - kStepBits + 1) * kSteps + ((value >> (exponent - kStepBits)) % kSteps);
}

// The middle of the bucket.
double value_of(size_t bucket) {
  if (bucket < kSteps) return static_cast<double>(bucket);
  int exponent = static_cast<int>(bucket / kSteps) - 1;
  double base = static_cast<double>(kSteps + bucket % kSteps) + 0.5;
  return std::ldexp(base, exponent);
}

}  // namespace

void Histogram::add(int64_t value_ns) {
  uint64_t value = static_cast<uint64_t>(std::max<int64_t>(0, value_ns));
  ++counts_[bucket_of(value)];
  ++total_;
  sum_ += static_cast<double>(value);
  max_ = std::max(max_, value);
}

double Histogram::quantile_us(double q) const {
  uint64_t wanted =
      std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(q * static_cast<double>(total_))));
  uint64_t seen = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= wanted) return std::min(value_of(i), static_cast<double>(max_)) / 1e3;
  }
  return 0;
}

nlohmann::ordered_json Histogram::to_json() const {
  double mean = total_ == 0 ? 0 : sum_ / static_cast<double>(total_) / 1e3;
  return {{"n", total_},
          {"mean_us", mean},
          {"p50_us", quantile_us(0.5)},
          {"p99_us", quantile_us(0.99)},
          {"p999_us", quantile_us(0.999)},
          {"max_us", static_cast<double>(max_) / 1e3}};
}

}  // namespace tollgate::bench
