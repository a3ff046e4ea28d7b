#include "tests/bench/loadgen/answer.h"

#include <charconv>

#include "tests/bench/common/usage_text.h"
#include "userspace/base/clock.h"

namespace tollgate::bench {
namespace {

constexpr std::string_view kTimeMark = "@t=";
constexpr size_t kTimeDigits = 19;
constexpr size_t kTextBytesMax = size_t{4} << 20;

}  // namespace

void Answer::start() {
  message_.start(HttpMessage::Kind::kResponse);
  has_head_ = is_stream_ = false;
  keeps_alive_ = true;
  text_.clear();
  completed_.clear();
  deltas_ = 0;
  last_delta_ns_ = -1;
}

Answer::Progress Answer::take(std::string_view bytes, Listener& listener) {
  while (true) {
    switch (message_.next(bytes)) {
      case HttpMessage::Event::kMore:
        return Progress::kMore;
      case HttpMessage::Event::kHead:
        if (message_.status() == 100) {
          message_.start(HttpMessage::Kind::kResponse);
          break;
        }
        has_head_ = true;
        keeps_alive_ = message_.keeps_alive();
        is_stream_ = message_.field("content-type").find("event-stream") != std::string_view::npos;
        break;
      case HttpMessage::Event::kBody:
        take_piece(message_.piece(), listener);
        break;
      case HttpMessage::Event::kEnd:
        return Progress::kEnded;
      case HttpMessage::Event::kBad:
        return Progress::kBroken;
    }
  }
}

void Answer::take_piece(std::string_view piece, Listener& listener) {
  constexpr std::string_view kEventEnd = "\n\n";
  if (!is_stream_) {
    if (text_.size() < kTextBytesMax) text_.append(piece);
    return;
  }
  if (!text_.empty()) {  // an event that began in an earlier piece
    text_.append(piece);
    piece = text_;
  }
  size_t end;
  while ((end = piece.find(kEventEnd)) != std::string_view::npos) {
    take_event(piece.substr(0, end), listener);
    piece.remove_prefix(end + kEventEnd.size());
  }
  text_ = std::string(piece);
}

void Answer::take_event(std::string_view event, Listener& listener) {
  size_t mark = event.find(kTimeMark);
  if (mark == std::string_view::npos || mark + kTimeMark.size() + kTimeDigits > event.size()) {
    if (event.find("\"type\":\"response.completed\"") != std::string_view::npos) completed_ = event;
    return;
  }
  int64_t written_ns = 0;
  const char* digits = event.data() + mark + kTimeMark.size();
  std::from_chars(digits, digits + kTimeDigits, written_ns);
  int64_t now = monotonic_ns();
  ++deltas_;
  listener.on_delta({now - written_ns, last_delta_ns_ < 0 ? -1 : now - last_delta_ns_});
  last_delta_ns_ = now;
}

bool Answer::is_whole(uint64_t events_expected) const {
  if (!is_stream_) return text_.find(usage_text(kJsonOutputTokens)) != std::string::npos;
  return deltas_ == events_expected &&
         completed_.find(usage_text(events_expected)) != std::string::npos;
}

}  // namespace tollgate::bench
