// What goes down the pipe from the process that watches the tunnels: 1 byte of kind, 4 of length in
// our own byte order, then so many bytes of text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::daemon {

enum class FrameKind : uint8_t {
  alive = 1,  // all is as reported before; empty
  report,     // identity::report_text
  complaint,  // the tunnels could not be read, and why
};
inline constexpr size_t kFrameHeadBytes = 5;
inline constexpr uint32_t kReportBytesMax = 64 * 1024 * 1024;

std::string frame(FrameKind kind, std::string_view text);

enum class FrameState : uint8_t { whole, partial, malformed };
struct FrameView {
  FrameState state = FrameState::partial;
  FrameKind kind = FrameKind::alive;
  std::string_view text;
  size_t bytes = 0;  // with the head
};
FrameView first_frame(std::string_view received);

// The loop of the process that watches. Returns when nobody reads the pipe any more.
void watch_tunnels(const std::vector<std::string>& names, int pipe);

}  // namespace tollgate::daemon
