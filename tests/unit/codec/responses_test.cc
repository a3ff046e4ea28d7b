#include "userspace/codec/responses.h"

#include <gtest/gtest.h>

namespace tollgate::codec {
namespace {

InspectResult inspect(std::string json) {
  BodyInspector inspector;
  const size_t size = json.size();
  json.resize(size + kJsonPaddingBytes);
  return inspector.inspect(std::as_bytes(std::span(json)).first(size));
}

TEST(BodyInspector, AcceptsOrRefusesBodies) {
  using enum BodyFault;
  const std::string deep_ok =
      R"({"model":"m","a":)" + std::string(200, '[') + std::string(200, ']') + "}";
  const std::string too_deep =
      R"({"model":"m","a":)" + std::string(300, '[') + std::string(300, ']') + "}";
  const struct {
    const char* description;
    std::string json;
    BodyFault fault;
  } cases[] = {
      {"plain", R"({"model":"m"})", none},
      {"white space around", " {\"model\":\"m\"}\n", none},
      {"nested model", R"({"model":"m","a":{"model":"x"}})", none},
      {"nested duplicate", R"({"model":"m","a":{"b":1,"b":2}})", none},
      {"nulls",
       R"({"model":"m","stream":null,"background":null,"service_tier":null,"max_output_tokens":null})",
       none},
      {"depth within bound", deep_ok, none},
      {"depth over bound", too_deep, malformed},
      {"model twice", R"({"model":"a","model":"b"})", duplicate_key},
      {"model twice, one escaped", R"({"model":"a","mod\u0065l":"b"})", duplicate_key},
      {"model twice, one no string", R"({"model":"a","model":1})", duplicate_key},
      {"any key twice", R"({"model":"a","x":1,"y":2,"x":1})", duplicate_key},
      {"no model", R"({"a":{"model":"x"}})", model_missing},
      {"model is a number", R"({"model":1})", model_missing},
      {"model is empty", R"({"model":""})", model_missing},
      {"model in other case", R"({"Model":"m"})", model_missing},
      {"model with a control byte", R"({"model":"m\u0000"})", malformed},
      {"model with half a surrogate pair", R"({"model":"m\udc00"})", malformed},
      {"key with half a surrogate pair", R"({"model":"m","\ud800":1})", malformed},
      {"trailing text", R"({"model":"m"}x)", malformed},
      {"second object", R"({"model":"m"}{"model":"x"})", malformed},
      {"array", R"(["model"])", malformed},
      {"string", R"("model")", malformed},
      {"empty", "", malformed},
      {"unfinished", R"({"model":"m")", malformed},
      {"trailing comma", R"({"model":"m",})", malformed},
      {"missing comma in a skipped value", R"({"model":"m","a":[1 2]})", malformed},
      {"mismatched brackets in a skipped value", R"({"model":"m","a":[1}})", malformed},
      {"bad literal in a skipped value", R"({"model":"m","a":[tru]})", malformed},
      {"bad number in a skipped value", R"({"model":"m","a":01})", malformed},
      {"bad escape in a skipped value", R"({"model":"m","a":"\q"})", malformed},
      {"raw control byte in a string", "{\"model\":\"m\",\"a\":\"\n\"}", malformed},
      {"invalid UTF-8 deep down", "{\"model\":\"m\",\"a\":[\"\xff\"]}", malformed},
      {"byte order mark", "\xef\xbb\xbf{\"model\":\"m\"}", malformed},
      {"stream is a number", R"({"model":"m","stream":1})", malformed},
      {"stream is a string", R"({"model":"m","stream":"true"})", malformed},
      {"background is a string", R"({"model":"m","background":"no"})", malformed},
      {"tier is a number", R"({"model":"m","service_tier":1})", malformed},
      {"limit is negative", R"({"model":"m","max_output_tokens":-1})", malformed},
      {"limit is a fraction", R"({"model":"m","max_output_tokens":10.0})", malformed},
      {"limit has an exponent", R"({"model":"m","max_output_tokens":1e3})", malformed},
  };
  for (const auto& c : cases) {
    const InspectResult result = inspect(c.json);
    EXPECT_EQ(result.fault, c.fault) << c.description << ": " << result.detail;
  }
}

TEST(BodyInspector, ReadsTheFacts) {
  const InspectResult result =
      inspect(R"({"model":"gpt-5.5","stream":true,"background":false,"service_tier":"priority",)"
              R"("max_output_tokens":4096,"input":[{"role":"developer"}],"store":false})");
  ASSERT_EQ(result.fault, BodyFault::none) << result.detail;
  EXPECT_EQ(result.facts.model, "gpt-5.5");
  EXPECT_TRUE(result.facts.stream);
  EXPECT_FALSE(result.facts.background);
  EXPECT_EQ(result.facts.service_tier, "priority");
  EXPECT_EQ(result.facts.max_output_tokens, 4096u);
}

TEST(BodyInspector, ServesManyBodiesAndTrims) {
  BodyInspector inspector;
  std::string json = R"({"model":"m","a":")" + std::string(1 << 20, 'x') + "\"}";
  const size_t size = json.size();
  json.resize(size + kJsonPaddingBytes);
  const auto body = std::as_bytes(std::span(json)).first(size);
  EXPECT_EQ(inspector.inspect(body).fault, BodyFault::none);
  EXPECT_EQ(inspector.inspect(body.first(5)).fault, BodyFault::malformed);
  inspector.trim();
  EXPECT_EQ(inspector.inspect(body).facts.model, "m");
}

std::string completed(std::string_view usage) {
  return R"({"type":"response.completed","response":{"id":"resp_1","model":"gpt-5.5-2026","service_tier":"default","usage":)" +
         std::string(usage) + "}}";
}

TEST(Usage, ReadsEveryCount) {
  const auto facts = read_terminal_event(completed(
      R"({"input_tokens":1000,"input_tokens_details":{"cached_tokens":400,"cache_write_tokens":7},)"
      R"("output_tokens":50,"output_tokens_details":{"reasoning_tokens":20},"total_tokens":1050})"));
  ASSERT_TRUE(facts && facts->usage);
  EXPECT_EQ(facts->response_id, "resp_1");
  EXPECT_EQ(facts->model, "gpt-5.5-2026");
  EXPECT_EQ(facts->service_tier, "default");
  EXPECT_EQ(facts->usage->input_tokens, 1000u);
  EXPECT_EQ(facts->usage->cached_tokens, 400u);
  EXPECT_EQ(facts->usage->cache_write_tokens, 7u);
  EXPECT_EQ(facts->usage->output_tokens, 50u);
  EXPECT_EQ(facts->usage->reasoning_tokens, 20u);
  EXPECT_EQ(facts->usage->total_tokens, 1050u);
}

TEST(Usage, IsAbsentOrMalformedOrThere) {
  enum Kind { there, absent, malformed };
  const struct {
    const char* usage;
    Kind kind;
  } cases[] = {
      {R"({"input_tokens":1,"output_tokens":2,"total_tokens":3})", there},
      {R"({"input_tokens":1,"input_tokens_details":null,"output_tokens":2,"total_tokens":3})",
       there},
      {"null", absent},
      {"{}", malformed},
      {"7", malformed},
      {R"({"input_tokens":1,"output_tokens":2})", malformed},
      {R"({"input_tokens":-1,"output_tokens":2,"total_tokens":3})", malformed},
      {R"({"input_tokens":1.0,"output_tokens":2,"total_tokens":3})", malformed},
      {R"({"input_tokens":1e3,"output_tokens":2,"total_tokens":3})", malformed},
      {R"({"input_tokens":"1","output_tokens":2,"total_tokens":3})", malformed},
      {R"({"input_tokens":1,"input_tokens_details":{},"output_tokens":2,"total_tokens":3})",
       malformed},
      {R"({"input_tokens":1,"input_tokens_details":{"cached_tokens":2},"output_tokens":2,"total_tokens":3})",
       malformed},
      {R"({"input_tokens":1,"output_tokens":2,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":3})",
       malformed},
      {R"({"input_tokens":9000000000000,"output_tokens":2,"total_tokens":3})", malformed},
  };
  for (const auto& c : cases) {
    const auto facts = read_terminal_event(completed(c.usage));
    ASSERT_TRUE(facts) << c.usage;
    EXPECT_EQ(facts->usage.has_value(), c.kind == there) << c.usage;
    EXPECT_EQ(facts->usage_malformed, c.kind == malformed) << c.usage;
  }
}

TEST(Usage, ComesFromEveryEndAndFromAWholeAnswer) {
  EXPECT_EQ(read_terminal_event(R"({"type":"response.failed","response":{}})")->end,
            ResponseEnd::failed);
  EXPECT_EQ(read_terminal_event(R"({"response":{},"type":"response.incomplete"})")->end,
            ResponseEnd::incomplete);
  EXPECT_FALSE(read_terminal_event(R"({"type":"response.created","response":{}})"));
  EXPECT_FALSE(read_terminal_event(R"({"type":"response.completed"})"));
  EXPECT_FALSE(read_terminal_event(R"({"type":"response.completed","response":{})"));
  EXPECT_EQ(read_response_object(R"({"status":"incomplete"})")->end, ResponseEnd::incomplete);
  EXPECT_FALSE(read_response_object("[]"));
}

}  // namespace
}  // namespace tollgate::codec
