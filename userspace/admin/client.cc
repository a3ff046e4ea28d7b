#include "userspace/admin/client.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace tollgate::admin {

short Client::events() const {
  if (queued_bytes() > 0 || mode == Mode::records) return POLLOUT;
  if (mode == Mode::requests && input_.has_line()) return POLLOUT;
  // Also in tail: its end of input is how a caller leaves.
  return POLLIN;
}

void Client::receive(int64_t now_ms) {
  std::array<char, 16 * 1024> chunk;
  const ssize_t received = ::recv(fd(), chunk.data(), chunk.size(), MSG_DONTWAIT);
  if (received < 0) {
    if (errno != EAGAIN && errno != EINTR) mode = Mode::gone;
    return;
  }
  if (received == 0) {
    input_ended_ = true;
    if (mode == Mode::tail || (mode == Mode::requests && !input_.has_line())) mode = Mode::closing;
    return;
  }
  progress_ms_ = now_ms;
  if (mode == Mode::closing) return;  // read to be forgotten
  if (mode == Mode::tail) {
    // Nothing can be asked beside a tail; to answer in between would break its lines' meaning.
    mode = Mode::gone;
    return;
  }
  input_.append({chunk.data(), static_cast<size_t>(received)});
}

std::optional<std::string> Client::next_request() {
  if (!idle()) return std::nullopt;
  std::optional<std::string> line = input_.next();
  if (!line && input_ended_) mode = Mode::closing;
  return line;
}

void Client::flush(int64_t now_ms) {
  while (queued_bytes() > 0) {
    const ssize_t sent =
        ::send(fd(), output_.data() + sent_, queued_bytes(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) mode = Mode::gone;
      break;
    }
    sent_ += static_cast<size_t>(sent);
    progress_ms_ = now_ms;
  }
  if (queued_bytes() == 0) {
    // A large answer's memory is not kept for the connection's life.
    if (output_.capacity() > 256 * 1024) output_ = std::string();
    output_.clear();
    sent_ = 0;
    if (mode == Mode::closing) mode = Mode::gone;
  } else if (sent_ > output_.size() / 2) {
    output_.erase(0, sent_);
    sent_ = 0;
  }
}

}  // namespace tollgate::admin
