#include "userspace/codec/websocket.h"

#include <gtest/gtest.h>

#include "userspace/codec/sha1.h"

namespace tollgate::codec {
namespace {

using Role = WebSocketReader::Role;
using State = WebSocketReader::State;

constexpr uint64_t kMessageMax = 1 << 20;
constexpr WebSocketMask kMask = {std::byte{0x37}, std::byte{0xfa}, std::byte{0x21},
                                 std::byte{0x3d}};

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values)
    out += static_cast<char>(value);
  return out;
}

std::string as_text(std::span<const std::byte> from) {
  return {reinterpret_cast<const char*>(from.data()), from.size()};
}

// What a reader said, a word each: "hello|" a message, "<hi>" a ping, "[hi]" a pong.
struct Seen {
  std::string said;
  uint16_t code = 0;
  State end = State::need_more;
  bool in_message = false;
};

// In two pieces, or byte by byte when the cut is 0.
Seen read(std::string_view stream, Role role, size_t cut, uint64_t max = kMessageMax) {
  WebSocketReader reader(role, max);
  Seen seen;
  for (size_t at = 0; at < stream.size();) {
    const size_t n = cut == 0 ? 1 : at < cut ? std::min(cut, stream.size()) : stream.size() - at;
    // A copy of its own, so that a sanitizer sees what is read of an earlier piece.
    const std::string piece(stream.substr(at, n));
    at += n;
    auto in = std::as_bytes(std::span(piece));
    for (;;) {
      const auto step = reader.next(in);
      if (step.state == State::need_more) break;
      const std::string payload = as_text(step.payload);
      if (step.state == State::data) seen.said += payload + (step.message_end ? "|" : "");
      if (step.state == State::ping) seen.said += "<" + payload + ">";
      if (step.state == State::pong) seen.said += "[" + payload + "]";
      if (step.state != State::close && step.state != State::fault) continue;
      EXPECT_EQ(seen.end, State::need_more) << "after the end";
      EXPECT_EQ(step.why.empty(), step.state == State::close);
      seen.said += "$" + payload;
      seen.end = step.state;
      seen.code = step.close_code;
    }
    EXPECT_TRUE(in.empty());
  }
  seen.in_message = reader.in_message();
  return seen;
}

std::string frame(WebSocketOpcode opcode, std::string_view payload, bool masked) {
  std::vector<std::byte> out;
  append_frame(opcode, std::as_bytes(std::span(payload)),
               masked ? std::optional(kMask) : std::nullopt, out);
  return as_text(out);
}

std::string text(std::string_view payload) {
  return frame(WebSocketOpcode::text, payload, false);
}

// The frame of a server as that of a client.
std::string masked(std::string from) {
  const auto length = static_cast<unsigned char>(from[1]);
  const size_t header = length == 127 ? 10 : length == 126 ? 4 : 2;
  from[1] = static_cast<char>(length | 0x80);
  for (size_t i = header; i < from.size(); ++i)
    from[i] = static_cast<char>(from[i] ^ std::to_integer<char>(kMask[(i - header) % 4]));
  return from.insert(header, as_text(kMask));
}

std::string closing(std::string_view payload) {
  return frame(WebSocketOpcode::close, payload, false);
}

const std::string kHel = bytes({0x01, 3}) + "Hel";
const std::string kLo = bytes({0x80, 2}) + "lo";

TEST(WebSocket, ReadsWhatTheStandardShows) {
  const struct {
    const char* description;
    std::string stream;
    Role role;
    std::string said;
  } cases[] = {
      {"unmasked text", bytes({0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f}), Role::client, "Hello|"},
      {"masked text", bytes({0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}),
       Role::server, "Hello|"},
      {"fragmented text", bytes({0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f}),
       Role::client, "Hello|"},
      {"unmasked ping", bytes({0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f}), Role::client, "<Hello>"},
      {"masked pong", bytes({0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}),
       Role::server, "[Hello]"},
  };
  for (const auto& c : cases) {
    for (size_t cut = 0; cut <= c.stream.size(); ++cut) {
      const Seen seen = read(c.stream, c.role, cut);
      EXPECT_EQ(seen.said, c.said) << c.description << " cut at " << cut;
      EXPECT_EQ(seen.end, State::need_more) << c.description;
      EXPECT_FALSE(seen.in_message) << c.description;
    }
  }
}

TEST(WebSocket, HandsOutMessagesPingsAndTheCloseAtEverySplit) {
  const std::string ping = frame(WebSocketOpcode::ping, "hi", false);
  const struct {
    const char* description;
    std::string stream;
    std::string said;
    State end;
    uint16_t code;
  } cases[] = {
      {"two messages", text("a") + text("bc"), "a|bc|", State::need_more, 0},
      {"an empty message", text("") + text("a"), "|a|", State::need_more, 0},
      {"control frames between fragments",
       kHel + ping + frame(WebSocketOpcode::pong, "", false) + kLo, "Hel<hi>[]lo|",
       State::need_more, 0},
      {"empty fragments", bytes({0x01, 0}) + bytes({0x00, 0}) + text("x").replace(0, 1, "\x80"),
       "x|", State::need_more, 0},
      {"an empty last fragment", kHel + bytes({0x80, 0}) + text("a"), "Hel|a|", State::need_more,
       0},
      {"close without a code", text("a") + closing(""), "a|$", State::close, 0},
      {"close with a code", closing(bytes({0x03, 0xe8})), "$", State::close, 1000},
      {"close with a reason", closing(bytes({0x03, 0xe8}) + "bye"), "$bye", State::close, 1000},
      {"close inside a message", kHel + closing(bytes({0x03, 0xe9})), "Hel$", State::close, 1001},
      {"what follows a close is dropped", closing("") + text("a"), "$", State::close, 0},
  };
  for (const auto& c : cases) {
    for (size_t cut = 0; cut <= c.stream.size(); ++cut) {
      const Seen seen = read(c.stream, Role::client, cut);
      EXPECT_EQ(seen.said, c.said) << c.description << " cut at " << cut;
      EXPECT_EQ(seen.end, c.end) << c.description;
      EXPECT_EQ(seen.code, c.code) << c.description;
    }
  }
}

TEST(WebSocket, RefusesWhatTheStandardForbids) {
  const std::string long_ping = bytes({0x89, 126, 0, 126}) + std::string(126, 'x');
  const auto close = [](int code) { return closing(bytes({code >> 8, code & 0xff})); };
  const struct {
    const char* description;
    std::string stream;
    uint16_t code;  // of the fault; 0: none
  } cases[] = {
      {"no reserved bit", bytes({0x81, 0}), 0},
      {"reserved bit 1", bytes({0xc1, 0}), 1002},
      {"reserved bit 2", bytes({0xa1, 0}), 1002},
      {"reserved bit 3", bytes({0x91, 0}), 1002},
      {"binary", bytes({0x82, 0}), 1003},
      {"opcode 3", bytes({0x83, 0}), 1002},
      {"opcode 7", bytes({0x87, 0}), 1002},
      {"opcode 11", bytes({0x8b, 0}), 1002},
      {"opcode 15", bytes({0x8f, 0}), 1002},
      {"fragmented ping", bytes({0x09, 0}), 1002},
      {"fragmented close", bytes({0x08, 0}), 1002},
      {"the longest ping", bytes({0x89, 125}) + std::string(125, 'x'), 0},
      {"a longer ping", long_ping, 1002},
      {"a ping with a 64-bit length", bytes({0x89, 127}), 1002},
      {"the least 16-bit length", bytes({0x81, 126, 0, 126}) + std::string(126, 'x'), 0},
      {"16-bit length not needed", bytes({0x81, 126, 0, 125}) + std::string(125, 'x'), 1002},
      {"the least 64-bit length",
       bytes({0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}) + std::string(1 << 16, 'x'), 0},
      {"64-bit length not needed", bytes({0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}), 1002},
      {"64-bit length with the top bit", bytes({0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}), 1002},
      {"64-bit length without it", bytes({0x81, 127, 0x7f, 0, 0, 0, 0, 0, 0, 0}), 1009},
      {"continuation of a message", kHel + kLo, 0},
      {"continuation of none", kLo, 1002},
      {"continuation after the end", kHel + kLo + kLo, 1002},
      {"new text inside a message", kHel + text("x"), 1002},
      {"new text after it", kHel + kLo + text("x"), 0},
      {"close with half a code", closing("x"), 1002},
      {"code 0", close(0), 1002},
      {"code 999", close(999), 1002},
      {"code 1000", close(1000), 0},
      {"code 1005", close(1005), 1002},
      {"code 1006", close(1006), 1002},
      {"code 1011", close(1011), 0},
      {"code 1014", close(1014), 0},
      {"code 1015", close(1015), 1002},
      {"code 3000", close(3000), 0},
      {"code 4999", close(4999), 0},
      {"code 5000", close(5000), 1002},
      {"code 65535", close(65535), 1002},
  };
  for (const auto& c : cases) {
    const size_t cuts = std::min<size_t>(c.stream.size(), 64);
    for (size_t cut = 0; cut <= cuts; ++cut) {
      const Seen seen = read(c.stream, Role::client, cut);
      EXPECT_EQ(seen.end == State::fault, c.code != 0) << c.description << " cut at " << cut;
      if (c.code != 0) {
        EXPECT_EQ(seen.code, c.code) << c.description << " cut at " << cut;
      }
    }
  }
}

TEST(WebSocket, AsksForAMaskByRole) {
  const struct {
    const char* description;
    WebSocketOpcode opcode;
  } cases[] = {
      {"text", WebSocketOpcode::text},
      {"close", WebSocketOpcode::close},
      {"ping", WebSocketOpcode::ping},
      {"pong", WebSocketOpcode::pong},
  };
  for (const auto& c : cases) {
    const std::string plain = frame(c.opcode, "", false);
    const std::string hidden = frame(c.opcode, "", true);
    EXPECT_NE(read(plain, Role::client, 0).end, State::fault) << c.description;
    EXPECT_NE(read(hidden, Role::server, 0).end, State::fault) << c.description;
    EXPECT_EQ(read(plain, Role::server, 0).code, kCloseProtocolError) << c.description;
    EXPECT_EQ(read(hidden, Role::client, 0).code, kCloseProtocolError) << c.description;
    // Said by the second byte, before there is a mask or a payload.
    EXPECT_EQ(read(hidden.substr(0, 2), Role::client, 0).end, State::fault) << c.description;
  }
}

TEST(WebSocket, BoundsAMessageByWhatItsFramesDeclare) {
  const std::string ping = frame(WebSocketOpcode::ping, "123456", false);
  const struct {
    const char* description;
    std::string stream;
    bool too_big;
  } cases[] = {
      {"as big as may be", text("12345"), false},
      {"bigger, told by the header", bytes({0x81, 6}), true},
      {"far bigger", bytes({0x81, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), true},
      {"over all fragments", kHel + kLo, false},
      {"over all fragments, one more", kHel + bytes({0x80, 3}), true},
      {"a sum that would wrap",
       kHel + bytes({0x00, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), true},
      {"each message anew", text("12345") + text("12345"), false},
      {"control frames do not count", kHel + ping + kLo, false},
  };
  for (const auto& c : cases) {
    for (const size_t cut : {size_t{0}, c.stream.size()}) {
      const Seen seen = read(c.stream, Role::client, cut, 5);
      EXPECT_EQ(seen.end == State::fault, c.too_big) << c.description;
      EXPECT_EQ(seen.code, c.too_big ? kCloseTooBig : 0) << c.description;
    }
  }
}

TEST(WebSocket, KnowsWhetherItIsInAMessage) {
  const struct {
    const char* description;
    std::string stream;
    bool inside;
  } cases[] = {
      {"nothing", "", false},
      {"half a header", bytes({0x81}), true},
      {"half a payload", text("ab").substr(0, 3), true},
      {"a message", text("ab"), false},
      {"a fragment", kHel, true},
      {"a ping after a fragment", kHel + bytes({0x89, 0}), true},
      {"the last fragment's header", kHel + bytes({0x80, 2}), true},
      {"all fragments", kHel + kLo, false},
      {"half a ping", bytes({0x89, 2, 'x'}), false},
  };
  for (const auto& c : cases)
    EXPECT_EQ(read(c.stream, Role::client, 0).in_message, c.inside) << c.description;
}

TEST(WebSocket, ReadsBackWhatItWrites) {
  for (const size_t size : {0u, 1u, 7u, 8u, 125u, 126u, 65535u, 65536u, 200'000u}) {
    std::string payload;
    for (size_t i = 0; i < size; ++i)
      payload += static_cast<char>('a' + i * 7 % 26);
    const std::string plain = frame(WebSocketOpcode::text, payload, false);
    const std::string hidden = frame(WebSocketOpcode::text, payload, true);
    EXPECT_EQ(hidden, masked(plain));
    EXPECT_EQ(plain.size(), size + (size < 126 ? 2 : size < 65536 ? 4 : 10));
    for (const size_t cut : {size_t{0}, size / 2 + 1, size_t{7}, hidden.size()}) {
      EXPECT_EQ(read(plain, Role::client, cut).said, payload + "|") << size;
      EXPECT_EQ(read(hidden, Role::server, cut).said, payload + "|") << size;
    }
  }
  const std::string ping = frame(WebSocketOpcode::ping, std::string(125, 'x'), true);
  for (size_t cut = 0; cut < ping.size(); ++cut)
    EXPECT_EQ(read(ping, Role::server, cut).said, "<" + std::string(125, 'x') + ">") << cut;
}

TEST(WebSocket, CutsAReasonBetweenCharacters) {
  const std::string umlaut = "\xc3\xa4";
  const struct {
    const char* description;
    std::string reason;
    size_t kept;
  } cases[] = {
      {"none", "", 0},
      {"short", "policy changed", 14},
      {"as long as may be", std::string(123, 'x'), 123},
      {"longer", std::string(124, 'x'), 123},
      {"a character at the end", std::string(121, 'x') + umlaut, 123},
      {"a character over the end", std::string(122, 'x') + umlaut, 122},
  };
  for (const auto& c : cases) {
    const std::string payload = as_text(close_payload(kCloseGoingAway, c.reason));
    EXPECT_EQ(payload, bytes({0x03, 0xe9}) + c.reason.substr(0, c.kept)) << c.description;
    const Seen seen = read(closing(payload), Role::client, 0);
    EXPECT_EQ(seen.code, kCloseGoingAway) << c.description;
  }
}

TEST(WebSocket, AcceptsAKeyOfSixteenBytes) {
  EXPECT_EQ(accept_value("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  for (const char* key :
       {"", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZSE=",
        " dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25*ZQ=="}) {
    EXPECT_FALSE(accept_value(key)) << key;
  }
}

TEST(Sha1, MatchesTheStandardsExamples) {
  const struct {
    std::string text;
    const char* digest;
  } cases[] = {
      {"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
      {"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
      {std::string(1'000'000, 'a'), "34aa973cd4c4daa4f61eeb2bdbad27316534016f"},
  };
  for (const auto& c : cases) {
    std::string hex;
    for (const uint8_t byte : sha1(c.text)) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      hex += kDigits[byte >> 4];
      hex += kDigits[byte & 15];
    }
    EXPECT_EQ(hex, c.digest) << c.text.size();
  }
}

}  // namespace
}  // namespace tollgate::codec
