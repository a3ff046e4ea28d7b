#include "tests/bench/common/http_message.h"

#include <strings.h>

#include <algorithm>
#include <charconv>

namespace tollgate::bench {
namespace {

constexpr size_t kHeadBytesMax = 64 * 1024;
constexpr size_t kLineBytesMax = 8 * 1024;

bool read_number(std::string_view text, int base, uint64_t& value) {
  auto result = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return result.ec == std::errc();
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

void HttpMessage::start(Kind kind) {
  kind_ = kind;
  state_ = State::kHead;
  head_.clear();
  line_.clear();
  line_size_ = 0;
  left_ = 0;
  piece_ = {};
}

HttpMessage::Event HttpMessage::next(std::string_view& bytes) {
  while (true) {
    switch (state_) {
      case State::kHead:
        return read_head(bytes);
      case State::kSized:
        return read_sized(bytes, State::kEnd);
      case State::kUntilClose:
        if (bytes.empty()) return Event::kMore;
        piece_ = bytes;
        bytes = {};
        return Event::kBody;
      case State::kChunk:
        if (left_ != 0) return read_sized(bytes, State::kChunkEnd);
        state_ = State::kChunkEnd;
        continue;
      case State::kEnd:
        return Event::kEnd;
      case State::kChunkSize:
      case State::kChunkEnd:
      case State::kTrailers:
        break;
    }
    if (!read_line(bytes)) return line_.size() > kLineBytesMax ? Event::kBad : Event::kMore;
    if (state_ == State::kChunkSize) {
      if (!read_number(line_, 16, left_)) return Event::kBad;
      state_ = left_ != 0 ? State::kChunk : State::kTrailers;
    } else if (state_ == State::kChunkEnd) {
      if (!line_.empty()) return Event::kBad;
      state_ = State::kChunkSize;
    } else if (line_.empty()) {
      state_ = State::kEnd;
    }
    line_.clear();
  }
}

HttpMessage::Event HttpMessage::read_head(std::string_view& bytes) {
  size_t before = head_.size();
  head_.append(bytes);
  size_t end = head_.find("\r\n\r\n", before > 3 ? before - 3 : 0);
  if (end == std::string::npos) {
    bytes = {};
    return head_.size() > kHeadBytesMax ? Event::kBad : Event::kMore;
  }
  bytes.remove_prefix(end + 4 - before);
  head_.resize(end + 2);
  line_size_ = head_.find("\r\n");
  return choose_framing();
}

HttpMessage::Event HttpMessage::choose_framing() {
  std::string_view length = field("content-length");
  if (!field("transfer-encoding").empty()) {
    state_ = State::kChunkSize;
  } else if (!length.empty()) {
    if (!read_number(length, 10, left_)) return Event::kBad;
    state_ = State::kSized;
  } else {
    state_ = kind_ == Kind::kResponse ? State::kUntilClose : State::kEnd;
  }
  return Event::kHead;
}

HttpMessage::Event HttpMessage::read_sized(std::string_view& bytes, State after) {
  if (left_ == 0) {
    state_ = after;
    return Event::kEnd;
  }
  if (bytes.empty()) return Event::kMore;
  piece_ = bytes.substr(0, static_cast<size_t>(std::min<uint64_t>(left_, bytes.size())));
  bytes.remove_prefix(piece_.size());
  left_ -= piece_.size();
  if (left_ == 0) state_ = after;
  return Event::kBody;
}

// True when line_ holds a whole line, without its end.
bool HttpMessage::read_line(std::string_view& bytes) {
  size_t end = bytes.find('\n');
  line_.append(bytes.substr(0, end));
  if (end == std::string_view::npos) {
    bytes = {};
    return false;
  }
  bytes.remove_prefix(end + 1);
  if (!line_.empty() && line_.back() == '\r') line_.pop_back();
  return true;
}

std::string_view HttpMessage::field(std::string_view name) const {
  std::string_view rest = std::string_view(head_).substr(std::min(line_size_ + 2, head_.size()));
  while (!rest.empty()) {
    size_t end = rest.find("\r\n");
    if (end == std::string_view::npos) return {};
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 2);
    size_t colon = line.find(':');
    if (!equal_ignoring_case(line.substr(0, colon), name)) continue;
    std::string_view value = line.substr(std::min(colon + 1, line.size()));
    size_t from = value.find_first_not_of(" \t");
    return from == std::string_view::npos ? std::string_view() : value.substr(from);
  }
  return {};
}

bool HttpMessage::keeps_alive() const {
  return !equal_ignoring_case(field("connection"), "close") && !ends_with_connection();
}

int HttpMessage::status() const {
  int value = 0;
  std::string_view line = start_line();
  if (kind_ != Kind::kResponse || line.size() < 12) return 0;
  std::from_chars(line.data() + 9, line.data() + 12, value);
  return value;
}

}  // namespace tollgate::bench
