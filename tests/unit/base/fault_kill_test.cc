#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

#include "userspace/base/fault_point.h"

namespace tollgate {
namespace {

// Each statement runs in a process of its own, as the variable is read once.
void pass(const char* fault, int times) {
  ::setenv("TOLLGATE_FAULT", fault, 1);
  fault_point("released");
  for (int i = 0; i < times; ++i)
    fault_point("hold_durable");
  std::_Exit(0);
}

class FaultKill : public testing::Test {
 protected:
  FaultKill() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(FaultKill, KillsAtTheNamedPlaceTheNthTime) {
  EXPECT_EXIT(pass("hold_durable", 1), testing::KilledBySignal(SIGKILL), "");
  EXPECT_EXIT(pass("hold_durable:3", 3), testing::KilledBySignal(SIGKILL), "");
}

TEST_F(FaultKill, GoesOnBeforeThatAndElsewhere) {
  EXPECT_EXIT(pass("hold_durable:3", 2), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(pass("hold_pushed", 9), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(pass("hold", 9), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(pass("", 9), testing::ExitedWithCode(0), "");
}

TEST_F(FaultKill, RefusesANumberThatIsNone) {
  EXPECT_EXIT(pass("hold_durable:x", 1), testing::KilledBySignal(SIGABRT), "");
  EXPECT_EXIT(pass("hold_durable:0", 1), testing::KilledBySignal(SIGABRT), "");
}

}  // namespace
}  // namespace tollgate
