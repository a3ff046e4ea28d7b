#include "userspace/proxy/frames.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "userspace/base/text.h"

namespace tollgate::proxy {
namespace {

using nlohmann::json;
using policy::RefusalCode;

TEST(Frames, RefusalHasStatusErrorAndHeaders) {
  const json frame = json::parse(error_frame(
      {RefusalCode::budget_exceeded, "Used up.", "", 1795233600, "You have used $5.00"},
      "x-codex-primary-used-percent: 100\r\nx-codex-promo-message: You have used $5.00\r\n"));
  EXPECT_EQ(frame["type"], "error");
  EXPECT_EQ(frame["status"], 429);
  EXPECT_EQ(frame["error"]["type"], "usage_limit_reached");
  EXPECT_EQ(frame["error"]["resets_at"], 1795233600);
  EXPECT_EQ(frame["headers"]["x-codex-primary-used-percent"], "100");
  EXPECT_EQ(frame["headers"]["x-codex-promo-message"], "You have used $5.00");
}

TEST(Frames, DeniedModelIsToldAs400WhichCodexShowsAtOnce) {
  const json frame = json::parse(error_frame({RefusalCode::model_denied, "No.", "model"}, ""));
  EXPECT_EQ(frame["status"], 400);
  EXPECT_EQ(frame["error"]["code"], "model_not_found");
  EXPECT_EQ(frame["headers"], json::object());
}

TEST(Frames, ErrorByHttpKeepsTheProvidersObjectOrItsText) {
  const json kept = json::parse(error_frame(400, R"({"error":{"code":"x","new_field":[1]}})", ""));
  EXPECT_EQ(kept["status"], 400);
  EXPECT_EQ(kept["error"], json({{"code", "x"}, {"new_field", {1}}}));
  for (const char* text : {"<html>Bad</html>", R"({"error":"text"})", "[]", ""}) {
    EXPECT_EQ(json::parse(error_frame(502, text, ""))["error"]["message"], text);
  }
}

TEST(Frames, RateLimitsNameTheTwoThatBindMost) {
  EXPECT_EQ(rate_limits_event({}), "");
  const json two =
      json::parse(rate_limits_event({{91, 1440, 1795233600}, {50, 60, 1795230000}, {1, 1, 1}}));
  EXPECT_EQ(two["type"], "codex.rate_limits");
  EXPECT_EQ(two["rate_limits"]["primary"],
            json({{"used_percent", 91}, {"window_minutes", 1440}, {"reset_at", 1795233600}}));
  EXPECT_EQ(two["rate_limits"]["secondary"]["used_percent"], 50);

  EXPECT_TRUE(is_rate_limits_event(R"({"type":"codex.rate_limits","x":1})"));
  EXPECT_FALSE(is_rate_limits_event(R"({"type":"response.created"})"));
}

TEST(Frames, StatusIsThatOfAnErrorEventAlone) {
  EXPECT_EQ(error_status(R"({"type":"error","status":429,"error":{}})"), 429);
  EXPECT_EQ(error_status(R"({"type":"error","status_code":500})"), 500);
  EXPECT_EQ(error_status(R"({"type":"error","status":200})"), std::nullopt);
  EXPECT_EQ(error_status(R"({"type":"error","message":"no status"})"), std::nullopt);
  EXPECT_EQ(error_status(R"({"type":"other","a":"error","status":400})"), std::nullopt);
  EXPECT_EQ(error_status(R"({"type":"error",)"), std::nullopt);
}

TEST(Frames, PrewarmIsACompleteAnswerThatCostNothing) {
  const json done = json::parse(prewarm_event("response.completed", "resp_1", "m"));
  EXPECT_EQ(done["type"], "response.completed");
  EXPECT_EQ(done["response"]["id"], "resp_1");
  EXPECT_EQ(done["response"]["usage"]["total_tokens"], 0);
  EXPECT_TRUE(
      json::parse(prewarm_event("response.created", "r", "m"))["response"]["usage"].is_null());
}

TEST(Frames, KeysAreSixteenBytesAndNeverTheSame) {
  const std::string key = random_websocket_key();
  EXPECT_TRUE(is_base64(key, 16));
  EXPECT_NE(key, random_websocket_key());
}

}  // namespace
}  // namespace tollgate::proxy
