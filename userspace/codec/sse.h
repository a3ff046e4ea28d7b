// The scanner of the Responses API.
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
#include <string_view>

#include "userspace/codec/holding_scanner.h"
#include "userspace/codec/sse_probe.h"

namespace tollgate::codec {

class SseScanner final : public HoldingScanner {
 public:
  explicit SseScanner(size_t event_bytes_max) : HoldingScanner(event_bytes_max) {}

  // Not after a CR, whose LF may still come. At the very start it is true, as no provider sends a
  // byte order mark; behind an event of ours a mark would be part of a field's name.
  bool between_events() const override;

 private:
  void scan(std::string_view in) override;
  bool is_surely_terminal() const override;

  enum class Line : uint8_t { start, name, before_value, data, skip };

  size_t step(std::string_view in, size_t at);
  size_t step_name(char c, size_t at);
  size_t run_to_line_end(std::string_view in, size_t at);
  size_t end_line(char c, size_t at);
  void start_data();
  void end_event(std::string_view in, size_t next);

  EventProbe probe_;
  Line line_ = Line::start;
  bool has_lines_ = false;  // the current event has a line that is no comment
  bool has_data_ = false;
  bool skip_lf_ = false;     // the last byte was CR: an LF now belongs to it
  uint8_t matched_ = 0;      // of the field name "data"
  uint8_t bom_matched_ = 0;  // of a byte order mark at the stream's start; 3 when past it
};

}  // namespace tollgate::codec
