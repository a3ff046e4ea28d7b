#include "tests/bench/mock/session.h"

#include <array>
#include <utility>

#include "userspace/base/clock.h"

namespace tollgate::bench {
namespace {

constexpr size_t kTailBytes = 4096;
constexpr size_t kRecordBytes = 16'000;  // what one write of a stream without pace holds

}  // namespace

Session::Session(UniqueFd fd, int epoll_fd, SSL_CTX* tls, const std::string& upstream_key)
    : stream_(std::move(fd), epoll_fd, this), upstream_key_(upstream_key) {
  if (tls != nullptr) stream_.start_tls_server(tls);
  request_.start(HttpMessage::Kind::kRequest);
  stream_.watch(EPOLLIN | EPOLLRDHUP);
}

bool Session::on_event(uint32_t events) {
  if (stream_.handshaking()) {
    Transfer::State state = stream_.handshake();
    if (state != Transfer::State::kMoved) return state == Transfer::State::kNotNow;
    stream_.watch(EPOLLIN | EPOLLRDHUP);
    events |= EPOLLIN;
  }
  if ((events & EPOLLOUT) != 0 && !advance()) return false;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) return read_input();
  return true;
}

bool Session::on_due() {
  return advance();
}

bool Session::read_input() {
  static std::array<char, 256 * 1024> buffer;  // one thread; nothing is kept in it
  while (true) {
    Transfer got = stream_.read(buffer.data(), buffer.size());
    if (got.state != Transfer::State::kMoved) return got.state == Transfer::State::kNotNow;
    if (!take({buffer.data(), got.bytes})) return false;
    bool drained = stream_.is_tls() ? !stream_.has_pending() : got.bytes < buffer.size();
    if (drained) return true;  // level-triggered: what comes later is told
  }
}

bool Session::take(std::string_view bytes) {
  while (true) {
    switch (request_.next(bytes)) {
      case HttpMessage::Event::kMore:
        return true;
      case HttpMessage::Event::kHead:
        tail_.clear();
        break;
      case HttpMessage::Event::kBody:
        remember_tail(request_.piece());
        break;
      case HttpMessage::Event::kEnd:
        // Pipelining is not spoken: a request that arrives during an answer ends the connection.
        if (text_ || !out_.empty() || !answer()) return false;
        break;
      case HttpMessage::Event::kBad:
        return false;
    }
  }
}

void Session::remember_tail(std::string_view piece) {
  if (piece.size() >= kTailBytes) {
    tail_.assign(piece.substr(piece.size() - kTailBytes));
    return;
  }
  tail_.append(piece);
  if (tail_.size() > 2 * kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
}

bool Session::answer() {
  bool authorized = request_.field("authorization") == "Bearer " + upstream_key_;
  bool asked_rightly = request_.start_line().rfind("POST /v1/responses", 0) == 0;
  request_.start(HttpMessage::Kind::kRequest);
  if (!authorized) {
    append_json("401 Unauthorized",
                "{\"error\":{\"message\":\"Incorrect API key provided.\",\"type\":"
                "\"invalid_request_error\",\"param\":null,\"code\":\"invalid_api_key\"}}");
  } else if (!asked_rightly) {
    append_json("404 Not Found",
                "{\"error\":{\"message\":\"not found\",\"type\":\"invalid_request_error\"}}");
  } else {
    plan_ = plan_from(tail_);
    if (plan_.stream) {
      start_stream();
    } else {
      append_json("200 OK", json_answer(plan_));
    }
  }
  // "Connection: close" is left to the asker, who knows where the answer ends.
  return advance();
}

void Session::append_json(const char* status, const std::string& body) {
  out_ += std::string("HTTP/1.1 ") + status +
          "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
          "\r\nopenai-processing-ms: 1\r\nx-request-id: req_0123456789abcdef\r\n\r\n" + body;
}

void Session::start_stream() {
  out_ +=
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
      "Transfer-Encoding: chunked\r\nopenai-processing-ms: 1\r\n"
      "x-request-id: req_0123456789abcdef\r\n\r\n";
  text_.emplace(plan_);
  text_->append_opening(out_);
  due_ns_ = monotonic_ns() + static_cast<int64_t>(plan_.delay_us) * 1000;
}

// Pushes the answer on as far as time and the socket allow.
bool Session::advance() {
  while (true) {
    if (!flush()) return false;
    if (!out_.empty() || !text_) return true;
    if (!text_->deltas_left()) {
      text_->append_ending(out_);
      text_.reset();
      due_ns_ = 0;
      continue;
    }
    int64_t now = monotonic_ns();
    if (plan_.delay_us != 0) {
      if (due_ns_ > now) return true;
      due_ns_ += static_cast<int64_t>(plan_.delay_us) * 1000;
    }
    uint64_t count = 0;
    while (text_->deltas_left() && (plan_.events_per_write == 0 ? out_.size() < kRecordBytes
                                                                : count < plan_.events_per_write)) {
      text_->append_delta(out_, count == 0 ? now : monotonic_ns());
      ++count;
    }
  }
}

bool Session::flush() {
  while (written_ < out_.size()) {
    Transfer sent = stream_.write(out_.data() + written_, out_.size() - written_);
    if (sent.state == Transfer::State::kGone) return false;
    if (sent.state == Transfer::State::kNotNow) {
      stream_.watch(EPOLLIN | EPOLLRDHUP | EPOLLOUT);
      return true;
    }
    written_ += sent.bytes;
  }
  out_.clear();
  written_ = 0;
  stream_.watch(EPOLLIN | EPOLLRDHUP);
  return true;
}

}  // namespace tollgate::bench
