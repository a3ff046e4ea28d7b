#include "userspace/base/window_clock.h"

#include <gtest/gtest.h>

namespace tollgate {
namespace {

TEST(WindowClock, GoesOnFromItsAnchor) {
  const WindowClock clock(1'000, 1'795'000'000'000);
  EXPECT_EQ(clock.at(1'000), 1'795'000'000'000);
  EXPECT_EQ(clock.at(61'000), 1'795'000'060'000);
  EXPECT_EQ(clock.at(0), 1'794'999'999'000);
}

TEST(WindowClock, ReadsTheKernel) {
  const int64_t before = boottime_ms();
  EXPECT_GT(before, 0);
  EXPECT_GE(boottime_ms(), before);
  EXPECT_EQ(boot_id().size(), 36u);
  EXPECT_EQ(boot_id(), boot_id());
}

}  // namespace
}  // namespace tollgate
