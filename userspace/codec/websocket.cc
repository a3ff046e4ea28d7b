#include "userspace/codec/websocket.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "userspace/base/result.h"
#include "userspace/base/text.h"
#include "userspace/codec/sha1.h"

namespace tollgate::codec {
namespace {

constexpr uint8_t kFinalBit = 0x80;
constexpr uint8_t kReservedBits = 0x70;
constexpr uint8_t kMaskBit = 0x80;
constexpr uint8_t kControlBit = 0x08;
constexpr uint8_t kContinuation = 0;
constexpr uint8_t kText = 1;
constexpr uint8_t kBinary = 2;
constexpr uint8_t kClose = 8;
constexpr uint8_t kPing = 9;
constexpr uint8_t kPong = 10;
constexpr uint8_t kLength16 = 126;
constexpr uint8_t kLength64 = 127;
constexpr size_t kControlBytesMax = 125;
constexpr size_t kCloseCodeBytes = 2;
constexpr size_t kKeyBytes = 16;
constexpr std::string_view kAcceptSuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
// What is unmasked at once: bounds the scratch of each connection.
constexpr size_t kRunBytesMax = 16 * 1024;

// RFC 6455 7.4: those below 1000 are not used; some only tell the own side what happened.
constexpr bool may_be_sent(uint16_t close_code) {
  return close_code >= 1000 && close_code < 5000 && close_code != 1005 && close_code != 1006 &&
         close_code != 1015;
}

// Appends `payload` with the mask applied, whose first byte is the one at `offset` of the frame.
void append_masked(std::span<const std::byte> payload, const WebSocketMask& mask, uint64_t offset,
                   std::vector<std::byte>& out) {
  const size_t start = out.size();
  out.insert(out.end(), payload.begin(), payload.end());
  std::array<std::byte, sizeof(uint64_t)> turned;
  for (size_t i = 0; i < turned.size(); ++i)
    turned[i] = mask[(offset + i) % mask.size()];
  uint64_t key = 0;
  std::memcpy(&key, turned.data(), sizeof key);
  std::byte* at = out.data() + start;
  size_t left = payload.size();
  // Prompts are long: eight bytes at a time.
  for (; left >= sizeof key; left -= sizeof key, at += sizeof key) {
    uint64_t word = 0;
    std::memcpy(&word, at, sizeof word);
    word ^= key;
    std::memcpy(at, &word, sizeof word);
  }
  for (size_t i = 0; i < left; ++i)
    at[i] ^= turned[i];
}

void append_big_endian(uint64_t value, size_t bytes, std::vector<std::byte>& out) {
  for (size_t shift = 8 * bytes; shift > 0; shift -= 8)
    out.push_back(static_cast<std::byte>(value >> (shift - 8) & 0xff));
}

}  // namespace

WebSocketReader::WebSocketReader(Role role, uint64_t message_bytes_max)
    : role_(role), message_bytes_max_(message_bytes_max) {}

WebSocketReader::Step WebSocketReader::next(std::span<const std::byte>& in) {
  if (at_ == At::ended) in = {};
  while (!in.empty()) {
    Found found;
    if (at_ == At::payload) {
      found = take_payload(in);
    } else {
      const auto byte = std::to_integer<uint8_t>(in.front());
      in = in.subspan(1);
      switch (at_) {
        case At::opcode:
          found = put_opcode(byte);
          break;
        case At::length:
          found = put_length(byte);
          break;
        case At::long_length:
          found = put_long_length(byte);
          break;
        default:
          mask_[mask_.size() - header_bytes_] = std::byte{byte};
          if (--header_bytes_ == 0) found = start_payload();
      }
    }
    if (found) return *found;
  }
  // An idle connection keeps no scratch; of a control frame the first part may be in it.
  if (at_ != At::payload || !is_control()) unmasked_ = {};
  return {};
}

WebSocketReader::Found WebSocketReader::put_opcode(uint8_t byte) {
  if ((byte & kReservedBits) != 0) return fail(kCloseProtocolError, "reserved bit set");
  final_ = (byte & kFinalBit) != 0;
  opcode_ = byte & 0x0f;
  at_ = At::length;
  switch (opcode_) {
    case kContinuation:
      if (!in_message_) return fail(kCloseProtocolError, "continuation of no message");
      return {};
    case kText:
      if (in_message_) return fail(kCloseProtocolError, "new message inside a message");
      in_message_ = true;
      message_bytes_ = 0;
      return {};
    case kBinary:
      return fail(kCloseUnsupported, "binary message");
    case kClose:
    case kPing:
    case kPong:
      if (!final_) return fail(kCloseProtocolError, "fragmented control frame");
      return {};
    default:
      return fail(kCloseProtocolError, "unknown opcode");
  }
}

WebSocketReader::Found WebSocketReader::put_length(uint8_t byte) {
  const bool masked = (byte & kMaskBit) != 0;
  if (masked && role_ == Role::client) return fail(kCloseProtocolError, "masked by the server");
  if (!masked && role_ == Role::server) return fail(kCloseProtocolError, "client did not mask");
  remaining_ = byte & 0x7f;
  if (is_control() && remaining_ > kControlBytesMax) {
    return fail(kCloseProtocolError, "control frame too long");
  }
  if (opcode_ == kClose && remaining_ == 1) {
    return fail(kCloseProtocolError, "close frame with half a code");
  }
  if (remaining_ <= kControlBytesMax) return after_length();
  const bool is_short = remaining_ == kLength16;
  header_bytes_ = is_short ? 2 : 8;
  length_min_ = is_short ? kControlBytesMax + 1 : uint64_t{1} << 16;
  remaining_ = 0;
  at_ = At::long_length;
  return {};
}

WebSocketReader::Found WebSocketReader::put_long_length(uint8_t byte) {
  remaining_ = remaining_ << 8 | byte;
  if (--header_bytes_ != 0) return {};
  if (remaining_ >> 63 != 0) return fail(kCloseProtocolError, "length with the top bit set");
  if (remaining_ < length_min_) return fail(kCloseProtocolError, "length written too long");
  return after_length();
}

WebSocketReader::Found WebSocketReader::after_length() {
  if (!is_control()) {
    if (remaining_ > message_bytes_max_ - message_bytes_) {
      return fail(kCloseTooBig, "message too big");
    }
    message_bytes_ += remaining_;
  }
  if (role_ == Role::client) return start_payload();
  header_bytes_ = static_cast<uint8_t>(mask_.size());
  at_ = At::mask;
  return {};
}

WebSocketReader::Found WebSocketReader::start_payload() {
  at_ = At::payload;
  taken_ = 0;
  unmasked_.clear();
  if (remaining_ != 0) return {};
  if (is_control()) return end_control();
  at_ = At::opcode;
  if (!final_) return {};
  in_message_ = false;
  return Step{State::data, {}, true, 0, {}};
}

WebSocketReader::Found WebSocketReader::take_payload(std::span<const std::byte>& in) {
  const size_t run_max = role_ == Role::client ? in.size() : std::min(in.size(), kRunBytesMax);
  auto run = in.first(static_cast<size_t>(std::min(remaining_, uint64_t{run_max})));
  in = in.subspan(run.size());
  const uint64_t offset = std::exchange(taken_, taken_ + run.size());
  remaining_ -= run.size();
  if (is_control() || role_ == Role::server) {
    if (!is_control()) unmasked_.clear();
    append_masked(run, mask_, offset, unmasked_);
    run = unmasked_;
  }
  if (is_control()) return remaining_ == 0 ? Found(end_control()) : Found();
  if (remaining_ == 0) at_ = At::opcode;
  const bool message_end = remaining_ == 0 && final_;
  if (message_end) in_message_ = false;
  return Step{State::data, run, message_end, 0, {}};
}

WebSocketReader::Step WebSocketReader::end_control() {
  at_ = At::opcode;
  const std::span<const std::byte> payload = unmasked_;
  if (opcode_ != kClose) {
    return {opcode_ == kPing ? State::ping : State::pong, payload, false, 0, {}};
  }
  at_ = At::ended;
  if (payload.empty()) return {State::close, {}, false, 0, {}};
  const auto code = static_cast<uint16_t>(std::to_integer<unsigned>(payload[0]) << 8 |
                                          std::to_integer<unsigned>(payload[1]));
  if (!may_be_sent(code)) return fail(kCloseProtocolError, "close code that may not be sent");
  return {State::close, payload.subspan(kCloseCodeBytes), false, code, {}};
}

WebSocketReader::Step WebSocketReader::fail(uint16_t close_code, std::string_view why) {
  at_ = At::ended;
  return {State::fault, {}, false, close_code, why};
}

bool WebSocketReader::is_control() const {
  return (opcode_ & kControlBit) != 0;
}

void append_frame(WebSocketOpcode opcode, std::span<const std::byte> payload,
                  const std::optional<WebSocketMask>& mask, std::vector<std::byte>& out) {
  TG_ASSERT(opcode == WebSocketOpcode::text || payload.size() <= kControlBytesMax);
  const uint8_t mask_bit = mask ? kMaskBit : 0;
  const auto put_length = [&](size_t seven_bits) {
    out.push_back(static_cast<std::byte>(mask_bit | seven_bits));
  };
  out.push_back(static_cast<std::byte>(kFinalBit | static_cast<uint8_t>(opcode)));
  if (payload.size() <= kControlBytesMax) {
    put_length(payload.size());
  } else if (payload.size() <= UINT16_MAX) {
    put_length(kLength16);
    append_big_endian(payload.size(), sizeof(uint16_t), out);
  } else {
    put_length(kLength64);
    append_big_endian(payload.size(), sizeof(uint64_t), out);
  }
  if (mask) out.insert(out.end(), mask->begin(), mask->end());
  append_masked(payload, mask.value_or(WebSocketMask{}), 0, out);
}

std::vector<std::byte> close_payload(uint16_t code, std::string_view reason) {
  std::vector<std::byte> payload;
  append_big_endian(code, kCloseCodeBytes, payload);
  size_t size = std::min(reason.size(), kControlBytesMax - kCloseCodeBytes);
  // The reason is UTF-8: no character is cut in two.
  const auto is_inside = [&](size_t at) {
    return at < reason.size() && (static_cast<unsigned char>(reason[at]) & 0xc0) == 0x80;
  };
  while (size > 0 && is_inside(size))
    --size;
  const auto kept = std::as_bytes(std::span(reason.substr(0, size)));
  payload.insert(payload.end(), kept.begin(), kept.end());
  return payload;
}

std::optional<std::string> accept_value(std::string_view key) {
  if (!is_base64(key, kKeyBytes)) return std::nullopt;
  return base64(sha1(std::string(key) += kAcceptSuffix));
}

}  // namespace tollgate::codec
