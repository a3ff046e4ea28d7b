// Frames on a socket; the messages in them are in handover_text.cc.
#include "userspace/daemon/handover.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "userspace/base/clock.h"

namespace tollgate::daemon {
namespace {

constexpr size_t kHeadBytes = 8;
constexpr int64_t kSendPatienceMs = 5'000;

Error broken(std::string what) {
  return Error{Fault::system, EPROTO, "read from the other daemon: " + std::move(what), {}};
}

uint32_t read_u32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;)
    value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

void append_u32(size_t value, std::string& out) {
  for (int i = 0; i < 4; ++i, value >>= 8)
    out += static_cast<char>(value & 0xff);
}

Status wait_for(int fd, short events, int64_t deadline_ms, const char* what) {
  for (;;) {
    const int64_t left_ms = deadline_ms - monotonic_ms();
    pollfd wait{fd, events, 0};
    const int ready = left_ms <= 0 ? 0 : ::poll(&wait, 1, static_cast<int>(left_ms));
    if (ready > 0) return {};
    if (ready < 0 && errno == EINTR) continue;
    return Error{Fault::system, ETIMEDOUT, std::string(what) + " the other daemon: it hangs", {}};
  }
}

}  // namespace

std::string frame_head(size_t text_bytes, size_t fds) {
  std::string head;
  append_u32(text_bytes, head);
  append_u32(fds, head);
  return head;
}

Result<std::optional<Frame>> FrameReader::next() {
  // Those of one frame that is not whole, and of the next.
  if (fds_.size() > 2 * kFrameFdsMax) return broken("descriptors without end");
  if (bytes_.size() < kHeadBytes) {
    // Descriptors come with the first byte of their frame.
    if (bytes_.empty() && !fds_.empty()) return broken("descriptors without a frame");
    return std::optional<Frame>();
  }
  const size_t text_bytes = read_u32(bytes_);
  const size_t fds = read_u32(std::string_view(bytes_).substr(4));
  if (text_bytes > kFrameBytesMax) return broken("a frame of " + std::to_string(text_bytes));
  if (fds > kFrameFdsMax) return broken("a frame with " + std::to_string(fds) + " descriptors");
  if (bytes_.size() - kHeadBytes < text_bytes) return std::optional<Frame>();
  if (fds_.size() < fds) return broken("descriptors are missing");
  Frame frame;
  frame.text = bytes_.substr(kHeadBytes, text_bytes);
  bytes_.erase(0, kHeadBytes + text_bytes);
  std::move(fds_.begin(), fds_.begin() + static_cast<ptrdiff_t>(fds),
            std::back_inserter(frame.fds));
  fds_.erase(fds_.begin(), fds_.begin() + static_cast<ptrdiff_t>(fds));
  return std::optional<Frame>(std::move(frame));
}

Result<Connection> Connection::to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Error{Fault::config, 0, "connect to " + path + ": the path is too long", {}};
  }
  path.copy(address.sun_path, path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return system_error(errno, "open a unix socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    Error error = system_error(errno, "connect to " + path);
    error.hint = "no tollgated runs there that could hand over: start this one without --upgrade";
    return error;
  }
  return Connection(std::move(fd));
}

Result<ucred> Connection::peer() const {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return system_error(errno, "ask who the other daemon is");
  }
  return credentials;
}

Status Connection::send(const Message& message, std::span<const int> fds) {
  const std::string text = to_text(message);
  TG_ASSERT(fds.size() <= kFrameFdsMax);
  if (text.size() > kFrameBytesMax) {
    return Error{Fault::system, E2BIG, "send to the other daemon: too much to say", {}};
  }
  const std::string bytes = frame_head(text.size(), fds.size()) + text;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kFrameFdsMax)> control{};
  const int64_t deadline_ms = monotonic_ms() + kSendPatienceMs;
  for (size_t sent = 0; sent < bytes.size();) {
    iovec part{const_cast<char*>(bytes.data()) + sent, bytes.size() - sent};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (sent == 0 && !fds.empty()) {
      header.msg_control = control.data();
      header.msg_controllen = CMSG_SPACE(fds.size_bytes());
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(fds.size_bytes());
      std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
    }
    const ssize_t n = ::sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      sent += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      if (Status ok = wait_for(socket_.get(), POLLOUT, deadline_ms, "send to"); !ok) return ok;
    } else if (errno != EINTR) {
      return system_error(errno, "send to the other daemon");
    }
  }
  return {};
}

Status Connection::read_some() {
  std::array<char, 64 * 1024> block;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kFrameFdsMax)> control{};
  iovec part{block.data(), block.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t n = ::recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0) return system_error(errno, "read from the other daemon");
  for (cmsghdr* each = CMSG_FIRSTHDR(&header); each != nullptr; each = CMSG_NXTHDR(&header, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(each) + i * sizeof(int), sizeof fd);
      frames_.append(UniqueFd(fd));
    }
  }
  if ((header.msg_flags & MSG_CTRUNC) != 0) return broken("more descriptors than fit");
  if (n == 0) return Error{Fault::system, ECONNRESET, "the other daemon has hung up", {}};
  frames_.append(std::string_view(block.data(), static_cast<size_t>(n)));
  return {};
}

Result<std::optional<Received>> Connection::receive() {
  for (;;) {
    auto frame = frames_.next();
    if (!frame) return std::move(frame).forward();
    if (*frame) {
      auto message = parse_message((*frame)->text);
      if (!message) return std::move(message).forward();
      return std::optional(Received{std::move(*message), std::move((*frame)->fds)});
    }
    const Status read = read_some();
    if (read || read.error().sys_errno == EINTR) continue;
    if (read.error().sys_errno == EAGAIN) return std::optional<Received>();
    return read.error();
  }
}

Result<Received> Connection::wait(int timeout_ms) {
  const int64_t deadline_ms = monotonic_ms() + timeout_ms;
  for (;;) {
    auto received = receive();
    if (!received) return std::move(received).forward();
    if (*received) return std::move(**received);
    if (Status ok = wait_for(socket_.get(), POLLIN, deadline_ms, "wait for"); !ok) {
      return std::move(ok).forward();
    }
  }
}

}  // namespace tollgate::daemon
