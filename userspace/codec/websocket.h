// WebSocket framing (RFC 6455), sans-I/O, both roles. Only what the Responses API's WebSocket mode
// uses: text messages, ping, pong, close; no extensions, so a reserved bit is a fault. Text is not
// checked for UTF-8 here: whoever reads it as JSON does.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::codec {

enum class WebSocketOpcode : uint8_t { text = 1, close = 8, ping = 9, pong = 10 };

// RFC 6455 7.4.1; what an endpoint says when it closes.
inline constexpr uint16_t kCloseNormal = 1000;
inline constexpr uint16_t kCloseGoingAway = 1001;
inline constexpr uint16_t kCloseProtocolError = 1002;
inline constexpr uint16_t kCloseUnsupported = 1003;
inline constexpr uint16_t kCloseTooBig = 1009;
inline constexpr uint16_t kCloseInternalError = 1011;
inline constexpr uint16_t kCloseServiceRestart = 1012;

using WebSocketMask = std::array<std::byte, 4>;

class WebSocketReader {
 public:
  enum class Role : uint8_t {
    server,  // every frame must be masked (RFC 6455 5.1)
    client,  // none may be
  };
  // `message_bytes_max` bounds one message over all its fragments.
  WebSocketReader(Role role, uint64_t message_bytes_max);

  enum class State : uint8_t {
    need_more,
    data,  // a run of a text message, unmasked; message_end on its last (payload may be empty)
    ping,  // payload: to be sent back in a pong
    pong,
    close,  // close_code 0: the frame named none; payload: the reason. What follows is dropped
    fault,  // close_code: what to close with; why: static text for the log. What follows is dropped
  };
  struct Step {
    State state = State::need_more;
    std::span<const std::byte> payload{};  // valid until the next call
    bool message_end = false;
    uint16_t close_code = 0;
    std::string_view why{};
  };
  // Advances `in` past what was consumed. Call until it says need_more. A rule is applied as soon
  // as the bytes it is about are there: a length over the bound is a fault before its payload.
  Step next(std::span<const std::byte>& in);
  // Within a message: something of it has come and its end has not.
  bool in_message() const { return in_message_; }

 private:
  enum class At : uint8_t { opcode, length, long_length, mask, payload, ended };
  using Found = std::optional<Step>;
  Found put_opcode(uint8_t byte);
  Found put_length(uint8_t byte);
  Found put_long_length(uint8_t byte);
  Found after_length();
  Found start_payload();
  Found take_payload(std::span<const std::byte>& in);
  Step end_control();
  Step fail(uint16_t close_code, std::string_view why);
  bool is_control() const;

  Role role_;
  uint64_t message_bytes_max_;
  uint64_t message_bytes_ = 0;  // declared by the frames of the message so far
  uint64_t remaining_ = 0;      // of the frame's payload
  uint64_t length_min_ = 0;     // what the form of the length is for
  uint64_t taken_ = 0;          // of it: where the mask stands
  WebSocketMask mask_{};
  At at_ = At::opcode;
  uint8_t opcode_ = 0;
  uint8_t header_bytes_ = 0;  // still to come of the length or the mask
  bool final_ = false;
  bool in_message_ = false;
  std::vector<std::byte> unmasked_;  // the run handed out last, or a control frame so far
};

// One unfragmented frame, appended. A client must give a mask that nobody can foretell.
void append_frame(WebSocketOpcode opcode, std::span<const std::byte> payload,
                  const std::optional<WebSocketMask>& mask, std::vector<std::byte>& out);
// The payload of a close frame; the reason is cut to what a control frame holds.
std::vector<std::byte> close_payload(uint16_t code, std::string_view reason);
// Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 4.2.2); nothing when the key is not 16
// bytes in base64.
std::optional<std::string> accept_value(std::string_view key);

}  // namespace tollgate::codec
