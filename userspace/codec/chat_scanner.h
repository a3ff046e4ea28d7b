// The scanner of chat completions: `data: {"id":…,"choices":[…],"usage":null}` again and again, at
// the end `data: [DONE]`. An event goes as soon as its empty line is there, as chunks are small.
//
// What is terminal: an event whose "usage" is an object, if no choice that has begun is without its
// finish_reason by then (choices are empty in the event that stream_options asks for; some
// providers tell the usage in the last one's chunk instead); or [DONE]. Some providers tell in
// every chunk what has been used so far: that is remembered, and [DONE] ends with it. An event with
// an "error" ends nothing, whatever else it says.
#pragma once

#include <bitset>
#include <cstddef>
#include <optional>
#include <string_view>

#include "userspace/codec/holding_scanner.h"
#include "userspace/codec/sse_lines.h"

namespace tollgate::codec {

class ChatScanner final : public HoldingScanner {
 public:
  using Choices = std::bitset<kChoicesMax>;

  // With `hide_usage` a terminal event that has no choices is dropped: release() gives what follows
  // it. One with choices is the client's.
  ChatScanner(size_t event_bytes_max, bool hide_usage)
      : HoldingScanner(event_bytes_max), lines_(event_bytes_max), hide_usage_(hide_usage) {}

  bool between_events() const override { return scanning() && lines_.between_events(); }
  std::optional<ResponseFacts> facts_so_far() const override;

 private:
  enum class Event : uint8_t { other, terminal, terminal_usage };

  void scan(std::string_view in) override;
  void end_event(std::string_view in, size_t next);
  Event read_event(std::string_view data);

  EventLines lines_;
  bool hide_usage_;
  bool in_event_ = false;
  ResponseFacts facts_;  // of the first chunk, then of the last one with usage
  bool has_facts_ = false;
  Choices begun_;
  Choices finished_;
};

}  // namespace tollgate::codec
