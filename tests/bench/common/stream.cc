#include "tests/bench/common/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "tests/bench/common/start.h"

namespace tollgate::bench {
namespace {

constexpr int kBacklog = 4096;
constexpr int kAcceptsPerTurn = 64;
constexpr size_t kTlsBytesMax = size_t{1} << 20;  // OpenSSL takes an int

void set_option(int fd, int level, int name) {
  int on = 1;
  ::setsockopt(fd, level, name, &on, sizeof on);
}

Transfer socket_result(ssize_t result, bool end_is_gone) {
  if (result > 0) return {Transfer::State::kMoved, static_cast<size_t>(result)};
  if (result == 0 && end_is_gone) return {Transfer::State::kGone};
  if (result == 0 || errno == EAGAIN || errno == EINTR) return {Transfer::State::kNotNow};
  return {Transfer::State::kGone};
}

}  // namespace

Stream::Stream(UniqueFd fd, int epoll_fd, void* owner)
    : fd_(std::move(fd)), epoll_fd_(epoll_fd), owner_(owner) {
  set_option(fd_.get(), IPPROTO_TCP, TCP_NODELAY);
}

void Stream::adopt(SSL_CTX* context) {
  ssl_.reset(::SSL_new(context));
  if (!ssl_) die("start TLS: out of memory");
  ::SSL_set_fd(ssl_.get(), fd_.get());
  handshaking_ = true;
}

void Stream::start_tls_server(SSL_CTX* context) {
  adopt(context);
  ::SSL_set_accept_state(ssl_.get());
}

void Stream::start_tls_client(SSL_CTX* context, const char* host_name) {
  adopt(context);
  // The macro's cast drops const; the function behind it takes a non-const pointer it only reads.
  ::SSL_ctrl(ssl_.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             const_cast<char*>(host_name));
  ::SSL_set_connect_state(ssl_.get());
}

Transfer::State Stream::handshake() {
  ::ERR_clear_error();
  int result = ::SSL_do_handshake(ssl_.get());
  if (result == 1) {
    handshaking_ = false;
    return Transfer::State::kMoved;
  }
  switch (::SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      watch(EPOLLIN);
      return Transfer::State::kNotNow;
    case SSL_ERROR_WANT_WRITE:
      watch(EPOLLIN | EPOLLOUT);
      return Transfer::State::kNotNow;
    default:
      return Transfer::State::kGone;
  }
}

Transfer Stream::tls_result(int result) const {
  if (result > 0) return {Transfer::State::kMoved, static_cast<size_t>(result)};
  int error = ::SSL_get_error(ssl_.get(), result);
  bool not_now = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
  return {not_now ? Transfer::State::kNotNow : Transfer::State::kGone};
}

Transfer Stream::read(char* to, size_t size) {
  if (!ssl_) return socket_result(::recv(fd_.get(), to, size, 0), true);
  ::ERR_clear_error();
  return tls_result(::SSL_read(ssl_.get(), to, static_cast<int>(std::min(size, kTlsBytesMax))));
}

Transfer Stream::write(const char* from, size_t size) {
  if (!ssl_) return socket_result(::send(fd_.get(), from, size, MSG_NOSIGNAL), false);
  ::ERR_clear_error();
  return tls_result(::SSL_write(ssl_.get(), from, static_cast<int>(std::min(size, kTlsBytesMax))));
}

bool Stream::has_pending() const {
  return ssl_ && ::SSL_has_pending(ssl_.get()) == 1;
}

void Stream::watch(uint32_t mask) {
  if (in_set_ && mask_ == mask) return;
  epoll_event event{};
  event.events = mask;
  event.data.ptr = owner_;
  // With an empty mask it stays in the set: errors and hang-ups are still told.
  ::epoll_ctl(epoll_fd_, in_set_ ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd_.get(), &event);
  in_set_ = true;
  mask_ = mask;
}

void Stream::close() {
  if (ssl_ && !handshaking_) {
    ::SSL_set_quiet_shutdown(ssl_.get(), 1);
    ::SSL_shutdown(ssl_.get());
  }
  ssl_.reset();
  fd_.reset();
  mask_ = 0;
  in_set_ = false;
  handshaking_ = false;
}

void Stream::reset() {
  if (fd_) {
    linger now{1, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  close();
}

UniqueFd make_epoll() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) die(std::string("make an epoll set: ") + ::strerror(errno));
  return epoll;
}

UniqueFd listen_at(const Endpoint& at, int epoll_fd) {
  sockaddr_storage address{};
  socklen_t size = sockaddr_from_endpoint(at, address);
  UniqueFd listener(::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  set_option(listener.get(), SOL_SOCKET, SO_REUSEADDR);
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener.get(), kBacklog) != 0)
    die("listen at " + to_string(at) + ": " + ::strerror(errno));
  epoll_event event{};
  event.events = EPOLLIN;
  ::epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener.get(), &event);
  return listener;
}

std::vector<UniqueFd> accept_waiting(int listener) {
  std::vector<UniqueFd> accepted;
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) break;
    accepted.push_back(std::move(fd));
  }
  return accepted;
}

UniqueFd start_connect(const Endpoint& to, const Endpoint* source) {
  sockaddr_storage address{};
  socklen_t size = sockaddr_from_endpoint(to, address);
  UniqueFd fd(::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fd;
  if (source != nullptr) {
    sockaddr_storage from{};
    socklen_t from_size = sockaddr_from_endpoint(*source, from);
    // Without this the port is chosen at bind, from a range that all destinations share.
    set_option(fd.get(), SOL_IP, IP_BIND_ADDRESS_NO_PORT);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&from), from_size) != 0) return UniqueFd();
  }
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 && errno != EINPROGRESS)
    return UniqueFd();
  return fd;
}

}  // namespace tollgate::bench
