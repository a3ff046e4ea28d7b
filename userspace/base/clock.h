// The two clocks. Monotonic time runs windows and timeouts; wall time only goes into records.
// Pure code takes `now` as an argument; only threads' top loops call these.
#pragma once

#include <cstdint>

namespace tollgate {

int64_t monotonic_ns();
int64_t wall_unix_ns();
inline int64_t monotonic_ms() {
  return monotonic_ns() / 1'000'000;
}
inline int64_t wall_unix_ms() {
  return wall_unix_ns() / 1'000'000;
}

}  // namespace tollgate
