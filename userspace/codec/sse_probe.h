// Reads the data of one event byte by byte, as far as needed to say whether it may be terminal.
// Most events are told within their first fifty bytes: {"type":"response.output_text.delta",...
#pragma once

#include <cstdint>

namespace tollgate::codec {

class EventProbe {
 public:
  enum class Verdict : uint8_t {
    undecided,     // more bytes will tell
    other,         // cannot be terminal
    terminal,      // the first key is "type" and names a terminal event
    whole_needed,  // "type" is not first, or written with escapes: only the whole tells
  };

  void put(char c);
  Verdict verdict() const { return verdict_; }
  // True once no further byte can change the verdict or the count below.
  bool satisfied() const { return at_ == At::rest; }
  // Raw bytes of the string under "delta" of a *.delta event, escapes counted as written.
  uint32_t delta_bytes() const { return delta_bytes_; }

 private:
  enum class At : uint8_t {
    before_object,
    before_key,
    key,
    after_key,
    before_value,
    value,
    delta_key,
    delta_colon,
    delta_value,
    rest,
  };
  void decide(Verdict verdict, At next);
  void put_key(char c);
  void put_value(char c);
  void put_delta(char c);

  At at_ = At::before_object;
  Verdict verdict_ = Verdict::undecided;
  uint8_t matched_ = 0;     // of the key, then of the type, then of "delta"
  uint8_t candidates_ = 7;  // terminal types that the value still may be, a bit each
  bool escaped_ = false;
  uint32_t delta_bytes_ = 0;
  uint64_t last_bytes_ = 0;  // of the type
};

}  // namespace tollgate::codec
