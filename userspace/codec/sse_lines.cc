#include "userspace/codec/sse_lines.h"

#include <algorithm>
#include <utility>

namespace tollgate::codec {
namespace {

void give_back(std::string& scratch) {
  if (scratch.capacity() > kScratchKept) {
    scratch = {};
  } else {
    scratch.clear();
  }
}

}  // namespace

size_t find_line_end(std::string_view in, size_t from) {
  // Two memchr runs beat one look at each byte, and events end with LF in practice.
  const size_t lf = std::min(in.find('\n', from), in.size());
  return from + std::min(in.substr(from, lf - from).find('\r'), lf - from);
}

void EventData::put_line(std::string_view line) {
  if (!line.starts_with(kDataName)) return;
  line.remove_prefix(kDataName.size());
  if (!line.empty() && line.front() != ':') return;
  if (!line.empty()) line.remove_prefix(1);
  if (line.starts_with(' ')) line.remove_prefix(1);
  if (std::exchange(any_, true)) text_ += '\n';
  text_ += line;
}

void EventData::clear() {
  any_ = false;
  give_back(text_);
}

std::string data_of(std::string_view event) {
  EventData data;
  while (!event.empty()) {
    const size_t end = find_line_end(event, 0);
    data.put_line(event.substr(0, end));
    event.remove_prefix(std::min(end + 1, event.size()));
  }
  return data.text();
}

EventLines::Step EventLines::next(std::string_view& in) {
  if (std::exchange(ended_, false)) {
    data_.clear();
    has_lines_ = false;
    oversized_ = false;
  }
  const auto step = [&] { return has_lines_ ? Step::inside : Step::outside; };
  if (std::exchange(skip_lf_, false) && in.front() == '\n') {
    in.remove_prefix(1);
    return step();
  }
  if (mark_matched_ < kByteOrderMark.size()) {
    if (in.front() == kByteOrderMark[mark_matched_]) {
      ++mark_matched_;
      in.remove_prefix(1);
      return step();
    }
    // Half a mark is the beginning of a field of no meaning.
    if (mark_matched_ != 0) {
      line_ = kByteOrderMark.substr(0, mark_matched_);
      at_ = Line::field;
      has_lines_ = true;
    }
    mark_matched_ = kByteOrderMark.size();
  }
  if (at_ == Line::start) {
    if (is_line_end(in.front())) {
      skip_lf_ = in.front() == '\r';
      in.remove_prefix(1);
      ended_ = has_lines_;
      return ended_ ? Step::event_end : Step::outside;
    }
    at_ = in.front() == ':' ? Line::comment : Line::field;
    has_lines_ |= at_ == Line::field;
  }
  const size_t end = find_line_end(in, 0);
  const bool line_ends = end < in.size();
  if (at_ == Line::field) put(in.substr(0, end), line_ends);
  if (line_ends) {
    skip_lf_ = in[end] == '\r';
    at_ = Line::start;
  }
  in.remove_prefix(line_ends ? end + 1 : end);
  return step();
}

void EventLines::put(std::string_view part, bool line_ends) {
  oversized_ |= data_.text().size() + line_.size() + part.size() > event_bytes_max_;
  if (oversized_) {
    data_.clear();
    give_back(line_);
  } else if (!line_ends) {
    line_ += part;
  } else if (line_.empty()) {
    data_.put_line(part);
  } else {
    data_.put_line(line_ += part);
    give_back(line_);
  }
}

bool EventLines::between_events() const {
  const bool inside_mark = mark_matched_ != 0 && mark_matched_ != kByteOrderMark.size();
  return at_ == Line::start && (!has_lines_ || ended_) && !skip_lf_ && !inside_mark;
}

}  // namespace tollgate::codec
