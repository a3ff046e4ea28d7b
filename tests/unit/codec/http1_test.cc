#include "userspace/codec/http1.h"

#include <gtest/gtest.h>

#include "tests/unit/codec/http1_corpus.h"

namespace tollgate::codec {
namespace {

// Feeds growing prefixes cut at `cut`, or after every byte when cut is npos.
HeadResult feed(std::string_view text, size_t cut, RequestHead& head) {
  size_t scanned = 0;
  HeadResult result;
  for (size_t n = cut == text.npos ? 1 : cut; n < text.size();
       n = cut == text.npos ? n + 1 : text.size()) {
    result = parse_request_head(text.substr(0, n), {}, scanned, head);
    if (result.state != HeadState::need_more) return result;
  }
  return parse_request_head(text, {}, scanned, head);
}

TEST(RequestHead, CorpusHasOneVerdictWhateverTheSplits) {
  for (const auto& c : testing::request_corpus()) {
    SCOPED_TRACE(std::string(c.description));
    RequestHead head;
    size_t scanned = 0;
    const HeadResult whole = parse_request_head(c.head, {}, scanned, head);
    EXPECT_EQ(whole.fault, c.fault) << whole.why;
    EXPECT_NE(whole.state, HeadState::need_more);
    EXPECT_EQ(feed(c.head, std::string_view::npos, head).fault, c.fault);
    for (size_t cut = 0; cut < c.head.size(); ++cut) {
      const HeadResult split = feed(c.head, cut, head);
      EXPECT_EQ(split.fault, c.fault) << cut;
      EXPECT_EQ(split.head_bytes, whole.head_bytes) << cut;
    }
  }
}

TEST(RequestHead, ReadsWhatCodexSends) {
  const std::string text =
      "POST /v1/responses?a=b HTTP/1.1\r\n"
      "x-codex-turn-metadata: {\"session_id\":\"s\",\"workspaces\":{\"/home/a b\":{}}}\r\n"
      "accept: text/event-stream\r\n"
      "user-agent: codex_exec/0.169.0 (Debian 12.0.0; x86_64) xterm (codex_exec; 0.169.0)\r\n"
      "host: gw:4100\r\ncontent-length: 39584\r\n\r\n{\"model\"";
  RequestHead head;
  size_t scanned = 0;
  const HeadResult result = parse_request_head(text, {}, scanned, head);
  ASSERT_EQ(result.state, HeadState::complete) << result.why;
  EXPECT_EQ(text.substr(result.head_bytes), "{\"model\"");
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.path, "/v1/responses");
  EXPECT_EQ(head.query, "a=b");
  EXPECT_EQ(head.content_length, 39584u);
  EXPECT_EQ(head.field("host"), "gw:4100");
  EXPECT_TRUE(head.keep_alive);
  EXPECT_FALSE(head.chunked || head.upgrade || head.expect_continue);
}

TEST(RequestHead, ReadsConnectionOptions) {
  const struct {
    const char* fields;
    bool keep_alive;
    bool upgrade;
  } cases[] = {
      {"connection: close\r\n", false, false},
      {"connection: foo ,\tClOsE , bar\r\n", false, false},
      {"connection: closed\r\n", true, false},
      {"connection: Upgrade\r\nupgrade: websocket\r\n", true, true},
      {"upgrade: websocket\r\n", true, false},
      {"connection: upgrade\r\n", true, false},
      {"connection: keep-alive\r\nconnection: close\r\n", false, false},
  };
  for (const auto& c : cases) {
    RequestHead head;
    size_t scanned = 0;
    const std::string text = testing::post(c.fields);
    ASSERT_EQ(parse_request_head(text, {}, scanned, head).state, HeadState::complete);
    EXPECT_EQ(head.keep_alive, c.keep_alive) << c.fields;
    EXPECT_EQ(head.upgrade, c.upgrade) << c.fields;
  }
}

TEST(RequestHead, BoundsBytesWhileReadingAndFields) {
  RequestHead head;
  size_t scanned = 0;
  const std::string fits = testing::post("a: b\r\n");
  EXPECT_EQ(parse_request_head(fits, {fits.size(), 2}, scanned, head).state, HeadState::complete);
  scanned = 0;
  EXPECT_EQ(parse_request_head(fits, {fits.size(), 1}, scanned, head).fault, HeadFault::too_large);
  scanned = 0;
  EXPECT_EQ(parse_request_head(fits, {fits.size() - 1, 2}, scanned, head).fault,
            HeadFault::too_large);
  scanned = 0;
  EXPECT_EQ(parse_request_head(std::string(64, 'x'), {64, 2}, scanned, head).fault,
            HeadFault::too_large);
}

TEST(ResponseHead, FramesTheBody) {
  const struct {
    const char* description;
    const char* method;
    std::string head;
    HeadFault fault;
    BodyFraming framing;
    bool keep_alive;
  } cases[] = {
      {"length", "POST", "200 OK\r\ncontent-length: 3\r\n", HeadFault::none, BodyFraming::length,
       true},
      {"chunked", "POST", "200 OK\r\ntransfer-encoding: chunked\r\n", HeadFault::none,
       BodyFraming::chunked, true},
      {"until close", "POST", "200 \r\n", HeadFault::none, BodyFraming::until_close, false},
      {"close", "POST", "200 OK\r\ncontent-length: 0\r\nconnection: close\r\n", HeadFault::none,
       BodyFraming::length, false},
      {"HEAD", "HEAD", "200 OK\r\ncontent-length: 3\r\n", HeadFault::none, BodyFraming::none, true},
      {"204", "POST", "204 No Content\r\n", HeadFault::none, BodyFraming::none, true},
      {"204 with a body", "POST", "204 No Content\r\ncontent-length: 3\r\n", HeadFault::ambiguous,
       BodyFraming::none, true},
      {"304 with a length", "GET", "304 Not Modified\r\ncontent-length: 3\r\n", HeadFault::none,
       BodyFraming::none, true},
      {"interim", "POST", "100 Continue\r\n", HeadFault::none, BodyFraming::none, true},
      {"CL and TE", "POST", "200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n",
       HeadFault::ambiguous, BodyFraming::none, true},
      {"gzip coding", "POST", "200 OK\r\ntransfer-encoding: gzip\r\n", HeadFault::ambiguous,
       BodyFraming::none, true},
      {"no space after status", "POST", "200\r\n", HeadFault::malformed, BodyFraming::none, true},
      {"four digits", "POST", "2000 OK\r\n", HeadFault::malformed, BodyFraming::none, true},
      {"status 600", "POST", "600 X\r\n", HeadFault::malformed, BodyFraming::none, true},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.description);
    const std::string text = "HTTP/1.1 " + c.head + "\r\n";
    size_t scanned = 0;
    ResponseHead head;
    for (size_t n = 0; n < text.size(); ++n) {
      ASSERT_EQ(parse_response_head(text.substr(0, n), {}, c.method, scanned, head).state,
                HeadState::need_more);
    }
    const HeadResult result = parse_response_head(text, {}, c.method, scanned, head);
    ASSERT_EQ(result.fault, c.fault) << result.why;
    if (c.fault != HeadFault::none) continue;
    EXPECT_EQ(head.framing, c.framing);
    EXPECT_EQ(head.keep_alive, c.keep_alive);
  }
}

TEST(HopByHop, CoversTheListAndWhatConnectionNames) {
  EXPECT_TRUE(is_hop_by_hop("TE", ""));
  EXPECT_TRUE(is_hop_by_hop("X-Foo", "close, x-foo"));
  EXPECT_FALSE(is_hop_by_hop("x-fo", "close, x-foo"));
  EXPECT_FALSE(is_hop_by_hop("session-id", ""));
}

}  // namespace
}  // namespace tollgate::codec
