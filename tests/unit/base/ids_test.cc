#include "userspace/base/ids.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "userspace/base/result.h"

namespace tollgate {
namespace {

TEST(RequestId, IsPrefixAndThirtyTwoHexDigits) {
  EXPECT_EQ(to_string(RequestId{0x0123456789abcdef, 1}), "gw_0123456789abcdef0000000000000001");
}

TEST(RequestId, SortsByTimeAndDiffersWithinOneMillisecond) {
  const RequestId first = make_request_id(1'795'224'796'034);
  const RequestId again = make_request_id(1'795'224'796'034);
  const RequestId later = make_request_id(1'795'224'796'035);
  EXPECT_NE(first, again);
  EXPECT_LT(first, later);
  EXPECT_LT(to_string(first), to_string(later));
  EXPECT_EQ(first.high >> 16, 1'795'224'796'034u);
}

TEST(PeerTag, MatchesOnlyWithBothParts) {
  EXPECT_EQ((PeerTag{1, 2}), (PeerTag{1, 2}));
  EXPECT_NE((PeerTag{1, 2}), (PeerTag{1, 3}));
  EXPECT_NE((PeerTag{1, 2}), (PeerTag{2, 2}));
}

Result<int> half(int value) {
  if (value % 2 != 0) return Error{Fault::peer, 0, "halve " + std::to_string(value), "be even"};
  return value / 2;
}

Result<std::string> describe(int value) {
  auto halved = half(value);
  if (!halved) return std::move(halved).forward();
  return std::to_string(*halved);
}

TEST(Result, CarriesAValueOrAnErrorThroughAnotherType) {
  EXPECT_EQ(*describe(4), "2");
  const auto refused = describe(3);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text, "halve 3");
  EXPECT_EQ(refused.error().hint, "be even");
  EXPECT_EQ(refused.error().fault, Fault::peer);
}

TEST(Result, SystemErrorNamesTheErrno) {
  const Error error = system_error(ENOENT, "open x");
  EXPECT_EQ(error.text, "open x: No such file or directory");
  EXPECT_EQ(error.sys_errno, ENOENT);
}

}  // namespace
}  // namespace tollgate
