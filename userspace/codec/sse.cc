#include "userspace/codec/sse.h"

#include <algorithm>
#include <utility>

namespace tollgate::codec {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr uint8_t kPastMark = 3;
constexpr std::string_view kDataName = "data";
// Scratch above this goes back after use: thousands of streams are open, few hold anything.
constexpr size_t kScratchKept = 1024;

constexpr bool is_line_end(char c) {
  return c == '\n' || c == '\r';
}

size_t find_line_end(std::string_view in, size_t from) {
  // Two memchr runs beat one look at each byte, and events end with LF in practice.
  const size_t lf = std::min(in.find('\n', from), in.size());
  return from + std::min(in.substr(from, lf - from).find('\r'), lf - from);
}

// The data lines of a complete event, joined as the standard says.
std::string data_of(std::string_view event) {
  std::string data;
  bool first = true;
  while (!event.empty()) {
    const size_t end = find_line_end(event, 0);
    std::string_view line = event.substr(0, end);
    event.remove_prefix(std::min(end + 1, event.size()));
    if (!line.starts_with(kDataName)) continue;
    line.remove_prefix(kDataName.size());
    if (!line.empty() && line.front() != ':') continue;
    if (!line.empty()) line.remove_prefix(1);
    if (line.starts_with(' ')) line.remove_prefix(1);
    if (!first) data += '\n';
    first = false;
    data += line;
  }
  return data;
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

SseScanner::SseScanner(size_t event_bytes_max) : event_bytes_max_(event_bytes_max) {}

SseScanner::Output SseScanner::feed(std::span<const std::byte> in) {
  if (out_.capacity() > kScratchKept) {
    out_ = {};
  } else {
    out_.clear();
  }
  if (mode_ == Mode::passing) return {{}, in, {}, false};
  if (mode_ == Mode::keeping) {
    held_.insert(held_.end(), in.begin(), in.end());
    return {};
  }
  hold_from_ = 0;
  oversized_ = false;
  found_.reset();
  const std::string_view text = as_text(in);
  for (size_t at = 0; at < text.size() && mode_ == Mode::scanning;)
    at = step(text, at);
  if (mode_ == Mode::scanning && holding_ &&
      held_.size() + in.size() - hold_from_ > event_bytes_max_) {
    give_up();
  }
  const size_t pass = holding_ ? hold_from_ : in.size();
  held_.insert(held_.end(), in.begin() + static_cast<ptrdiff_t>(pass), in.end());
  return {out_, in.first(pass), std::exchange(found_, std::nullopt), oversized_};
}

size_t SseScanner::step(std::string_view in, size_t at) {
  const char c = in[at];
  if (std::exchange(skip_lf_, false) && c == '\n') return at + 1;
  if (bom_matched_ < kPastMark) {
    if (c == kByteOrderMark[bom_matched_]) {
      ++bom_matched_;
      return at + 1;
    }
    // Half a mark is the beginning of a field of no meaning.
    if (bom_matched_ != 0) line_ = Line::skip;
    bom_matched_ = kPastMark;
  }
  switch (line_) {
    case Line::start:
      if (is_line_end(c)) {
        skip_lf_ = c == '\r';
        end_event(in, at + 1);
        return at + 1;
      }
      // A comment before an event belongs to none; it goes at once, as it keeps the stream alive.
      if (c == ':') {
        line_ = Line::skip;
        return at + 1;
      }
      if (!has_lines_) {
        has_lines_ = true;
        holding_ = true;
        hold_from_ = at;
      }
      matched_ = 0;
      line_ = Line::name;
      return at;
    case Line::name:
      return step_name(c, at);
    case Line::before_value:
      line_ = Line::data;
      return c == ' ' ? at + 1 : at;
    case Line::data:
    case Line::skip:
      return run_to_line_end(in, at);
  }
  return at + 1;
}

size_t SseScanner::step_name(char c, size_t at) {
  if (matched_ < kDataName.size() && c == kDataName[matched_]) {
    ++matched_;
    return at + 1;
  }
  const bool is_data = matched_ == kDataName.size();
  if (is_line_end(c)) {
    if (is_data) start_data();
    return end_line(c, at);
  }
  line_ = Line::skip;
  if (is_data && c == ':') {
    start_data();
    line_ = Line::before_value;
  }
  return at + 1;
}

size_t SseScanner::run_to_line_end(std::string_view in, size_t at) {
  const size_t end = find_line_end(in, at);
  if (line_ == Line::data) {
    for (size_t i = at; i < end && !probe_.satisfied(); ++i)
      probe_.put(in[i]);
    if (probe_.verdict() == EventProbe::Verdict::other) let_go();
  }
  return end < in.size() ? end_line(in[end], end) : end;
}

size_t SseScanner::end_line(char c, size_t at) {
  skip_lf_ = c == '\r';
  line_ = Line::start;
  return at + 1;
}

void SseScanner::start_data() {
  if (has_data_) probe_.put('\n');
  has_data_ = true;
}

void SseScanner::end_event(std::string_view in, size_t next) {
  if (has_data_) ++events_;
  delta_bytes_ += probe_.delta_bytes();
  const auto verdict = probe_.verdict();
  const bool may_be_terminal =
      verdict == EventProbe::Verdict::terminal || verdict == EventProbe::Verdict::whole_needed;
  if (holding_ && may_be_terminal) {
    if (held_.size() + next - hold_from_ > event_bytes_max_) {
      give_up();
    } else {
      std::string event(as_text(held_));
      event += in.substr(hold_from_, next - hold_from_);
      found_ = read_terminal_event(data_of(event));
      if (found_) {
        seen_terminal_ = true;
        mode_ = Mode::keeping;
        return;
      }
    }
  }
  let_go();
  probe_ = {};
  has_lines_ = false;
  has_data_ = false;
}

void SseScanner::let_go() {
  if (!holding_) return;
  holding_ = false;
  // Bytes from earlier feeds; those of this one are contiguous and go as part of `pass`. A feed can
  // do this once only with something held, and then nothing went out before it.
  if (!held_.empty()) out_ = std::exchange(held_, {});
}

void SseScanner::give_up() {
  oversized_ = true;
  if (probe_.verdict() == EventProbe::Verdict::terminal) {
    seen_terminal_ = true;
    mode_ = Mode::passing;
  }
  let_go();
}

bool SseScanner::between_events() const {
  const bool inside_mark = bom_matched_ != 0 && bom_matched_ != kPastMark;
  return mode_ == Mode::scanning && line_ == Line::start && !has_lines_ && !skip_lf_ &&
         !inside_mark;
}

std::vector<std::byte> SseScanner::release() {
  mode_ = Mode::passing;
  holding_ = false;
  return std::exchange(held_, {});
}

}  // namespace tollgate::codec
