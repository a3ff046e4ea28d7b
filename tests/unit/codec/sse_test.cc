#include "userspace/codec/sse.h"

#include <gtest/gtest.h>

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

TEST(Sse, IsSmall) {
  EXPECT_LE(sizeof(SseScanner), 400u);
}

}  // namespace
}  // namespace tollgate::codec
