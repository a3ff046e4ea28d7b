// Sums that may leave 64 bits on their way.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace tollgate::policy {

__extension__ using Wide = __int128;

inline int64_t clamped(Wide sum) {
  return static_cast<int64_t>(std::min<Wide>(sum, std::numeric_limits<int64_t>::max()));
}

}  // namespace tollgate::policy
