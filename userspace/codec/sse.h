// Finds the terminal event in a server-sent event stream without delaying any other byte.
// Source of the framing: WHATWG HTML, "Server-sent events", 9.2.6; lines end with LF, CRLF or CR.
//
// Bytes go in as they arrive; the scanner says how many may go out at once. It holds bytes back
// only while the event they belong to may still turn out to be terminal (response.completed,
// response.failed, response.incomplete by the `type` in its data; the `event:` line is not
// trusted, as Codex does not read it). In practice that is nothing for a delta whose first key is
// "type", whatever the splits. A terminal event is held whole, until release().
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/codec/responses.h"
#include "userspace/codec/sse_probe.h"

namespace tollgate::codec {

class SseScanner {
 public:
  explicit SseScanner(size_t event_bytes_max);

  struct Output {
    // Bytes held from earlier calls that may go now, then the part of `in` that may go now.
    // `held` stays valid until the next call.
    std::span<const std::byte> held;
    std::span<const std::byte> pass;
    // Set when a terminal event is complete: its facts. Its bytes, and whatever follows it, are
    // kept in the scanner until release().
    std::optional<ResponseFacts> terminal;
    // An event that is terminal, or may have been (its first key is not "type"), outgrew
    // event_bytes_max: usage is unknown, the bytes go on. seen_terminal() tells the two apart.
    bool oversized = false;
  };
  Output feed(std::span<const std::byte> in);

  // Everything still held: after the terminal event was recorded, or when the stream ended without
  // one (an incomplete last event). Leaves the scanner passing all that follows unread.
  std::vector<std::byte> release();

  // True between two events with nothing held: only then another event may be put in. Not after a
  // CR, whose LF may still come. At the very start it is true, as no provider sends a byte order
  // mark; behind an event of ours a mark would be part of a field's name.
  bool between_events() const;

  uint64_t events() const { return events_; }  // complete events seen, comments not counted
  bool seen_terminal() const { return seen_terminal_; }
  // Bytes of visible output in *.delta events so far: what an estimate of an aborted stream uses.
  uint64_t delta_bytes() const { return delta_bytes_; }

 private:
  enum class Line : uint8_t { start, name, before_value, data, skip };
  enum class Mode : uint8_t { scanning, keeping, passing };

  size_t step(std::string_view in, size_t at);
  size_t step_name(char c, size_t at);
  size_t run_to_line_end(std::string_view in, size_t at);
  size_t end_line(char c, size_t at);
  void start_data();
  void end_event(std::string_view in, size_t next);
  void let_go();
  void give_up();

  size_t event_bytes_max_;
  uint64_t events_ = 0;
  uint64_t delta_bytes_ = 0;
  std::vector<std::byte> held_;  // of the current event, or everything from the terminal one on
  std::vector<std::byte> out_;   // what the last Output's `held` points at
  EventProbe probe_;
  bool seen_terminal_ = false;
  Mode mode_ = Mode::scanning;
  Line line_ = Line::start;
  bool holding_ = false;    // the current event's bytes are held from hold_from_ on
  bool has_lines_ = false;  // the current event has a line that is no comment
  bool has_data_ = false;
  bool skip_lf_ = false;     // the last byte was CR: an LF now belongs to it
  uint8_t matched_ = 0;      // of the field name "data"
  uint8_t bom_matched_ = 0;  // of a byte order mark at the stream's start; 3 when past it

  // Of the feed in progress.
  bool oversized_ = false;
  size_t hold_from_ = 0;
  std::optional<ResponseFacts> found_;
};

}  // namespace tollgate::codec
