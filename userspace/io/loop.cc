#include "userspace/io/loop.h"

#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "userspace/base/clock.h"
#include "userspace/io/backend.h"

#ifndef SOL_TLS
#define SOL_TLS 282  // linux/socket.h
#endif

namespace tollgate::io {

void SocketEvents::on_control_record(uint8_t, std::span<const std::byte>) {}

Socket::Socket(Loop& loop, SocketEvents& events) : impl_(loop.make_socket(events)) {}
Socket::~Socket() {
  TG_ASSERT(impl_->closed || !impl_->fd);
}
void Socket::adopt(UniqueFd connected) {
  impl_->adopt(std::move(connected));
}
Status Socket::connect(const Endpoint& remote) {
  return impl_->connect(remote);
}
void Socket::start_receiving() {
  impl_->start_receiving();
}
void Socket::receive_once(size_t bytes_max) {
  TG_ASSERT(bytes_max != 0);
  impl_->receive_once(bytes_max);
}
void Socket::stop_receiving() {
  impl_->stop_receiving();
}
void Socket::send(std::span<const std::byte> bytes, std::span<const std::byte> more) {
  impl_->begin_send(kDataRecord, bytes, more);
}
void Socket::send_control(uint8_t type, std::span<const std::byte> bytes) {
  TG_ASSERT(impl_->kernel_tls);
  impl_->begin_send(type, bytes, {});
}
void Socket::set_kernel_tls() {
  TG_ASSERT(!impl_->reading());
  impl_->kernel_tls = true;
}
bool Socket::sending() const {
  return impl_->sending;
}
void Socket::shutdown_send() {
  impl_->shutdown_send();
}
void Socket::close(bool reset) {
  impl_->close(reset);
}
bool Socket::open() const {
  return impl_->fd && !impl_->closing;
}
int Socket::fd() const {
  return impl_->fd.get();
}

void ControlMessage::send(const Socket::Impl& socket) {
  header = {};
  header.msg_iov = parts;
  for (const auto part : {socket.unsent, socket.unsent_more}) {
    if (part.empty()) continue;
    // The kernel only reads through an iovec of a send.
    parts[header.msg_iovlen++] = {const_cast<std::byte*>(part.data()), part.size()};
  }
  if (socket.unsent_type == kDataRecord) return;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  cmsghdr* type = CMSG_FIRSTHDR(&header);
  type->cmsg_level = SOL_TLS;
  type->cmsg_type = TLS_SET_RECORD_TYPE;
  type->cmsg_len = CMSG_LEN(sizeof socket.unsent_type);
  *CMSG_DATA(type) = socket.unsent_type;
}

void ControlMessage::receive(std::span<std::byte> into) {
  parts[0] = {into.data(), into.size()};
  header = {};
  header.msg_iov = parts;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
}

std::optional<uint8_t> ControlMessage::record_type() const {
  const cmsghdr* type = CMSG_FIRSTHDR(&header);
  if (type == nullptr || type->cmsg_level != SOL_TLS || type->cmsg_type != TLS_GET_RECORD_TYPE) {
    return std::nullopt;
  }
  return *CMSG_DATA(type);
}

void Socket::Impl::begin_send(uint8_t type, std::span<const std::byte> bytes,
                              std::span<const std::byte> more) {
  TG_ASSERT(!sending && !(bytes.empty() && more.empty()));
  if (closing) return;
  sending = true;
  unsent_type = type;
  unsent = bytes;
  unsent_more = more;
  send();
}

bool Socket::Impl::advance_unsent(size_t bytes) {
  const size_t first = std::min(bytes, unsent.size());
  unsent = unsent.subspan(first);
  unsent_more = unsent_more.subspan(bytes - first);
  return unsent.empty() && unsent_more.empty();
}

void Socket::Impl::shutdown_send() {
  TG_ASSERT(!sending);
  if (!closing) ::shutdown(fd.get(), SHUT_WR);
}

Listener::Listener(Loop& loop, ListenerEvents& events, UniqueFd listening)
    : impl_(loop.make_listener(events, std::move(listening))) {}
Listener::~Listener() {
  TG_ASSERT(impl_->closed || !impl_->started);
}
void Listener::start() {
  impl_->start();
}
void Listener::close() {
  impl_->close();
}
int Listener::fd() const {
  return impl_->fd.get();
}

Result<std::unique_ptr<Loop>> Loop::make(const Options& options) {
  if (options.backend == Backend::poll) return make_poll_loop(options, {});
  auto uring = make_uring_loop(options);
  if (uring) return uring;
  return make_poll_loop(options, uring.error().text);
}

Result<UniqueFd> listen_tcp(const ListenOptions& options) {
  sockaddr_storage storage{};
  const socklen_t length = sockaddr_from_endpoint(options.at, storage);
  const std::string where = "listen on " + to_string(options.at);
  UniqueFd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  if (!fd) return system_error(errno, where);
  const int one = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (options.reuse_port &&
      ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0) {
    return system_error(errno, where);
  }
  if (storage.ss_family == AF_INET6) {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  }
  const auto [level, option] = storage.ss_family == AF_INET
                                   ? std::pair(IPPROTO_IP, IP_TRANSPARENT)
                                   : std::pair(IPPROTO_IPV6, IPV6_TRANSPARENT);
  if (options.transparent && ::setsockopt(fd.get(), level, option, &one, sizeof one) != 0) {
    Error error = system_error(errno, where + " for intercepted addresses");
    error.hint = "run as root, or with CAP_NET_ADMIN until the daemon has started";
    return error;
  }
  // Accepted connections inherit it: no system call for each.
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0 ||
      ::listen(fd.get(), options.backlog) != 0) {
    return system_error(errno, where);
  }
  return fd;
}

Result<UniqueFd> make_tcp_socket(const Endpoint& remote) {
  const int family = remote.address.is_v4() ? AF_INET : AF_INET6;
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  if (!fd) return system_error(errno, "make a socket for " + to_string(remote));
  const int one = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

void set_reset_on_close(int fd) {
  const linger reset{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

Result<std::unique_ptr<TaskQueue>> TaskQueue::make() {
  auto queue = std::make_unique<TaskQueue>();
  queue->wake_fd_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!queue->wake_fd_) return system_error(errno, "make eventfd");
  return queue;
}

void TaskQueue::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  const uint64_t one = 1;
  (void)!::write(wake_fd_.get(), &one, sizeof one);
}

void TaskQueue::run_all() {
  uint64_t ignored = 0;
  while (::read(wake_fd_.get(), &ignored, sizeof ignored) > 0) {
  }
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (auto& task : tasks)
    task();
}

LoopBase::LoopBase(std::string fallback_reason)
    : fallback_reason_(std::move(fallback_reason)), now_ms_(monotonic_ms()) {}

void LoopBase::every(uint32_t period_ms, std::function<void()> tick) {
  tick_ = std::move(tick);
  tick_period_ms_ = period_ms;
  next_tick_ms_ = now_ms_ + period_ms;
}

void LoopBase::read_clock() {
  now_ms_ = monotonic_ms();
}

int64_t LoopBase::wait_ms() const {
  if (has_finished() || !running_) return 0;
  if (!tick_) return -1;
  return std::max<int64_t>(0, next_tick_ms_ - now_ms_);
}

bool LoopBase::run_tick() {
  if (!tick_ || now_ms_ < next_tick_ms_) return false;
  next_tick_ms_ = now_ms_ + tick_period_ms_;
  tick_();
  return true;
}

void LoopBase::run_finished() {
  // The owner may free the socket in on_closed: nothing of it is touched after the call.
  while (!finished_sockets_.empty()) {
    Socket::Impl* socket = finished_sockets_.back();
    finished_sockets_.pop_back();
    socket->closed = true;
    socket->events.on_closed();
  }
  while (!finished_listeners_.empty()) {
    Listener::Impl* listener = finished_listeners_.back();
    finished_listeners_.pop_back();
    listener->closed = true;
    listener->events.on_listener_closed();
  }
}

}  // namespace tollgate::io
