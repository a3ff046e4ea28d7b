#include "userspace/daemon/tunnel_process.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "userspace/base/clock.h"
#include "userspace/identity/tunnel_reader.h"
#include "userspace/identity/tunnel_report.h"

namespace tollgate::daemon {
namespace {

constexpr int64_t kReadEveryMs = 250;
// Reading a great many peers takes a tenth of a CPU at most.
constexpr int64_t kRestPerWork = 10;
constexpr int64_t kAliveEveryMs = 1000;

// Waits until the reader takes it. False: there is none any more.
bool send_all(int pipe, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(pipe, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

// True: go on. Ends early when an interface or an address changed.
bool rest(int pipe, identity::TunnelReader& reader, int64_t ms) {
  pollfd fds[] = {{pipe, POLLIN, 0}, {reader.events_fd(), POLLIN, 0}};
  const int ready = ::poll(fds, 2, static_cast<int>(ms));
  // Nothing is ever sent to us: this is the end of the other process.
  if (ready > 0 && fds[0].revents != 0) return false;
  if (ready > 0 && fds[1].revents != 0) reader.drain_events();
  return true;
}

}  // namespace

std::string frame(FrameKind kind, std::string_view text) {
  const auto length = static_cast<uint32_t>(text.size());
  std::string bytes(kFrameHeadBytes, static_cast<char>(kind));
  std::memcpy(bytes.data() + 1, &length, sizeof length);
  bytes += text;
  return bytes;
}

FrameView first_frame(std::string_view received) {
  FrameView view;
  if (received.size() < kFrameHeadBytes) return view;
  uint32_t length = 0;
  std::memcpy(&length, received.data() + 1, sizeof length);
  const auto kind = static_cast<uint8_t>(received.front());
  if (kind < static_cast<uint8_t>(FrameKind::alive) ||
      kind > static_cast<uint8_t>(FrameKind::complaint) || length > kReportBytesMax) {
    view.state = FrameState::malformed;
    return view;
  }
  if (received.size() - kFrameHeadBytes < length) return view;
  view.state = FrameState::whole;
  view.kind = static_cast<FrameKind>(kind);
  view.text = received.substr(kFrameHeadBytes, length);
  view.bytes = kFrameHeadBytes + length;
  return view;
}

void watch_tunnels(const std::vector<std::string>& names, int pipe) {
  auto reader = identity::TunnelReader::make(names);
  if (!reader) {
    send_all(pipe, frame(FrameKind::complaint, reader.error().text));
    return;
  }
  std::string told;
  int64_t told_ms = 0;
  for (;;) {
    const int64_t began_ms = monotonic_ms();
    const auto tunnels = (*reader)->read();
    const std::string text = tunnels ? identity::report_text(*tunnels) : tunnels.error().text;
    const int64_t now_ms = monotonic_ms();
    if (text != told || now_ms - told_ms >= kAliveEveryMs) {
      const FrameKind kind = !tunnels       ? FrameKind::complaint
                             : text == told ? FrameKind::alive
                                            : FrameKind::report;
      if (!send_all(pipe, frame(kind, kind == FrameKind::alive ? std::string_view() : text)))
        return;
      told = text;
      told_ms = now_ms;
    }
    if (!rest(pipe, **reader, std::max(kReadEveryMs, (now_ms - began_ms) * kRestPerWork))) return;
  }
}

}  // namespace tollgate::daemon
