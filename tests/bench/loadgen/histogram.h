// A log-linear histogram of durations: 128 steps for each power of two, under 1 % error.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

namespace tollgate::bench {

class Histogram {
 public:
  void add(int64_t value_ns);
  double quantile_us(double q) const;
  nlohmann::ordered_json to_json() const;

 private:
  std::vector<uint64_t> counts_ = std::vector<uint64_t>(64 * 128, 0);
  uint64_t total_ = 0;
  uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace tollgate::bench
