#include "userspace/base/clock.h"

#include <time.h>

namespace tollgate {
namespace {

int64_t read_clock_ns(clockid_t id) {
  timespec now{};
  ::clock_gettime(id, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

int64_t monotonic_ns() {
  return read_clock_ns(CLOCK_MONOTONIC);
}
int64_t wall_unix_ns() {
  return read_clock_ns(CLOCK_REALTIME);
}

}  // namespace tollgate
