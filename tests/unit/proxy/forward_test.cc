#include "userspace/proxy/forward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

namespace tollgate::proxy {
namespace {

constexpr char kKey[] = "sk-test-not-a-key";

std::shared_ptr<Target> make_target() {
  auto target = std::make_shared<Target>();
  target->authority = "api.example.test";
  target->path_prefix = "/v1";
  target->key = std::make_shared<const Secret>(std::string(kKey));
  return target;
}

std::string forward(std::string_view text, const MetadataRule& metadata = {}) {
  codec::RequestHead head;
  size_t scanned = 0;
  const auto result = codec::parse_request_head(text, {}, scanned, head);
  EXPECT_EQ(result.state, codec::HeadState::complete) << result.why;
  return upstream_request_head(*make_target(), "POST", "/responses", head, metadata, 7);
}

TEST(Forward, RequestHeadIsWrittenAnewWithTheProvidersHostAndKey) {
  const std::string out = forward(
      "POST /v1/responses HTTP/1.1\r\nhost: gw:4100\r\ncontent-length: 7\r\n"
      "x-codex-window-id: w\r\n\r\n");
  EXPECT_TRUE(out.starts_with("POST /v1/responses HTTP/1.1\r\nhost: api.example.test\r\n"));
  EXPECT_NE(out.find("x-codex-window-id: w\r\n"), out.npos);
  EXPECT_NE(out.find("content-length: 7\r\n"), out.npos);
  EXPECT_NE(out.find("accept-encoding: identity\r\n"), out.npos);
  EXPECT_TRUE(out.ends_with(std::string("authorization: Bearer ") + kKey + "\r\n\r\n"));
  EXPECT_EQ(out.find("gw:4100"), out.npos);
}

TEST(Forward, WhatCouldNameAnIdentityOrAnAccountIsStripped) {
  for (const char* name : {"Authorization",
                           "authorization",
                           "AUTHORIZATION",
                           "Cookie",
                           "api-key",
                           "X-Api-Key",
                           "OpenAI-Organization",
                           "OpenAI-Project",
                           "X-Forwarded-For",
                           "x-forwarded-user",
                           "Forwarded",
                           "X-Real-IP",
                           "X-Tollgate-User",
                           "Proxy-Authorization",
                           "Via",
                           "Remote-User",
                           "X-Auth-Request-Email",
                           "Accept-Encoding",
                           "Expect",
                           "Host",
                           "Content-Length",
                           "Transfer-Encoding",
                           "Connection",
                           "Keep-Alive",
                           "TE",
                           "Upgrade"}) {
    EXPECT_TRUE(is_stripped_request_field(name, "")) << name;
  }
}

TEST(Forward, WhatTheNextCodexMaySendPasses) {
  for (const char* name :
       {"x-codex-turn-metadata", "session-id", "thread-id", "originator", "user-agent", "accept",
        "content-type", "x-openai-internal-codex-responses-lite", "openai-beta", "traceparent",
        "x-something-new", "x-authority", "x-client-request-id"}) {
    EXPECT_FALSE(is_stripped_request_field(name, "")) << name;
  }
}

TEST(Forward, FieldsThatConnectionNamesEndHere) {
  EXPECT_TRUE(is_stripped_request_field("x-hop", "close, X-Hop"));
  EXPECT_FALSE(is_stripped_request_field("x-hop", "close, X-Hop-Not"));
}

std::string answer(std::string_view text, const ClientFraming& framing) {
  codec::ResponseHead head;
  size_t scanned = 0;
  const auto result = codec::parse_response_head(text, {.fields_max = 200}, "POST", scanned, head);
  EXPECT_EQ(result.state, codec::HeadState::complete) << result.why;
  return client_response_head(head, RequestId{1, 2}, framing);
}

TEST(Forward, AnswerCarriesOurRequestIdBesideTheProviders) {
  const std::string out = answer(
      "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_abc\r\n"
      "transfer-encoding: chunked\r\n\r\n",
      {.chunked = true});
  EXPECT_NE(out.find("x-request-id: gw_00000000000000010000000000000002\r\n"), out.npos);
  EXPECT_NE(out.find("x-upstream-request-id: req_abc\r\n"), out.npos);
  EXPECT_NE(out.find("transfer-encoding: chunked\r\n"), out.npos);
  EXPECT_EQ(out.find("connection:"), out.npos);
}

TEST(Forward, AnswerOfMoreFieldsThanCodexTakesKeepsTheFirstAndItsType) {
  const auto of = [](int count) {
    std::string head = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n";
    for (int n = 0; n < count; ++n)
      head += "x-f" + std::to_string(n) + ": v\r\n";
    return answer(head + "content-type: text/plain\r\n\r\n", {.content_length = 3});
  };
  const auto lines = [](const std::string& head) {
    return std::count(head.begin(), head.end(), '\n');
  };
  EXPECT_NE(of(80).find("x-f79: v\r\n"), std::string::npos);
  const std::string long_one = of(150);
  EXPECT_NE(long_one.find("x-f79: v\r\n"), std::string::npos);
  EXPECT_EQ(long_one.find("x-f80: v\r\n"), std::string::npos);
  EXPECT_NE(long_one.find("content-type: text/plain\r\n"), std::string::npos);
  EXPECT_LE(lines(long_one), 100);
}

TEST(Forward, AnswerLosesAccountCookiesAndHttp3) {
  const std::string out = answer(
      "HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nopenai-organization: org\r\nalt-svc: h3\r\n"
      "content-length: 3\r\n\r\n",
      {.content_length = 3, .close = true});
  EXPECT_EQ(out.find("cookie"), out.npos);
  EXPECT_EQ(out.find("org"), out.npos);
  EXPECT_EQ(out.find("alt-svc"), out.npos);
  EXPECT_NE(out.find("content-length: 3\r\n"), out.npos);
  EXPECT_NE(out.find("connection: close\r\n"), out.npos);
}

TEST(Forward, AnAnswersCodingEndsHere) {
  const std::string out =
      answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nx-kept: 1\r\ncontent-length: 3\r\n\r\n",
             {.chunked = true});
  EXPECT_EQ(out.find("ncoding: gzip"), out.npos);
  EXPECT_NE(out.find("x-kept: 1\r\n"), out.npos);
}

// What is left of the provider's account is nobody's here; a person's limits are told by us.
TEST(Forward, TheProvidersLimitFieldsEndHereAndOursTakeTheirPlace) {
  const std::string head =
      "HTTP/1.1 200 OK\r\nx-codex-primary-used-percent: 5\r\n"
      "X-Codex-Primary-Window-Minutes: 300\r\nx-codex-secondary-reset-at: 9\r\n"
      "x-codex-credits-balance: 3\r\nx-codex-active-limit: codex\r\n"
      "x-codex-rate-limit-reached-type: x\r\nx-codex-promo-message: buy\r\n"
      "x-codex-turn-state: keep\r\ncontent-length: 3\r\n\r\n";
  const std::string bare = answer(head, {.content_length = 3});
  EXPECT_EQ(bare.find("codex-primary"), bare.npos);
  EXPECT_EQ(bare.find("Codex-Primary"), bare.npos);
  EXPECT_EQ(bare.find("codex-secondary"), bare.npos);
  EXPECT_EQ(bare.find("credits"), bare.npos);
  EXPECT_EQ(bare.find("active-limit"), bare.npos);
  EXPECT_EQ(bare.find("rate-limit"), bare.npos);
  EXPECT_EQ(bare.find("promo"), bare.npos);
  EXPECT_NE(bare.find("x-codex-turn-state: keep\r\n"), bare.npos);

  const std::string fields = codex_limit_fields({{45, 1440, 1795219200}}, "");
  const std::string ours = answer(head, {.content_length = 3, .fields = fields});
  EXPECT_NE(ours.find("x-codex-primary-used-percent: 45\r\n"), ours.npos);
  EXPECT_EQ(ours.find("used-percent: 5\r\n"), ours.npos);
  EXPECT_TRUE(ours.ends_with("\r\n\r\n"));
}

TEST(Forward, TheModelFieldNamesTheAskedModelWhereAnotherAnswers) {
  const char* const head = "HTTP/1.1 200 OK\r\nOpenAI-Model: gpt-b\r\ncontent-length: 0\r\n\r\n";
  EXPECT_NE(answer(head, {}).find("OpenAI-Model: gpt-b\r\n"), std::string::npos);
  const std::string changed = answer(head, {.model_asked = "auto"});
  EXPECT_NE(changed.find("OpenAI-Model: auto\r\n"), std::string::npos);
  EXPECT_EQ(changed.find("gpt-b"), std::string::npos);
  const char* const without = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
  EXPECT_EQ(answer(without, {.model_asked = "auto"}).find("auto"), std::string::npos);
}

TEST(Forward, LimitFieldsNameTheTwoThatAreUsedFurthest) {
  EXPECT_EQ(codex_limit_fields({}, ""), "");
  EXPECT_EQ(codex_limit_fields({{7, 300, 100}}, ""),
            "x-codex-primary-used-percent: 7\r\nx-codex-primary-window-minutes: 300\r\n"
            "x-codex-primary-reset-at: 100\r\n");
  EXPECT_EQ(codex_limit_fields({{90, 1440, 200}, {7, 300, 100}, {1, 1, 1}}, "You have used $9"),
            "x-codex-primary-used-percent: 90\r\nx-codex-primary-window-minutes: 1440\r\n"
            "x-codex-primary-reset-at: 200\r\n"
            "x-codex-secondary-used-percent: 7\r\nx-codex-secondary-window-minutes: 300\r\n"
            "x-codex-secondary-reset-at: 100\r\n"
            "x-tollgate-limit-warning: You have used $9\r\n");
}

TEST(Forward, OnlyAUsedUpLimitHasWordsForCodex) {
  policy::Refusal refusal{policy::RefusalCode::budget_exceeded, "Text.", "", 5, "You have used $9"};
  EXPECT_EQ(refusal_fields(refusal), "x-codex-promo-message: You have used $9\r\n");
  refusal.promo.clear();
  EXPECT_EQ(refusal_fields(refusal), "");
}

TEST(Forward, ALongRetryAfterWouldHangCodexAndIsDropped) {
  const char* const head = "HTTP/1.1 503 X\r\ncontent-length: 0\r\nretry-after: ";
  EXPECT_NE(answer(std::string(head) + "2\r\n\r\n", {}).find("retry-after: 2"), std::string::npos);
  EXPECT_EQ(answer(std::string(head) + "3600\r\n\r\n", {}).find("retry-after"), std::string::npos);
  EXPECT_EQ(
      answer(std::string(head) + "Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n", {}).find("retry-after"),
      std::string::npos);
}

TEST(Forward, ChunkIsOneRunAroundBothParts) {
  std::vector<std::byte> out;
  const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
  append_chunk(bytes("0123456789"), bytes("abcdef"), out);
  const std::string text(reinterpret_cast<const char*>(out.data()), out.size());
  EXPECT_EQ(text, "10\r\n0123456789abcdef\r\n");
}

TEST(Forward, AnEmptyChunkWouldEndTheBodyAndIsNotWritten) {
  std::vector<std::byte> out;
  append_chunk({}, {}, out);
  EXPECT_TRUE(out.empty());
}

TEST(Forward, LocalAnswerToHeadHasTheLengthButNoBody) {
  const std::string out = local_answer({.status = 200, .body = "{}", .head_only = true}, {});
  EXPECT_NE(out.find("content-length: 2\r\n"), out.npos);
  EXPECT_TRUE(out.ends_with("\r\n\r\n"));
}

TEST(Forward, AnswerThatSendsNothingNamesNoLength) {
  const std::string out = local_answer({.status = 304, .body = "", .head_only = true}, {});
  EXPECT_TRUE(out.starts_with("HTTP/1.1 304 Not Modified\r\n"));
  EXPECT_EQ(out.find("content-length"), out.npos);
}

}  // namespace
}  // namespace tollgate::proxy
