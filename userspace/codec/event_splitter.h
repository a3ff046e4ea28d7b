// Takes an event stream apart into the data of its events (WHATWG HTML, "Server-sent events").
// Sans-I/O: bytes in as they arrive, one event's data at a time out.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "userspace/codec/sse_lines.h"

namespace tollgate::codec {

class EventSplitter {
 public:
  // `event_bytes_max` bounds an event's data with the line in progress; comments do not count.
  explicit EventSplitter(size_t event_bytes_max) : lines_(event_bytes_max) {}
  // Advances `in`; the data of the next complete event (its data lines joined by LF; events without
  // data are passed over), or nothing when `in` is used up. Valid until the next call. Once an
  // event has outgrown the bound, overflowed() is true and nothing more comes.
  std::optional<std::string_view> next(std::span<const std::byte>& in);
  bool overflowed() const { return overflowed_; }

 private:
  EventLines lines_;
  bool overflowed_ = false;
};

}  // namespace tollgate::codec
