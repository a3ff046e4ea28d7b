#include "userspace/daemon/dial.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>

#include "userspace/base/clock.h"
#include "userspace/base/fd.h"

namespace tollgate::daemon {
namespace {

constexpr int kPatienceMs = 5'000;
constexpr size_t kAnswerBytesMax = 1024 * 1024;

bool wait_for(int fd, short events, int64_t deadline_ms) {
  const int64_t left_ms = deadline_ms - monotonic_ms();
  pollfd ready{fd, events, 0};
  return left_ms > 0 && ::poll(&ready, 1, static_cast<int>(left_ms)) == 1;
}

Result<UniqueFd> connect_to(const Endpoint& remote, int64_t deadline_ms) {
  sockaddr_storage storage{};
  const socklen_t length = sockaddr_from_endpoint(remote, storage);
  UniqueFd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return system_error(errno, "make a socket");
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0) return fd;
  if (errno != EINPROGRESS) return system_error(errno, "connect");
  int failure = ETIMEDOUT;
  socklen_t size = sizeof failure;
  if (wait_for(fd.get(), POLLOUT, deadline_ms)) {
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &failure, &size);
  }
  if (failure != 0) return system_error(failure, "connect");
  return fd;
}

Status send_all(int fd, tls::Bytes& bytes, int64_t deadline_ms) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = ::send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN && wait_for(fd, POLLOUT, deadline_ms)) continue;
    if (n < 0) return system_error(errno, "send");
    sent += static_cast<size_t>(n);
  }
  bytes.clear();
  return {};
}

// Until the handshake is done: chain and host name are verified in it.
Status shake_hands(int fd, tls::Channel& channel, int64_t deadline_ms) {
  tls::Bytes out;
  channel.start(out);
  while (true) {
    if (Status sent = send_all(fd, out, deadline_ms); !sent) return sent;
    if (channel.state() == tls::Channel::State::open) return {};
    std::byte block[16 * 1024];
    if (!wait_for(fd, POLLIN, deadline_ms)) return system_error(ETIMEDOUT, "handshake");
    const ssize_t n = ::recv(fd, block, sizeof block, 0);
    if (n < 0 && errno == EAGAIN) continue;
    if (n < 0) return system_error(errno, "handshake");
    if (n == 0) return Error{Fault::upstream, 0, "handshake: ended by the other side", {}};
    const std::span<const std::byte> wire(block, static_cast<size_t>(n));
    const auto nothing = [](std::span<const std::byte>) {};
    if (Status received = channel.receive(wire, nothing, out); !received) return received;
  }
}

}  // namespace

Status try_to_reach(const Endpoint& remote, const tls::ClientContext* context) {
  const int64_t deadline_ms = monotonic_ms() + kPatienceMs;
  const auto fd = connect_to(remote, deadline_ms);
  if (!fd) return fd.error();
  if (context == nullptr) return {};
  const auto channel = context->make_channel();
  return shake_hands(fd->get(), *channel, deadline_ms);
}

std::string ask_daemon(const std::string& path, const std::string& question) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return {};
  std::copy(path.begin(), path.end(), address.sun_path);
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return {};
  }
  const std::string line = question + "\n";
  if (::send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL) < 0) return {};
  const int64_t deadline_ms = monotonic_ms() + kPatienceMs;
  std::string answer;
  while (answer.find('\n') == answer.npos && answer.size() < kAnswerBytesMax) {
    char block[4096];
    if (!wait_for(fd.get(), POLLIN, deadline_ms)) break;
    const ssize_t n = ::recv(fd.get(), block, sizeof block, 0);
    if (n <= 0) break;
    answer.append(block, static_cast<size_t>(n));
  }
  return answer.empty() ? "no answer" : answer;
}

}  // namespace tollgate::daemon
