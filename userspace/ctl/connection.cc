#include "userspace/ctl/connection.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace tollgate::ctl {

Result<Connection> Connection::open(const std::string& path, int64_t timeout_ms) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Error{Fault::config, 0, "connect " + path + ": 1 to 107 bytes are accepted", {}};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return system_error(errno, "open a unix socket");
  const timeval timeout{timeout_ms / 1000, (timeout_ms % 1000) * 1000};
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (::setsockopt(socket.get(), SOL_SOCKET, option, &timeout, sizeof timeout) != 0) {
      return system_error(errno, "set a timeout");
    }
  }
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return system_error(errno, "connect " + path);
  }
  return Connection(std::move(socket));
}

// A send that fails is not reported: the daemon may have refused us already, and then its reason
// waits to be read. If it did not, reading says so.
void Connection::send(const std::string& line) {
  size_t sent = 0;
  while (sent < line.size()) {
    const ssize_t count =
        ::send(socket_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    sent += static_cast<size_t>(count);
  }
}

Result<admin::Answer> Connection::next() {
  std::array<char, 64 * 1024> chunk;
  for (;;) {
    if (const std::optional<std::string> line = lines_.next()) return admin::parse_answer(*line);
    if (lines_.overflowed()) {
      return Error{Fault::peer, 0, "read the daemon's answer: a line is over 16 MiB", {}};
    }
    const ssize_t count = ::recv(socket_.get(), chunk.data(), chunk.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return Error{Fault::peer, 0, "wait for the daemon's answer: none came in time", {}};
    }
    if (count < 0) return system_error(errno, "read the daemon's answer");
    if (count == 0) {
      return Error{Fault::peer, 0, "read the daemon's answer: it ended in the middle", {}};
    }
    lines_.append({chunk.data(), static_cast<size_t>(count)});
  }
}

}  // namespace tollgate::ctl
