#include "userspace/daemon/tunnel_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "userspace/base/clock.h"
#include "userspace/base/text.h"
#include "userspace/daemon/privileges.h"
#include "userspace/daemon/tunnel_process.h"
#include "userspace/identity/tunnel_report.h"

namespace tollgate::daemon {
namespace {

constexpr int64_t kFirstReportMs = 20'000;
constexpr size_t kReadBytes = 256 * 1024;
constexpr size_t kComplaintBytesMax = 512;

Status become_watcher(const std::string& user, pid_t parent) {
  ::prctl(PR_SET_NAME, "tollgate-tunnel", 0, 0, 0);
  if (Status ok = keep_net_admin_only(user); !ok) return ok;
  // After the change of user, which clears it.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return system_error(errno, "follow parent");
  if (::getppid() != parent) return Error{Fault::system, 0, "follow parent: it is gone", {}};
  return {};
}

// Only the pipe is left of what was open; what the process says goes through it.
void run_watcher(const std::vector<std::string>& names, const std::string& user, pid_t parent,
                 int pipe) {
  constexpr int kPipe = 3;
  if (::dup2(pipe, kPipe) < 0) return;
  ::close_range(kPipe + 1, ~0u, 0);
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < kPipe && nothing >= 0; ++fd)
    ::dup2(nothing, fd);
  if (const Status ok = become_watcher(user, parent); !ok) {
    const std::string complaint = frame(FrameKind::complaint, ok.error().text);
    static_cast<void>(::send(kPipe, complaint.data(), complaint.size(), MSG_NOSIGNAL));
    return;
  }
  watch_tunnels(names, kPipe);
}

}  // namespace

TunnelWatch::TunnelWatch(std::vector<std::string> names, UniqueFd pipe, pid_t child, int64_t now_ms)
    : names_(std::move(names)), pipe_(std::move(pipe)), child_(child), heard_ms_(now_ms) {}

TunnelWatch::~TunnelWatch() {
  pipe_.reset();  // it ends by itself, and at once by the signal
  ::kill(child_, SIGKILL);
  ::waitpid(child_, nullptr, 0);
}

Result<std::unique_ptr<TunnelWatch>> TunnelWatch::start(std::vector<std::string> names,
                                                        const std::string& user) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return system_error(errno, "make a socket pair");
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  ::fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return system_error(errno, "fork the watch of the tunnels");
  if (child == 0) {
    run_watcher(names, user, parent, theirs.get());
    ::_exit(1);
  }
  theirs.reset();
  const int64_t began_ms = monotonic_ms();
  std::unique_ptr<TunnelWatch> watch(
      new TunnelWatch(std::move(names), std::move(ours), child, began_ms));
  while (watch->pipe_ && watch->reported_.empty() && watch->problem_.empty()) {
    const int64_t left_ms = began_ms + kFirstReportMs - monotonic_ms();
    pollfd wait{watch->fd(), POLLIN, 0};
    if (left_ms <= 0 || ::poll(&wait, 1, static_cast<int>(left_ms)) == 0) {
      return Error{Fault::system, ETIMEDOUT, "read the tunnels: no answer from the kernel", {}};
    }
    watch->step(monotonic_ms());
  }
  if (watch->reported_.empty()) return Error{Fault::system, 0, watch->problem_, {}};
  return watch;
}

bool TunnelWatch::step(int64_t now_ms) {
  changed_ = false;
  if (pipe_) read_pipe(now_ms);
  if (!withdrawn_ && now_ms - heard_ms_ > kGraceMs) {
    if (problem_.empty()) problem_ = "the watch of the tunnels is silent; restart tollgated";
    withdraw();
  }
  return changed_;
}

void TunnelWatch::read_pipe(int64_t now_ms) {
  for (;;) {
    const size_t had = received_.size();
    received_.resize(had + kReadBytes);
    const ssize_t got = ::recv(pipe_.get(), received_.data() + had, kReadBytes, 0);
    const int failure = errno;
    received_.resize(had + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && failure == EINTR) continue;
    if (got < 0 && failure == EAGAIN) return;
    if (got <= 0) return end("ended");
    if (!take_frames(now_ms)) return end("wrote what it should not");
  }
}

bool TunnelWatch::take_frames(int64_t now_ms) {
  size_t taken = 0;
  for (;;) {
    const FrameView first = first_frame(std::string_view(received_).substr(taken));
    if (first.state == FrameState::malformed) return false;
    if (first.state == FrameState::partial) break;
    if (!take_frame(first, now_ms)) return false;
    taken += first.bytes;
  }
  received_.erase(0, taken);
  return true;
}

bool TunnelWatch::take_frame(const FrameView& frame, int64_t now_ms) {
  if (frame.kind == FrameKind::complaint) {
    problem_ = "the tunnels cannot be read: " + printable(frame.text.substr(0, kComplaintBytesMax));
    return true;
  }
  if (frame.kind == FrameKind::report) {
    auto tunnels = identity::parse_report(frame.text, names_);
    if (!tunnels) return false;
    reported_ = std::move(*tunnels);
  }
  changed_ = changed_ || withdrawn_ || frame.kind == FrameKind::report;
  withdrawn_ = false;
  heard_ms_ = now_ms;
  problem_.clear();
  return true;
}

void TunnelWatch::end(const std::string& why) {
  pipe_.reset();
  received_.clear();
  // Ours has no privilege left to begin another.
  problem_ = "the watch of the tunnels " + why +
             (problem_.empty() ? std::string() : " (" + problem_ + ")") +
             ": peers of WireGuard are nobody from " + std::to_string(kGraceMs / 1000) +
             " s on; restart tollgated";
}

void TunnelWatch::withdraw() {
  changed_ = withdrawn_ = true;
  nobody_ = reported_;
  for (identity::Tunnel& tunnel : nobody_) {
    if (!tunnel.wireguard) continue;
    tunnel.unreadable = problem_;
    tunnel.peers.clear();
  }
}

}  // namespace tollgate::daemon
