#include "userspace/codec/event_splitter.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tollgate::codec {
namespace {

struct Seen {
  std::vector<std::string> events;
  bool overflowed = false;
};

// In two pieces, or in pieces of one size when the cut is 0.
Seen split(std::string_view stream, size_t cut, size_t piece = 1, size_t max = 1 << 20) {
  EventSplitter splitter(max);
  Seen seen;
  for (size_t at = 0; at < stream.size();) {
    const size_t n = cut == 0 ? piece : at < cut ? cut : stream.size();
    // A copy of its own, so that a sanitizer sees what is read of an earlier piece.
    const std::string part(stream.substr(at, n));
    at += part.size();
    auto in = std::as_bytes(std::span(part));
    while (const auto data = splitter.next(in))
      seen.events.emplace_back(*data);
    EXPECT_TRUE(in.empty());
  }
  seen.overflowed = splitter.overflowed();
  return seen;
}

std::string with_line_ends(std::string_view text, std::string_view line_end) {
  std::string out;
  for (const char c : text)
    out += c == '\n' ? std::string(line_end) : std::string(1, c);
  return out;
}

using Events = std::vector<std::string>;

TEST(EventSplitter, GivesEachEventsDataAtEverySplit) {
  const struct {
    const char* description;
    std::string stream;
    Events events;
  } cases[] = {
      {"two events", "data: a\n\ndata: b\n\n", {"a", "b"}},
      {"no space after the colon", "data:a\n\n", {"a"}},
      {"two spaces after it", "data:  a\n\n", {" a"}},
      {"several lines", "data: {\ndata: }\n\n", {"{\n}"}},
      {"other fields around", "event: x\ndata: a\nid: 7\nretry: 1\nunknown\n\n", {"a"}},
      {"an event without data", "event: x\nid: 7\n\ndata: a\n\n", {"a"}},
      {"empty data", "data\n\ndata:\n\ndata\ndata\n\n", {"", "", "\n"}},
      {"a name that begins like data", "datax: a\n\ndat: b\n\n", {}},
      {"a space before the name", " data: a\n\n", {}},
      {"comments", ": hi\n\n: data: x\ndata: a\n:\ndata: b\n\n:\n", {"a\nb"}},
      {"spare empty lines", "\n\ndata: a\n\n\n\ndata: b\n\n", {"a", "b"}},
      {"an event that is not complete", "data: a\n\ndata: b\n", {"a"}},
      {"a line that is not complete", "data: a\n\ndata: b", {"a"}},
      {"a byte order mark",
       "\xef\xbb\xbf"
       "data: a\n\n",
       {"a"}},
      {"a mark before a comment", "\xef\xbb\xbf: hi\ndata: a\n\n", {"a"}},
      {"half a mark",
       "\xef\xbb"
       "data: a\ndata: b\n\n",
       {"b"}},
      {"two marks",
       "\xef\xbb\xbf\xef\xbb\xbf"
       "data: a\n\ndata: b\n\n",
       {"b"}},
      {"a mark later",
       "data: a\n\n\xef\xbb\xbf"
       "data: b\n\n",
       {"a"}},
      {"bytes that are no text", std::string("data: a\0\xff\n\n", 11), {std::string("a\0\xff", 3)}},
  };
  for (const auto& c : cases) {
    for (const std::string_view line_end : {"\n", "\r\n", "\r"}) {
      const std::string stream = with_line_ends(c.stream, line_end);
      for (size_t cut = 0; cut <= stream.size(); ++cut) {
        const Seen seen = split(stream, cut);
        EXPECT_EQ(seen.events, c.events) << c.description << " cut at " << cut;
        EXPECT_FALSE(seen.overflowed) << c.description;
      }
    }
  }
}

TEST(EventSplitter, TakesMixedLineEnds) {
  const std::string stream = "data: a\r\n\ndata: b\r\r\ndata: c\n\r\n\r\rdata: d\n\r";
  for (size_t cut = 0; cut <= stream.size(); ++cut)
    EXPECT_EQ(split(stream, cut).events, (Events{"a", "b", "c", "d"})) << cut;
}

TEST(EventSplitter, TakesLongLinesAndStopsAtTheBound) {
  constexpr size_t kLong = 12 << 20;
  const std::string fill(kLong, 'x');
  const std::string small = "data: a\n\n";
  const struct {
    const char* description;
    std::string stream;
    size_t max;
    size_t events;
    bool overflowed;
  } cases[] = {
      {"12 MiB in a line", small + "data: " + fill + "\n\n" + small, kLong + 6, 3, false},
      {"a byte more than the bound", small + "data: " + fill + "\n\n" + small, kLong + 5, 1, true},
      {"in many lines", "data: " + fill + "\ndata: " + fill + "\n\n" + small, kLong + 6, 0, true},
      {"in another field", "id: " + fill + "\n\n" + small, kLong, 0, true},
      {"in a comment", ": " + fill + "\n\n" + small, 16, 1, false},
      {"without an end", small + "data: " + fill, kLong, 1, true},
  };
  for (const auto& c : cases) {
    for (const size_t piece : {size_t{1}, size_t{16} << 10, c.stream.size()}) {
      if (piece == 1 && &c != &cases[0]) continue;  // once shows that time is linear
      const Seen seen = split(c.stream, 0, piece, c.max);
      EXPECT_EQ(seen.events.size(), c.events) << c.description << " in pieces of " << piece;
      EXPECT_EQ(seen.overflowed, c.overflowed) << c.description << " in pieces of " << piece;
    }
  }
}

TEST(EventSplitter, GivesNothingAfterAnOverflow) {
  EventSplitter splitter(8);
  const std::string stream = "data: a\n\ndata: longer\n\ndata: b\n\n";
  auto in = std::as_bytes(std::span(stream));
  EXPECT_EQ(splitter.next(in), "a");
  EXPECT_FALSE(splitter.overflowed());
  EXPECT_EQ(splitter.next(in), std::nullopt);
  EXPECT_TRUE(splitter.overflowed());
  EXPECT_TRUE(in.empty());
  in = std::as_bytes(std::span(stream));
  EXPECT_EQ(splitter.next(in), std::nullopt);
}

}  // namespace
}  // namespace tollgate::codec
