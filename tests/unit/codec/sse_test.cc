#include "userspace/codec/sse.h"

#include <gtest/gtest.h>

#include <utility>

namespace tollgate::codec {
namespace {

constexpr const char* kCreated =
    "data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n";
constexpr const char* kDelta =
    "event: response.output_text.delta\ndata: "
    "{\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"delta\":\"hi\"}\n\n";
constexpr const char* kCompleted =
    "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"usage\":{"
    "\"input_tokens\":10,\"output_tokens\":5,\"total_tokens\":15}}}\n\n";

struct Seen {
  std::string before;  // what went out before release
  std::string all;
  std::optional<ResponseFacts> facts;
  bool oversized = false;
  uint64_t events = 0;
  uint64_t delta_bytes = 0;
};

void append(std::string& to, std::span<const std::byte> bytes) {
  to.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Seen run(std::string_view stream, size_t piece, size_t cut, size_t max = 1 << 20) {
  SseScanner scanner(max);
  Seen seen;
  const auto bytes = std::as_bytes(std::span(stream));
  for (size_t at = 0; at < bytes.size();) {
    const size_t n = std::min(piece, at < cut ? cut - at : bytes.size() - at);
    const auto out = scanner.feed(bytes.subspan(at, n));
    at += n;
    append(seen.before, out.held);
    append(seen.before, out.pass);
    if (out.terminal) seen.facts = out.terminal;
    seen.oversized |= out.oversized;
  }
  seen.all = seen.before;
  append(seen.all, scanner.release());
  seen.events = scanner.events();
  seen.delta_bytes = scanner.delta_bytes();
  return seen;
}

TEST(Sse, FindsTheTerminalEventWhateverTheSplits) {
  const std::string delta = kDelta;
  const std::string end = kCompleted;
  const std::string done = "data: [DONE]\n\n";
  const std::string usage =
      "\"response\":{\"usage\":{\"input_tokens\":10,\"output_tokens\":5,\"total_tokens\":15}}";
  const struct {
    const char* description;
    std::string stream;
    std::string before;  // the part that may go before the usage is recorded
    bool terminal;
    uint64_t events;
  } cases[] = {
      {"plain turn", kCreated + delta + end, kCreated + delta, true, 3},
      {"text after the end is kept", delta + end + done, delta, true, 2},
      {"CRLF",
       "data: {\"type\":\"x\"}\r\n\r\ndata: {\"type\":\"response.failed\"," + usage + "}\r\n\r\n",
       "data: {\"type\":\"x\"}\r\n\r\n", true, 2},
      {"CR", "data: {\"type\":\"x\"}\r\rdata: {\"type\":\"response.failed\"," + usage + "}\r\r",
       "data: {\"type\":\"x\"}\r\r", true, 2},
      {"mixed ends",
       "data: {\"type\":\"x\"}\r\n\ndata: {\"type\":\"response.incomplete\"," + usage + "}\n\r\n",
       "data: {\"type\":\"x\"}\r\n\n", true, 2},
      {"byte order mark and comments", "\xef\xbb\xbf: hi\n\n" + end, "\xef\xbb\xbf: hi\n\n", true,
       1},
      {"no space after the colon", "data:{\"type\":\"response.completed\"," + usage + "}\n\n", "",
       true, 1},
      {"data over several lines",
       "data: {\"type\":\ndata: \"response.completed\",\nid: 1\ndata: " + usage + "}\n\n", "", true,
       1},
      {"event line before", "event: x\nid: 7\n" + end, "", true, 1},
      {"type is last", "data: {" + usage + ",\"type\":\"response.completed\"}\n\n", "", true, 1},
      {"escaped type", "data: {\"type\":\"response.\\u0063ompleted\"," + usage + "}\n\n", "", true,
       1},
      {"escaped key", "data: {\"t\\u0079pe\":\"response.completed\"," + usage + "}\n\n", "", true,
       1},
      {"type is last, other event", "data: {\"a\":1,\"type\":\"y\"}\n\n",
       "data: {\"a\":1,\"type\":\"y\"}\n\n", false, 1},
      {"event line does not count", "event: response.completed\ndata: {\"type\":\"y\"}\n\n",
       "event: response.completed\ndata: {\"type\":\"y\"}\n\n", false, 1},
      {"longer type", "data: {\"type\":\"response.completed.x\"}\n\n",
       "data: {\"type\":\"response.completed.x\"}\n\n", false, 1},
      {"fields without colon, junk, done", "data\n\nretry\n\ndata: junk\n\n" + done,
       "data\n\nretry\n\ndata: junk\n\n" + done, false, 3},
      {"other field named like data", "datax: {\"type\":\"response.completed\"}\n\n",
       "datax: {\"type\":\"response.completed\"}\n\n", false, 0},
      {"unfinished terminal event", delta + "data: {\"type\":\"response.completed\"", delta, false,
       1},
      {"broken terminal event passes", "data: {\"type\":\"response.completed\",}\n\n" + delta,
       "data: {\"type\":\"response.completed\",}\n\n" + delta, false, 2},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.description);
    const auto check = [&](const Seen& seen) {
      EXPECT_EQ(seen.before, c.before);
      EXPECT_EQ(seen.all, c.stream);
      EXPECT_EQ(seen.facts.has_value(), c.terminal);
      if (c.terminal && seen.facts) {
        EXPECT_EQ(seen.facts->usage->total_tokens, 15u);
      }
      EXPECT_EQ(seen.events, c.events);
      EXPECT_FALSE(seen.oversized);
    };
    check(run(c.stream, c.stream.size(), 0));
    check(run(c.stream, 1, 0));
    for (size_t cut = 1; cut < c.stream.size(); ++cut)
      check(run(c.stream, c.stream.size(), cut));
  }
}

TEST(Sse, CountsVisibleDeltaBytes) {
  const std::string stream =
      std::string(kDelta) + kCreated +
      "data: {\"type\":\"a.delta\",\"delta\": \"\\\"x\",\"z\":\"delta\"}\n\n";
  EXPECT_EQ(run(stream, stream.size(), 0).delta_bytes, 5u);
  EXPECT_EQ(run(stream, 1, 0).delta_bytes, 5u);
}

TEST(Sse, DeltaPassesAtOnceAfterItsType) {
  SseScanner scanner(1 << 20);
  const std::string_view start = "data: {\"type\":\"response.o";
  EXPECT_EQ(scanner.feed(std::as_bytes(std::span(start.substr(0, 24)))).pass.size(), 0u);
  const auto out = scanner.feed(std::as_bytes(std::span(start.substr(24))));
  EXPECT_EQ(out.held.size() + out.pass.size(), start.size());
}

TEST(Sse, LongEventsAndOversizedOnes) {
  const std::string fill(100'000, 'x');
  const std::string other = "data: {\"type\":\"y\",\"a\":\"" + fill + "\"}\n\n";
  const std::string end =
      "data: {\"type\":\"response.completed\",\"response\":{\"a\":\"" + fill + "\"}}\n\n";
  const std::string unknown = "data: {\"a\":\"" + fill + "\"}\n\n";
  for (const size_t piece : {size_t{1}, size_t{777}, size_t{1} << 20}) {
    EXPECT_FALSE(run(other, piece, 0, 1000).oversized);
    EXPECT_TRUE(run(end, piece, 0, 200'000).facts);
    const Seen seen = run(end + kDelta, piece, 0, 1000);
    EXPECT_TRUE(seen.oversized);
    EXPECT_FALSE(seen.facts);
    EXPECT_EQ(seen.before, end + kDelta);
    const Seen went_on = run(unknown + kCompleted, piece, 0, 1000);
    EXPECT_TRUE(went_on.oversized);
    EXPECT_TRUE(went_on.facts);
    EXPECT_EQ(went_on.all, unknown + kCompleted);
  }
}

std::string with_line_ends(std::string_view text, std::string_view line_end) {
  std::string out;
  for (const char c : text)
    out += c == '\n' ? std::string(line_end) : std::string(1, c);
  return out;
}

constexpr std::string_view kLineEnds[] = {"\n", "\r\n", "\r"};

TEST(Sse, UsageOverSeveralDataLinesIsExactAtEverySplit) {
  const std::string lines =
      "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\n"
      "event: response.completed\n"
      "data: {\"type\":\"response.completed\",\n"
      "data: \"response\":{\"id\":\"r\",\"usage\":{\n"
      ": a comment\n"
      "data:\"input_tokens\":1234,\"input_tokens_details\":{\"cached_tokens\":1000,\n"
      "data\n"
      "data: \"cache_write_tokens\":34},\n"
      "id: 7\n"
      "data:  \"output_tokens\":56,\"output_tokens_details\":{\"reasoning_tokens\":40},\n"
      "data: \"total_tokens\":1290}}}\n\n";
  for (const std::string_view line_end : kLineEnds) {
    const std::string stream = with_line_ends(lines, line_end);
    const std::string before = with_line_ends(lines.substr(0, lines.find("event:")), line_end);
    for (size_t cut = 0; cut < stream.size(); ++cut) {
      const Seen seen = run(stream, cut == 0 ? 1 : stream.size(), cut);
      ASSERT_TRUE(seen.facts && seen.facts->usage) << cut;
      EXPECT_EQ(seen.facts->usage->input_tokens, 1234u);
      EXPECT_EQ(seen.facts->usage->cached_tokens, 1000u);
      EXPECT_EQ(seen.facts->usage->cache_write_tokens, 34u);
      EXPECT_EQ(seen.facts->usage->output_tokens, 56u);
      EXPECT_EQ(seen.facts->usage->reasoning_tokens, 40u);
      EXPECT_EQ(seen.facts->usage->total_tokens, 1290u);
      EXPECT_EQ(seen.before, before) << cut;
      EXPECT_EQ(seen.all, stream) << cut;
    }
  }
}

TEST(Sse, HugeEventsAreReadOrPassedWhole) {
  constexpr size_t kPiece = 16 * 1024;
  const std::string fill(12 << 20, 'x');
  const std::string usage =
      "\"usage\":{\"input_tokens\":10,\"output_tokens\":5,\"total_tokens\":15}}}\n\n";
  const std::string start = "data: {\"type\":\"response.completed\",\"response\":{\"a\":\"";
  const struct {
    const char* description;
    std::string stream;
    size_t max;
    bool usage_read;
    bool oversized;
  } cases[] = {
      {"2 MiB before the usage", start + fill.substr(0, 2 << 20) + "\"," + usage, 16 << 20, true,
       false},
      {"12 MiB before the usage, one line", start + fill + "\"," + usage, 16 << 20, true, false},
      {"12 MiB, over the bound", start + fill + "\"," + usage, 8 << 20, false, true},
      {"12 MiB of another event, which the bound does not concern",
       "data: {\"type\":\"response.image\",\"b64\":\"" + fill + "\"}\n\n" + start + "\"," + usage,
       1 << 20, true, false},
      {"12 MiB of a comment", ": " + fill + "\n" + start + "\"," + usage, 1 << 20, true, false},
      {"12 MiB of an unknown field, whose event may be terminal",
       "x: " + fill + "\ndata: {\"type\":\"y\"}\n\n" + start + "\"," + usage, 1 << 20, true, true},
      {"12 MiB before the type",
       "data: {\"a\":\"" + fill + "\",\"type\":\"y\"}\n\n" + start + "\"," + usage, 1 << 20, true,
       true},
  };
  for (const auto& c : cases) {
    const Seen seen = run(c.stream, kPiece, 0, c.max);
    EXPECT_EQ(seen.facts.has_value(), c.usage_read) << c.description;
    if (seen.facts) {
      EXPECT_EQ(seen.facts->usage->total_tokens, 15u) << c.description;
    }
    EXPECT_EQ(seen.oversized, c.oversized) << c.description;
    EXPECT_TRUE(seen.all == c.stream) << c.description;
  }
}

TEST(Sse, WhatIsUnknownPassesByteForByteAtEverySplit) {
  const std::string lines =
      "retry: 10\nx-provider: {\"type\":\"response.completed\"}\n\n"
      "event: response.brand_new\nid: 7\nfoo\n"
      "data: {\"type\":\"response.brand_new\",\"usage\":{\"input_tokens\":1},\"x\":[1]}\n\n"
      "event: \xff\xfe\n: comment in it\ndata: {\"type\":\"response.completed_soon\"}\n\n"
      "data: {\"TYPE\":\"response.completed\",\"response\":{}}\n\n"
      "data: {\"type\":7}\n\ndata: [\"response.completed\"]\n\ndata:\n\ndata: \x01\n\n"
      "data: {\"response\":{\"type\":\"response.completed\"}}\n\n";
  for (const std::string_view line_end : kLineEnds) {
    const std::string stream = with_line_ends(lines, line_end);
    for (size_t cut = 0; cut < stream.size(); ++cut) {
      const Seen seen = run(stream, cut == 0 ? 1 : stream.size(), cut);
      EXPECT_EQ(seen.before, stream) << cut;
      EXPECT_FALSE(seen.facts) << cut;
      EXPECT_EQ(seen.events, 8u) << cut;
    }
  }
}

// A reader as the standard describes it, for the whole stream at once: each event's data.
std::vector<std::string> events_of(std::string_view stream) {
  if (stream.starts_with("\xef\xbb\xbf")) stream.remove_prefix(3);
  std::vector<std::string> events;
  std::string data;
  while (!stream.empty()) {
    const size_t end = stream.find_first_of("\r\n");
    if (end == std::string_view::npos) break;
    const std::string_view line = stream.substr(0, end);
    stream.remove_prefix(end + (stream.substr(end, 2) == "\r\n" ? 2 : 1));
    if (line.starts_with("data: ")) data += std::string(line.substr(6)) + '\n';
    if (!line.empty() || data.empty()) continue;
    events.push_back(std::exchange(data, {}));
  }
  return events;
}

TEST(Sse, AnEventMayBePutInBetweenEvents) {
  constexpr std::string_view kOurs = "data: {\"type\":\"gateway.keepalive\"}\n\n";
  const std::string text = std::string(": hello\n\n") + kCreated + ": ping\n" + kDelta +
                           "data: {\"a\":\ndata: 1}\n\n\nid: 1\n\n" + kDelta + kCompleted + kDelta;
  const struct {
    const char* description;
    std::string stream;
    size_t places;  // at the start, after each line before an event
  } cases[] = {
      {"LF", with_line_ends(text, "\n"), 10},
      {"CRLF", with_line_ends(text, "\r\n"), 10},
      {"CR: an LF may follow", with_line_ends(text, "\r"), 1},
      {"mixed", std::string(kDelta) + "data: x\r\n\ndata: y\n\r\ndata: z\r\r" + kDelta, 5},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.description);
    const auto wanted = events_of(c.stream);
    ASSERT_GT(wanted.size(), 3u);
    SseScanner scanner(1 << 20);
    std::string out;
    size_t places = 0;
    for (size_t at = 0; at <= c.stream.size(); ++at) {
      if (scanner.between_events()) {
        ++places;
        EXPECT_EQ(out, c.stream.substr(0, at));
        auto seen = events_of(out + std::string(kOurs) + c.stream.substr(at));
        EXPECT_EQ(std::erase(seen, "{\"type\":\"gateway.keepalive\"}\n"), 1u) << at;
        EXPECT_EQ(seen, wanted) << at;
      }
      if (at == c.stream.size()) break;
      const auto step = scanner.feed(std::as_bytes(std::span(c.stream)).subspan(at, 1));
      append(out, step.held);
      append(out, step.pass);
    }
    EXPECT_EQ(places, c.places);
  }
}

TEST(Sse, NothingIsPutInElsewhere) {
  const std::string delta = kDelta;
  const std::string mark = "\xef\xbb\xbf";
  const struct {
    const char* description;
    std::string fed;
    bool between;
  } cases[] = {
      {"at the start", "", true},
      {"inside a byte order mark", mark.substr(0, 1), false},
      {"inside a byte order mark, later", mark.substr(0, 2), false},
      {"after it", mark, true},
      {"half a mark is a field", mark.substr(0, 2) + "d", false},
      {"after an event", delta, true},
      {"inside its last line end", delta.substr(0, delta.size() - 1), false},
      {"inside an event that goes out", delta + delta.substr(0, delta.size() - 4), false},
      {"inside a comment", ": ping", false},
      {"after it ends", ": ping\n", true},
      {"after a comment in an event", "event: x\n: ping\n", false},
      {"after CR", "data: x\n\r", false},
      {"after its LF", "data: x\n\r\n", true},
      {"held: may be terminal", "data: {", false},
      {"after the terminal event", kCompleted, false},
  };
  for (const auto& c : cases) {
    SseScanner scanner(1 << 20);
    scanner.feed(std::as_bytes(std::span(c.fed)));
    EXPECT_EQ(scanner.between_events(), c.between) << c.description;
    scanner.release();
    EXPECT_FALSE(scanner.between_events()) << c.description;
  }
}

TEST(Sse, IsSmall) {
  EXPECT_LE(sizeof(SseScanner), 400u);
}

}  // namespace
}  // namespace tollgate::codec
