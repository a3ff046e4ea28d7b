// Apart, as <linux/tcp.h> has the whole tcp_info and cannot be read beside <netinet/tcp.h>.
#include "userspace/io/tcp_info.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace tollgate::io {
namespace {

std::optional<Endpoint> end_of(int fd, int (*name)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (name(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return std::nullopt;
  return endpoint_from_sockaddr(storage);
}

}  // namespace

std::optional<Endpoint> peer_of(int fd) {
  return end_of(fd,
                [](int of, sockaddr* to, socklen_t* size) { return ::getpeername(of, to, size); });
}

std::optional<Endpoint> local_of(int fd) {
  return end_of(fd,
                [](int of, sockaddr* to, socklen_t* size) { return ::getsockname(of, to, size); });
}

uint64_t cookie_of(int fd) {
  uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  ::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length);
  return cookie;
}

std::optional<TcpBytes> tcp_bytes(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  return TcpBytes{info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes,
                  info.tcpi_bytes_received};
}

}  // namespace tollgate::io
