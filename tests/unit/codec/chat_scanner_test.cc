#include "userspace/codec/chat_scanner.h"

#include <gtest/gtest.h>

#include <string>

namespace tollgate::codec {
namespace {

std::string event(std::string_view data) {
  return "data: " + std::string(data) + "\n\n";
}

std::string chunk(std::string_view choices, std::string_view usage = "null") {
  return event(R"({"id":"c1","object":"chat.completion.chunk","model":"m-1","choices":[)" +
               std::string(choices) + R"(],"usage":)" + std::string(usage) + "}");
}

std::string usage(int total) {
  return R"({"prompt_tokens":)" + std::to_string(total - 5) +
         R"(,"completion_tokens":5,"total_tokens":)" + std::to_string(total) + "}";
}

const std::string kHello = chunk(R"({"index":0,"delta":{"role":"assistant","content":"hi"}})");
const std::string kStop = chunk(R"({"index":0,"delta":{},"finish_reason":"stop"})");
const std::string kUsage = chunk("", usage(15));
const std::string kStopWithUsage =
    chunk(R"({"index":0,"delta":{},"finish_reason":"stop"})", usage(15));
const std::string kDone = "data: [DONE]\n\n";

struct Seen {
  std::string before;  // what went out before release
  std::string all;
  std::optional<ResponseFacts> facts;
  std::optional<ResponseFacts> so_far;
  bool oversized = false;
  bool seen_terminal = false;
  uint64_t events = 0;
  uint64_t delta_bytes = 0;
};

void append(std::string& to, std::span<const std::byte> bytes) {
  to.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// In two pieces, or in pieces of one size when the cut is 0.
Seen run(std::string_view stream, size_t cut, bool hide_usage = false, size_t max = 1 << 20,
         size_t piece = 1) {
  ChatScanner scanner(max, hide_usage);
  Seen seen;
  for (size_t at = 0; at < stream.size();) {
    const std::string part(stream.substr(at, cut == 0 ? piece : at < cut ? cut : stream.size()));
    at += part.size();
    const auto out = scanner.feed(std::as_bytes(std::span(part)));
    append(seen.before, out.held);
    append(seen.before, out.pass);
    EXPECT_FALSE(out.terminal && seen.facts) << "a second end";
    if (out.terminal) seen.facts = out.terminal;
    seen.oversized |= out.oversized;
    if (!hide_usage) {
      EXPECT_TRUE(!scanner.between_events() || seen.before.size() == at);
    }
  }
  seen.so_far = scanner.facts_so_far();
  seen.all = seen.before;
  append(seen.all, scanner.release());
  seen.seen_terminal = scanner.seen_terminal();
  seen.events = scanner.events();
  seen.delta_bytes = scanner.delta_bytes();
  return seen;
}

std::string with_line_ends(std::string_view text, std::string_view line_end) {
  std::string out;
  for (const char c : text)
    out += c == '\n' ? std::string(line_end) : std::string(1, c);
  return out;
}

TEST(ChatScanner, FindsTheTerminalEventAtEverySplit) {
  const std::string growing = chunk(R"({"index":0,"delta":{"content":"a"}})", usage(12));
  const std::string error = event(R"({"error":{"message":"x"}})");
  const struct {
    const char* description;
    std::string before;  // goes at once
    std::string held;    // until release
    bool terminal;
    uint64_t total;  // of the usage, 0: none
  } cases[] = {
      {"usage in an event of its own", kHello + kStop, kUsage + kDone, true, 15},
      {"usage with the last choice", kHello, kStopWithUsage + kDone, true, 15},
      {"no usage", kHello + kStop, kDone, true, 0},
      {"usage all along", growing + growing, kDone, true, 12},
      {"usage all along and in the last chunk", growing, kStopWithUsage + kDone, true, 15},
      {"usage all along and in an event of its own", growing + kStop, kUsage + kDone, true, 15},
      {"one choice of two is finished",
       chunk(R"({"index":0,"delta":{}},{"index":1,"delta":{}})") +
           chunk(R"({"index":1,"finish_reason":"stop"})", usage(14)),
       kStopWithUsage + kDone, true, 15},
      {"both are", chunk(R"({"index":0},{"index":1})") + chunk(R"({"finish_reason":"length"})"),
       chunk(R"({"index":1,"finish_reason":"stop"})", usage(15)), true, 15},
      {"what follows [DONE] is kept", "", kDone + kHello, true, 0},
      {"a comment goes at once", ": ping\n\n" + kHello + ": ping\n", kUsage, true, 15},
      {"a comment after the usage is kept", kHello, kUsage + ": ping\n\n" + kDone, true, 15},
      {"an error ends nothing", kHello + error, kDone, true, 0},
      {"an error beside usage", event(R"({"error":{},"choices":[],"usage":)" + usage(9) + "}"),
       kDone, true, 9},
      {"no error", "", event(R"({"error":null,"choices":[],"usage":)" + usage(9) + "}"), true, 9},
      {"usage deeper down",
       event(R"({"choices":[{"usage":{"prompt_tokens":1}}],"x":{"usage":{}}})"), "", false, 0},
      {"usage that is no object", event(R"({"choices":[],"usage":[1]})"), "", false, 0},
      {"no choices at all", "", event(R"({"usage":)" + usage(9) + "}"), true, 9},
      {"a choice beyond all that may be", chunk(R"({"index":128,"delta":{"content":"x"}})"),
       kStopWithUsage, true, 15},
      {"broken JSON passes", event(R"({"usage":{},)") + event("x"), kUsage, true, 15},
      {"other fields and several lines", "event: x\nid: 1\n\n",
       "event: x\ndata: {\"choices\":[],\ndata: \"usage\":" + usage(7) + "}\n\n", true, 7},
      {"the end in other words", event(" [DONE]") + event("[done]") + event("[DONE] "), "", false,
       0},
      {"an event that is not complete", kHello, "data: [DONE]\n", false, 0},
  };
  for (const auto& c : cases) {
    for (const std::string_view line_end : {"\n", "\r\n", "\r"}) {
      const std::string before = with_line_ends(c.before, line_end);
      const std::string stream = before + with_line_ends(c.held, line_end);
      for (size_t cut = 0; cut <= stream.size(); ++cut) {
        const Seen seen = run(stream, cut);
        ASSERT_EQ(seen.facts.has_value(), c.terminal) << c.description << " cut at " << cut;
        EXPECT_EQ(seen.seen_terminal, c.terminal) << c.description;
        EXPECT_EQ(seen.all, stream) << c.description << " cut at " << cut;
        EXPECT_EQ(seen.before, before) << c.description << " cut at " << cut;
        EXPECT_FALSE(seen.oversized) << c.description;
        if (!seen.facts) continue;
        EXPECT_EQ(seen.facts->usage.has_value(), c.total != 0) << c.description;
        EXPECT_EQ(seen.facts->usage.value_or(Usage()).total_tokens, c.total) << c.description;
        EXPECT_EQ(seen.facts->end, ResponseEnd::completed) << c.description;
      }
    }
  }
}

TEST(ChatScanner, HidesAnEventOfUsageAloneAtEverySplit) {
  const std::string malformed = chunk("", R"({"prompt_tokens":"x"})");
  const std::string growing = chunk(R"({"index":0,"delta":{"content":"a"}})", usage(12));
  const struct {
    const char* description;
    std::string before;
    std::string hidden;
    std::string after;
  } cases[] = {
      {"usage alone", kHello + kStop, kUsage, kDone},
      {"usage that is malformed", kHello, malformed, kDone},
      {"nothing follows", kHello, kUsage, ""},
      {"with other fields", kHello, "event: x\n: hi\nid: 1\n" + kUsage, kDone},
      {"a comment before it", kHello + ": ping\n", kUsage, ": ping\n" + kDone},
      {"not beside a choice", kHello, "", kStopWithUsage + kDone},
      {"not what is told all along", growing, "", kDone},
      {"not the end", kHello, "", kDone},
  };
  for (const auto& c : cases) {
    for (const std::string_view line_end : {"\n", "\r\n", "\r"}) {
      const std::string before = with_line_ends(c.before, line_end);
      const std::string after = with_line_ends(c.after, line_end);
      const std::string stream = before + with_line_ends(c.hidden, line_end) + after;
      for (size_t cut = 0; cut <= stream.size(); ++cut) {
        const Seen seen = run(stream, cut, true);
        EXPECT_EQ(seen.before, before) << c.description << " cut at " << cut;
        EXPECT_EQ(seen.all, before + after) << c.description << " cut at " << cut;
        EXPECT_TRUE(seen.facts) << c.description;
      }
    }
  }
}

TEST(ChatScanner, HidesTheRestOfALineEndThatComesAfterRelease) {
  ChatScanner scanner(1 << 20, true);
  const std::string stream = with_line_ends(kUsage, "\r\n");
  const auto bytes = std::as_bytes(std::span(stream));
  EXPECT_TRUE(scanner.feed(bytes.first(bytes.size() - 1)).terminal);
  EXPECT_TRUE(scanner.release().empty());
  EXPECT_EQ(scanner.feed(bytes.last(1)).pass.size(), 0u);
  EXPECT_EQ(scanner.feed(bytes).pass.size(), bytes.size());
}

TEST(ChatScanner, ReadsTheFactsOfTheEnd) {
  const Seen seen = run(kHello + kUsage, 0);
  ASSERT_TRUE(seen.facts);
  EXPECT_EQ(seen.facts->response_id, "c1");
  EXPECT_EQ(seen.facts->model, "m-1");
  EXPECT_EQ(seen.facts->usage->input_tokens, 10u);
  EXPECT_EQ(seen.facts->usage->output_tokens, 5u);

  const Seen without = run(kHello + kDone, 0);
  ASSERT_TRUE(without.facts);
  EXPECT_EQ(without.facts->response_id, "c1");
  EXPECT_EQ(without.facts->model, "m-1");
  EXPECT_FALSE(without.facts->usage || without.facts->usage_malformed);

  const Seen malformed = run(chunk("", R"({"prompt_tokens":1.5})"), 0);
  ASSERT_TRUE(malformed.facts);
  EXPECT_TRUE(malformed.facts->usage_malformed);
}

TEST(ChatScanner, TellsWhatACutStreamHasUsed) {
  const std::string growing = chunk(R"({"index":0,"delta":{"content":"a"}})", usage(12));
  const Seen seen = run(growing + kHello, 0);
  EXPECT_FALSE(seen.facts);
  ASSERT_TRUE(seen.so_far);
  EXPECT_EQ(seen.so_far->usage->total_tokens, 12u);
  EXPECT_FALSE(run(kHello, 0).so_far);
}

TEST(ChatScanner, CountsVisibleDeltaBytesAndEvents) {
  const struct {
    const char* description;
    std::string choices;
    uint64_t bytes;
  } cases[] = {
      {"text", R"({"delta":{"role":"assistant","content":"hello"}})", 5},
      {"text with escapes", R"({"delta":{"content":"\n\u00e4"}})", 3},
      {"two choices", R"({"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}})",
       2},
      {"a refusal", R"({"delta":{"content":null,"refusal":"no"}})", 2},
      {"reasoning", R"({"delta":{"reasoning_content":"hm"}})", 2},
      {"calls of tools",
       R"({"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":)"
       R"({"name":"f","arguments":"{}"}},{"custom":{"name":"g","input":"xyz"}}]}})",
       5},
      {"nothing to see", R"({"delta":{},"finish_reason":"stop"})", 0},
      {"a delta that is none", R"({"delta":"content"},7)", 0},
      {"content outside of a delta", R"({"content":"x","message":{"content":"x"}})", 0},
  };
  for (const auto& c : cases) {
    const Seen seen = run(": hi\n\n" + chunk(c.choices) + "id: 1\n\n", 0);
    EXPECT_EQ(seen.delta_bytes, c.bytes) << c.description;
    EXPECT_EQ(seen.events, 1u) << c.description;
  }
  EXPECT_EQ(run(kHello + kHello + kUsage + kDone, 0).delta_bytes, 4u);
  EXPECT_EQ(run(kHello + kHello + kUsage + kDone, 0).events, 3u) << "after the end none is read";
}

TEST(ChatScanner, PassesAnEventOverTheBoundUnread) {
  const std::string fill(100'000, 'x');
  const std::string large = chunk(R"({"delta":{"content":")" + fill + "\"}}", usage(12));
  const std::string large_end = chunk("", R"({"x":")" + fill + "\"}");
  const struct {
    const char* description;
    std::string event;
    size_t max;
    bool oversized;
  } cases[] = {
      {"as large as may be", large, large.size(), false},
      {"a byte more", large, large.size() - 1, true},
      {"much more", large, 1000, true},
      {"what would be the end", large_end, 1000, true},
      {"in many lines", "id: " + fill + "\n" + kHello, 1000, true},
      {"in a comment before it", ": " + fill + "\n" + kHello, 1000, false},
  };
  for (const auto& c : cases) {
    const std::string stream = kHello + c.event + kHello + kUsage + kDone;
    for (const size_t piece : {size_t{1}, size_t{777}, stream.size()}) {
      const Seen seen = run(stream, 0, false, c.max, piece);
      EXPECT_EQ(seen.oversized, c.oversized) << c.description << " in pieces of " << piece;
      EXPECT_EQ(seen.before, kHello + c.event + kHello) << c.description;
      EXPECT_EQ(seen.all, stream) << c.description;
      EXPECT_EQ(seen.events, 4u) << c.description << " in pieces of " << piece;
      ASSERT_TRUE(seen.facts) << c.description;
      EXPECT_EQ(seen.facts->usage->total_tokens, 15u) << c.description;
    }
  }
}

TEST(ChatScanner, SaysWhereAnEventMayBePutIn) {
  const struct {
    const char* description;
    std::string fed;
    bool between;
  } cases[] = {
      {"at the start", "", true},
      {"after an event", kHello, true},
      {"inside its last line end", kHello.substr(0, kHello.size() - 1), false},
      {"inside an event", kHello.substr(0, 9), false},
      {"inside a comment", ": ping", false},
      {"after a comment", ": ping\n", true},
      {"after a comment in an event", "event: x\n: ping\n", false},
      {"after CR", "data: x\n\r", false},
      {"after its LF", "data: x\n\r\n", true},
      {"inside a byte order mark", "\xef\xbb", false},
      {"after it", "\xef\xbb\xbf", true},
      {"after the end", kDone, false},
      {"after the usage", kUsage, false},
  };
  for (const auto& c : cases) {
    for (const bool hide_usage : {false, true}) {
      ChatScanner scanner(1 << 20, hide_usage);
      scanner.feed(std::as_bytes(std::span(c.fed)));
      EXPECT_EQ(scanner.between_events(), c.between) << c.description;
      scanner.release();
      EXPECT_FALSE(scanner.between_events()) << c.description;
    }
  }
}

TEST(EventScanner, IsTheInterfaces) {
  const std::string stream = kHello + kUsage;
  const auto chat = make_event_scanner(Api::chat_completions, 1 << 20, true);
  const auto out = chat->feed(std::as_bytes(std::span(stream)));
  EXPECT_TRUE(out.terminal);
  EXPECT_EQ(out.pass.size(), kHello.size());
  EXPECT_TRUE(chat->release().empty());

  const auto responses = make_event_scanner(Api::responses, 1 << 20, false);
  EXPECT_FALSE(responses->feed(std::as_bytes(std::span(stream))).terminal);
  const std::string end = event(R"({"type":"response.completed","response":{}})");
  EXPECT_TRUE(responses->feed(std::as_bytes(std::span(end))).terminal);
  EXPECT_EQ(responses->facts_so_far(), std::nullopt);
}

TEST(ChatScanner, IsSmall) {
  EXPECT_LE(sizeof(ChatScanner), 700u);
}

}  // namespace
}  // namespace tollgate::codec
