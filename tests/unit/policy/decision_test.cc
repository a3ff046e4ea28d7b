#include "policy/decision.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

namespace tollgate::policy {
namespace {

using Json = nlohmann::json;

TEST(RefusalShape, EveryCodeHasOneRowWithAUniqueNameThatLeadsBack) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < kRefusalCodeCount; ++i) {
    const auto code = static_cast<RefusalCode>(i);
    const RefusalShape& shape = shape_of(code);
    EXPECT_EQ(shape.code, code);
    EXPECT_TRUE(names.insert(shape.name).second) << shape.name;
    EXPECT_EQ(find_refusal(shape.name), code);
  }
  EXPECT_EQ(static_cast<size_t>(RefusalCode::upstream_protocol) + 1, kRefusalCodeCount);
  EXPECT_EQ(find_refusal("no_such_code"), std::nullopt);
}

// codex-client.md §3: only these pairs stop the real client after one request.
TEST(RefusalShape, FinalRefusalsUseTheShapesThatCodexShowsAtOnce) {
  for (size_t i = 0; i < kRefusalCodeCount; ++i) {
    const RefusalShape& shape = shape_of(static_cast<RefusalCode>(i));
    // To these two, Codex has an answer of its own: the whole request anew, a new connection.
    const bool is_remedied = shape.code == RefusalCode::previous_response_unknown ||
                             shape.code == RefusalCode::websocket_too_old;
    if (shape.http_status == 400 && !is_remedied) {
      EXPECT_EQ(shape.error_code, "invalid_prompt") << shape.name;
    }
    if (shape.http_status == 503) {
      EXPECT_EQ(shape.error_type, "server_error") << shape.name;
    }
    // slow_down is what makes the client wait and try again by itself.
    if (shape.http_status == 503) {
      const bool waits = shape.code == RefusalCode::concurrency_exceeded;
      EXPECT_EQ(shape.error_code, waits ? "slow_down" : shape.name);
    }
  }
  const RefusalShape& denied = shape_of(RefusalCode::model_denied);
  EXPECT_EQ(denied.http_status, 403);
  EXPECT_EQ(denied.error_code, "model_not_found");
  EXPECT_EQ(shape_of(RefusalCode::previous_response_unknown).error_code,
            "previous_response_not_found");
  EXPECT_EQ(shape_of(RefusalCode::websocket_too_old).error_code,
            "websocket_connection_limit_reached");
  EXPECT_EQ(shape_of(RefusalCode::endpoint_unknown).http_status, 404);
  EXPECT_EQ(shape_of(RefusalCode::response_unknown).http_status, 404);
  EXPECT_EQ(shape_of(RefusalCode::method_not_allowed).http_status, 405);
  EXPECT_EQ(shape_of(RefusalCode::request_timeout).http_status, 408);
  EXPECT_EQ(shape_of(RefusalCode::host_mismatch).http_status, 421);
  EXPECT_EQ(shape_of(RefusalCode::upgrade_refused).http_status, 426);
}

TEST(RefusalBody, IsOneLineOfJsonWhateverTheMessageHolds) {
  std::string every_byte;
  for (int c = 0; c < 256; ++c)
    every_byte += static_cast<char>(c);
  const std::string messages[] = {"plain",
                                  "",
                                  "quote \" and \\ and \n\r\t",
                                  "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
                                  "cut \xe2\x82",
                                  "overlong \xc0\xaf \xe0\x80\xaf \xf0\x80\x80\xaf",
                                  "surrogate \xed\xa0\x80",
                                  "too high \xf4\x90\x80\x80 \xf5",
                                  std::string("zero\0byte", 9),
                                  every_byte};
  for (const std::string& message : messages) {
    const std::string body = refusal_body({RefusalCode::model_denied, message, "model"});
    for (const char c : body) {
      EXPECT_FALSE(static_cast<unsigned char>(c) < 0x20) << "a raw control character";
    }
    const Json parsed = Json::parse(body, nullptr, false);
    ASSERT_FALSE(parsed.is_discarded()) << body;
    EXPECT_EQ(parsed["error"]["type"], "permission_error");
    EXPECT_EQ(parsed["error"]["code"], "model_not_found");
    EXPECT_EQ(parsed["error"]["param"], "model");
  }
}

// codex-client.md §2.4: of response.failed, this code alone is shown as it is after one request.
TEST(RefusalEvent, IsATerminalEventThatCodexPrintsWhateverTheRefusal) {
  for (size_t i = 0; i < kRefusalCodeCount; ++i) {
    const Refusal refusal{static_cast<RefusalCode>(i), "a \"b\"\n\xff", ""};
    const std::string event = refusal_event(refusal, {"gw_1", "gpt\n", 1'700'000'000, 42});
    const std::string head = "event: response.failed\ndata: ";
    ASSERT_TRUE(event.starts_with(head) && event.ends_with("}\n\n")) << event;
    const std::string data = event.substr(head.size(), event.size() - head.size() - 2);
    EXPECT_EQ(data.find('\n'), data.npos) << "one line";
    const Json parsed = Json::parse(data);
    EXPECT_EQ(parsed["type"], "response.failed");
    EXPECT_EQ(parsed["sequence_number"], 42);
    EXPECT_EQ(parsed["response"]["id"], "gw_1");
    EXPECT_EQ(parsed["response"]["status"], "failed");
    EXPECT_EQ(parsed["response"]["model"], "gpt\n");
    EXPECT_EQ(parsed["response"]["error"]["code"], "invalid_prompt");
    EXPECT_EQ(parsed["response"]["error"]["message"], "a \"b\"\n\xef\xbf\xbd");
  }
}

TEST(RefusalBody, KeepsValidTextAndReplacesInvalidBytes) {
  const auto message_of = [](const std::string& message) {
    const Json body = Json::parse(refusal_body({RefusalCode::policy_none, message, ""}));
    EXPECT_TRUE(body["error"]["param"].is_null());
    return body["error"]["message"].get<std::string>();
  };
  EXPECT_EQ(message_of("a \"b\" \\ \n caf\xc3\xa9"), "a \"b\" \\ \n caf\xc3\xa9");
  EXPECT_EQ(message_of("x\xffy"), "x\xef\xbf\xbdy");
}

}  // namespace
}  // namespace tollgate::policy
