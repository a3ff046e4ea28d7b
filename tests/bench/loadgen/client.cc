#include "tests/bench/loadgen/client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <array>
#include <utility>

#include "tests/bench/common/start.h"
#include "userspace/base/clock.h"

namespace tollgate::bench {
namespace {

constexpr int kSources = 16;

// 127.0.0.2 to 127.0.0.17 in turn: sixteen peers, each with an identity of its own.
Endpoint source_for(int number) {
  return endpoint_or_die("127.0.0." + std::to_string(2 + number % kSources) + ":1");
}

}  // namespace

Client::Client(Load& load, int number) : load_(load), source_(source_for(number)) {
  source_.port = 0;
}

void Client::begin(int64_t intended_ns) {
  intended_ns_ = intended_ns;
  first_byte_ns_ = 0;
  sent_ = 0;
  answer_.start();
  if (stream_.is_open()) {
    send();
  } else {
    connect();
  }
}

void Client::connect() {
  connect_ns_ = monotonic_ns();
  UniqueFd fd = start_connect(load_.options.target, &source_);
  if (!fd) {
    fail(std::string("connect: ") + ::strerror(errno));
    return;
  }
  stream_ = Stream(std::move(fd), load_.epoll_fd, this);
  state_ = State::kConnecting;
  stream_.watch(EPOLLIN | EPOLLOUT);
}

void Client::on_event(uint32_t events) {
  switch (state_) {
    case State::kConnecting:
      on_connected();
      return;
    case State::kHandshake:
      advance_handshake();
      return;
    case State::kIdle:
      if (stream_.is_open()) receive();
      return;
    case State::kSending:
      if ((events & EPOLLOUT) != 0) send();
      if (state_ != State::kSending) return;
      break;
    case State::kReceiving:
      break;
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive();
}

void Client::on_connected() {
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(stream_.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    fail(std::string("connect: ") + ::strerror(error));
    return;
  }
  if (load_.tls == nullptr) {
    send();
    return;
  }
  stream_.start_tls_client(load_.tls, "localhost");
  state_ = State::kHandshake;
  advance_handshake();
}

void Client::advance_handshake() {
  switch (stream_.handshake()) {
    case Transfer::State::kMoved:
      if (load_.measuring) load_.handshake.add(monotonic_ns() - connect_ns_);
      send();
      return;
    case Transfer::State::kGone:
      fail("handshake");
      return;
    case Transfer::State::kNotNow:
      return;
  }
}

void Client::send() {
  while (sent_ < load_.request.size()) {
    Transfer moved = stream_.write(load_.request.data() + sent_, load_.request.size() - sent_);
    if (moved.state == Transfer::State::kGone) {
      fail("write: closed by peer");
      return;
    }
    if (moved.state == Transfer::State::kNotNow) {
      state_ = State::kSending;
      stream_.watch(EPOLLIN | EPOLLOUT);
      return;
    }
    sent_ += moved.bytes;
  }
  state_ = State::kReceiving;
  stream_.watch(EPOLLIN);
}

void Client::receive() {
  static std::array<char, 128 * 1024> buffer;  // one thread; nothing is kept in it
  while (true) {
    Transfer got = stream_.read(buffer.data(), buffer.size());
    if (got.state == Transfer::State::kNotNow) return;
    if (got.state == Transfer::State::kGone) {
      if (state_ == State::kIdle) {  // between two requests: allowed, but counted
        ++load_.reconnects;
        disconnect();
      } else if (answer_.may_end_here()) {
        finish();
      } else {
        fail("closed by peer");
      }
      return;
    }
    if (state_ == State::kIdle) {
      fail("bytes after the answer");
      return;
    }
    if (first_byte_ns_ == 0) first_byte_ns_ = monotonic_ns();
    switch (answer_.take({buffer.data(), got.bytes}, *this)) {
      case Answer::Progress::kEnded:
        finish();
        return;
      case Answer::Progress::kBroken:
        fail("not HTTP");
        return;
      case Answer::Progress::kMore:
        break;
    }
    bool drained = stream_.is_tls() ? !stream_.has_pending() : got.bytes < buffer.size();
    if (drained) return;  // level-triggered: what comes later is told
  }
}

void Client::on_delta(Answer::EventTimes times) {
  if (!load_.measuring) return;
  ++load_.events;
  load_.event_delay.add(times.delay_ns);
  if (times.gap_ns >= 0) load_.event_gap.add(times.gap_ns);
}

void Client::finish() {
  if (answer_.status() != 200) {
    ++load_.not_200;
    ++load_.reasons["status " + std::to_string(answer_.status())];
  } else if (!answer_.is_whole(load_.options.events)) {
    ++load_.incomplete;
    ++load_.reasons["incomplete answer"];
  } else if (load_.measuring) {
    ++load_.ok;
    load_.first_byte.add(first_byte_ns_ - intended_ns_);
    load_.last_byte.add(monotonic_ns() - intended_ns_);
  }
  state_ = State::kIdle;
  if (load_.options.new_connection_each()) {
    disconnect();
  } else if (!answer_.keeps_alive()) {
    ++load_.reconnects;
    disconnect();
  }
}

void Client::fail(const std::string& reason) {
  ++load_.errors;
  ++load_.reasons[reason];
  disconnect();
}

void Client::disconnect() {
  state_ = State::kIdle;
  if (load_.options.new_connection_each()) {
    stream_.reset();
  } else {
    stream_.close();
  }
}

}  // namespace tollgate::bench
