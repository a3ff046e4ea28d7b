// Finds the end of a server-sent event stream, and with it what the answer cost, without delaying
// any other byte: bytes go in as they arrive, the scanner says how many may go out at once. What
// says the cost, and whatever follows it, is held until release().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "userspace/codec/api.h"
#include "userspace/codec/responses.h"

namespace tollgate::codec {

class EventScanner {
 public:
  struct Output {
    // Bytes held from earlier calls that may go now, then the part of `in` that may go now.
    // `held` stays valid until the next call.
    std::span<const std::byte> held;
    std::span<const std::byte> pass;
    // Set when the terminal event is complete: its facts. Its bytes, and whatever follows it, are
    // kept in the scanner until release().
    std::optional<ResponseFacts> terminal;
    // An event that is terminal, or may have been, outgrew event_bytes_max: usage is unknown, the
    // bytes go on. seen_terminal() tells the two apart.
    bool oversized = false;
  };

  virtual ~EventScanner() = default;
  virtual Output feed(std::span<const std::byte> in) = 0;
  // Everything still held: after the terminal event was recorded, or when the stream ended without
  // one (an incomplete last event). Leaves the scanner passing all that follows unread.
  virtual std::vector<std::byte> release() = 0;
  // True between two events with nothing held: only then another event may be put in.
  virtual bool between_events() const = 0;
  virtual uint64_t events() const = 0;  // complete events seen, comments not counted
  virtual bool seen_terminal() const = 0;
  // Bytes of visible output so far: what an estimate of an aborted stream uses.
  virtual uint64_t delta_bytes() const = 0;
  // What a stream told before its end, if it tells usage all along: for one that is cut.
  virtual std::optional<ResponseFacts> facts_so_far() const { return std::nullopt; }
};

// The scanner for an interface that streams (responses, chat completions). With `hide_usage` the
// event that tells a chat's usage is not for the client, who did not ask for it.
std::unique_ptr<EventScanner> make_event_scanner(Api api, size_t event_bytes_max, bool hide_usage);

}  // namespace tollgate::codec
