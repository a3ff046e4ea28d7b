// The clock that limits' windows run on: milliseconds that only go forward, at the pace of the
// kernel's CLOCK_BOOTTIME (which counts suspended time), and begin near the wall clock's. A step of
// the wall clock does not move it; the anchor is kept in the ledger, so that neither does a restart
// in the same boot. Calendar windows use the wall clock.
#pragma once

#include <cstdint>
#include <string>

namespace tollgate {

class WindowClock {
 public:
  WindowClock(int64_t anchor_boottime_ms, int64_t anchor_window_ms)
      : offset_ms_(anchor_window_ms - anchor_boottime_ms) {}
  int64_t at(int64_t boottime_ms) const { return boottime_ms + offset_ms_; }

 private:
  int64_t offset_ms_;
};

int64_t boottime_ms();
std::string boot_id();  // of /proc/sys/kernel/random/boot_id; "" when it cannot be read

}  // namespace tollgate
