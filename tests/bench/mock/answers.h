// What the mock provider says: OpenAI's answers to POST /v1/responses, as JSON and as SSE.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tollgate::bench {

enum class Fault : uint64_t { kNone = 0, kWrongUsage = 1, kMissingEvent = 2 };

// What one request asks of the mock. It is written at the end of the request body, in metadata:
//   "mock":"e=000100;d=00020000;s=000032;b=001;r=0001024;p=0000000;f=0"
struct Plan {
  uint64_t events = 20;           // e: output_text.delta events
  uint64_t delay_us = 0;          // d: between writes; 0: as fast as the socket takes them
  uint64_t delta_bytes = 16;      // s: text in one delta
  uint64_t events_per_write = 1;  // b; 0: as many as fill a TLS record
  uint64_t answer_bytes = 1024;   // r: text of an answer that is not streamed
  uint64_t echo_bytes = 0;        // p: length of the instructions that the answer repeats
  Fault fault = Fault::kNone;     // f: for the bench's own self-check
  bool stream = false;            // from "stream":true
};

// `tail` is the end of the body; Codex writes "stream" and "metadata" there.
Plan plan_from(std::string_view tail);

std::string json_answer(const Plan& plan);

// The events of one stream, each already wrapped as an HTTP chunk.
class StreamText {
 public:
  explicit StreamText(const Plan& plan);
  // response.created to content_part.added.
  void append_opening(std::string& to);
  // One delta; its text starts with "@t=" and `now_ns` in 19 digits, from which a reader on the
  // same machine tells the relay's delay.
  void append_delta(std::string& to, int64_t now_ns);
  // output_text.done to response.completed, and the last chunk.
  void append_ending(std::string& to);
  bool deltas_left() const { return sent_ < plan_.events; }

 private:
  void append_event(std::string& to, const char* type, const std::string& fields);

  Plan plan_;
  uint64_t sent_ = 0;
  uint64_t sequence_ = 0;
  std::string before_time_;
  std::string after_time_;
};

}  // namespace tollgate::bench
