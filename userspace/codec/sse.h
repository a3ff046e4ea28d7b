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
#include <vector>

#include "userspace/codec/responses.h"

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
    // A terminal event outgrew event_bytes_max: usage is unknown, the bytes go on.
    bool oversized = false;
  };
  Output feed(std::span<const std::byte> in);

  // Everything still held: after the terminal event was recorded, or when the stream ended without
  // one (an incomplete last event). Leaves the scanner passing all that follows unread.
  std::vector<std::byte> release();

  uint64_t events() const { return events_; }  // complete events seen, comments not counted
  bool seen_terminal() const { return seen_terminal_; }
  // Bytes of visible output in *.delta events so far: what an estimate of an aborted stream uses.
  uint64_t delta_bytes() const { return delta_bytes_; }

 private:
  // The implementation's; keep the object small (there is one per open stream).
  size_t event_bytes_max_;
  uint64_t events_ = 0;
  uint64_t delta_bytes_ = 0;
  bool seen_terminal_ = false;
};

}  // namespace tollgate::codec
