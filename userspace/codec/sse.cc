#include "userspace/codec/sse.h"

#include <algorithm>
#include <utility>

#include "userspace/codec/sse_lines.h"

namespace tollgate::codec {
namespace {

constexpr uint8_t kPastMark = 3;

}  // namespace

void SseScanner::scan(std::string_view in) {
  for (size_t at = 0; at < in.size() && scanning();)
    at = step(in, at);
}

bool SseScanner::is_surely_terminal() const {
  return probe_.verdict() == EventProbe::Verdict::terminal;
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
        hold_from(at);
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
  if (holding() && may_be_terminal) {
    if (!fits(next)) {
      give_up();
    } else if (auto facts = read_terminal_event(data_of(event_text(in, next)))) {
      return keep_from_here(std::move(*facts));
    }
  }
  let_go();
  probe_ = {};
  has_lines_ = false;
  has_data_ = false;
}

bool SseScanner::between_events() const {
  const bool inside_mark = bom_matched_ != 0 && bom_matched_ != kPastMark;
  return scanning() && line_ == Line::start && !has_lines_ && !skip_lf_ && !inside_mark;
}

}  // namespace tollgate::codec
