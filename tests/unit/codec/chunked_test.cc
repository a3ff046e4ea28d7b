#include <gtest/gtest.h>

#include "userspace/codec/http1.h"

namespace tollgate::codec {
namespace {

using State = ChunkedDecoder::State;

struct Decoded {
  State state = State::need_more;
  std::string body;
  std::string rest;
};

Decoded decode(std::string_view text, size_t piece, size_t cut) {
  ChunkedDecoder decoder;
  Decoded out;
  const auto bytes = std::as_bytes(std::span(text));
  for (size_t at = 0; at < bytes.size();) {
    const size_t n = at < cut ? std::min(piece, cut - at) : std::min(piece, bytes.size() - at);
    auto in = bytes.subspan(at, n);
    at += n;
    while (true) {
      const auto step = decoder.next(in);
      out.state = step.state;
      if (step.state != State::data) break;
      out.body.append(reinterpret_cast<const char*>(step.data.data()), step.data.size());
    }
    if (out.state == State::done) {
      out.rest = text.substr(at - in.size());
      break;
    }
    if (out.state == State::fault) break;
  }
  return out;
}

TEST(Chunked, SameResultWhateverTheSplits) {
  const struct {
    const char* description;
    std::string text;
    State state;
    std::string body = {};
    std::string rest = {};
  } cases[] = {
      {"two chunks", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", State::done, "abcde"},
      {"bytes after the end stay", "0\r\n\r\nNEXT", State::done, "", "NEXT"},
      {"hex, any case", "A\r\n0123456789\r\n0\r\n\r\n", State::done, "0123456789"},
      {"extension", "1;a=\"b\"\r\nx\r\n0\r\n\r\n", State::done, "x"},
      {"trailer", "0\r\nx: y\r\n\r\n", State::done},
      {"sixteen digits", "0000000000000001\r\nx\r\n0\r\n\r\n", State::done, "x"},
      {"seventeen digits", "00000000000000001\r\nx\r\n", State::fault},
      {"unfinished", "3\r\nab", State::need_more, "ab"},
      {"no size", "\r\nabc", State::fault},
      {"plus", "+3\r\nabc\r\n", State::fault},
      {"0x", "0x3\r\nabc\r\n", State::fault},
      {"underscore", "1_0\r\n", State::fault},
      {"space after size", "3 \r\nabc\r\n", State::fault},
      {"space before size", " 3\r\nabc\r\n", State::fault},
      {"bare LF after size", "3\nabc\r\n", State::fault},
      {"CR in extension", "3;a\rb\r\nabc\r\n", State::fault},
      {"LF in extension", "3;a\nabc\r\n", State::fault},
      {"data runs over", "3\r\nabcd\r\n", State::fault, "abc"},
      {"bare LF after data", "3\r\nabc\n0\r\n\r\n", State::fault, "abc"},
      {"extension too long", "3;" + std::string(2000, 'x'), State::fault},
      {"folded trailer", "0\r\nx: y\r\n z\r\n\r\n", State::fault},
      {"trailer without colon", "0\r\nxy\r\n\r\n", State::fault},
      {"trailer with bare LF", "0\r\nx: y\n\r\n", State::fault},
      {"trailers too long", "0\r\nx: " + std::string(9000, 'y'), State::fault},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.description);
    const auto check = [&](const Decoded& out) {
      EXPECT_EQ(out.state, c.state);
      EXPECT_EQ(out.body, c.body);
      EXPECT_EQ(out.rest, c.rest);
    };
    check(decode(c.text, c.text.size(), 0));
    check(decode(c.text, 1, 0));
    for (size_t cut = 1; cut < std::min<size_t>(c.text.size(), 64); ++cut) {
      check(decode(c.text, c.text.size(), cut));
    }
  }
}

}  // namespace
}  // namespace tollgate::codec
