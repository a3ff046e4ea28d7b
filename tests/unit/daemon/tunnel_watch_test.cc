#include "userspace/daemon/tunnel_watch.h"

#include <gtest/gtest.h>
#include <poll.h>

#include "userspace/base/clock.h"

namespace tollgate::daemon {
namespace {

TEST(TunnelFrames, ComeBackWholeFromAnySplit) {
  const std::string text = "[{}]";
  const std::string both = frame(FrameKind::report, text) + frame(FrameKind::alive, "");
  for (size_t length = 0; length < kFrameHeadBytes + text.size(); ++length)
    EXPECT_EQ(first_frame(std::string_view(both).substr(0, length)).state, FrameState::partial);
  const FrameView first = first_frame(both);
  ASSERT_EQ(first.state, FrameState::whole);
  EXPECT_EQ(first.kind, FrameKind::report);
  EXPECT_EQ(first.text, text);
  const FrameView second = first_frame(std::string_view(both).substr(first.bytes));
  ASSERT_EQ(second.state, FrameState::whole);
  EXPECT_EQ(second.kind, FrameKind::alive);
  EXPECT_EQ(second.bytes, kFrameHeadBytes);
}

TEST(TunnelFrames, RefuseAnotherKindAndALengthWithoutBounds) {
  std::string strange = frame(FrameKind::complaint, "x");
  strange[0] = 9;
  EXPECT_EQ(first_frame(strange).state, FrameState::malformed);
  strange[0] = 0;
  EXPECT_EQ(first_frame(strange).state, FrameState::malformed);
  std::string endless = frame(FrameKind::report, "");
  endless[4] = '\x7f';
  EXPECT_EQ(first_frame(endless).state, FrameState::malformed);
}

TEST(TunnelWatch, TellsFirstWhichInterfacesThereAre) {
  auto watch = TunnelWatch::start({"lo", "no-such-tunnel"}, "");
  ASSERT_TRUE(watch) << watch.error().text;
  const auto& tunnels = (*watch)->tunnels();
  ASSERT_EQ(tunnels.size(), 2u);
  EXPECT_EQ(tunnels[0].name, "lo");
  EXPECT_NE(tunnels[0].ifindex, 0u);
  EXPECT_FALSE(tunnels[0].wireguard);
  EXPECT_EQ(tunnels[1].ifindex, 0u);
  EXPECT_EQ((*watch)->problem(), "");
}

TEST(TunnelWatch, BelievesNothingForLongOfAProcessThatIsSilent) {
  auto watch = TunnelWatch::start({"lo"}, "");
  ASSERT_TRUE(watch) << watch.error().text;
  // Until a moment in which the pipe is empty.
  const int64_t later_ms = monotonic_ms() + TunnelWatch::kGraceMs * 2;
  int64_t now_ms = later_ms;
  for (int i = 0; i < 100 && (*watch)->problem().empty(); ++i) {
    now_ms += TunnelWatch::kGraceMs * 2;
    (*watch)->step(now_ms);
  }
  EXPECT_NE((*watch)->problem().find("silent"), std::string::npos);
  // And again, from its next sign of life on.
  pollfd wait{(*watch)->fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&wait, 1, 20'000), 1);
  EXPECT_TRUE((*watch)->step(now_ms + 1));
  EXPECT_EQ((*watch)->problem(), "");
}

}  // namespace
}  // namespace tollgate::daemon
