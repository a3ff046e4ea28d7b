// The line rules of server-sent events (WHATWG HTML 9.2.6): lines end with LF, CRLF or CR, a byte
// order mark may come first, and the `data` fields of an event are its data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tollgate::codec {

inline constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
inline constexpr std::string_view kDataName = "data";
// Scratch above this goes back after use: thousands of streams are open, few hold anything.
inline constexpr size_t kScratchKept = 1024;

constexpr bool is_line_end(char c) {
  return c == '\n' || c == '\r';
}
// Where the line ends that `from` is in, or the size of `in`.
size_t find_line_end(std::string_view in, size_t from);

// The data of an event, gathered line by line and joined by LF.
class EventData {
 public:
  void put_line(std::string_view line);  // of any field
  void clear();
  bool any() const { return any_; }
  const std::string& text() const { return text_; }

 private:
  bool any_ = false;
  std::string text_;
};
// The data of a complete event.
std::string data_of(std::string_view event);

// Reads a stream line by line; holds the current line, when it is cut, and the event's data.
class EventLines {
 public:
  explicit EventLines(size_t event_bytes_max) : event_bytes_max_(event_bytes_max) {}

  enum class Step : uint8_t {
    outside,    // what was consumed belongs to no event: a comment before one, a spare empty line
    inside,     // to an event that is not complete
    event_end,  // the empty line that ends one
  };
  // Advances `in`, which is not empty, past the rest of a line or what there is of it. The LF of a
  // CRLF is a step of its own, as it may come later.
  Step next(std::string_view& in);
  // Of the current event; after event_end until the next call. None when it is oversized.
  const EventData& data() const { return data_; }
  // The event's data, with the line in progress, outgrew the bound and is not kept.
  bool oversized() const { return oversized_; }
  // At the end of a line that no event has begun with or before, and not after a CR.
  bool between_events() const;

 private:
  enum class Line : uint8_t { start, comment, field };
  void put(std::string_view part, bool line_ends);

  size_t event_bytes_max_;
  EventData data_;
  std::string line_;  // what has come of a field that was cut
  Line at_ = Line::start;
  uint8_t mark_matched_ = 0;  // of a byte order mark at the stream's start
  bool has_lines_ = false;    // the current event has a line that is no comment
  bool ended_ = false;
  bool oversized_ = false;
  bool skip_lf_ = false;  // the last byte was CR: an LF now belongs to it
};

}  // namespace tollgate::codec
