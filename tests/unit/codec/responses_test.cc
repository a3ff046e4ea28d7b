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

std::string tools(int kinds) {
  std::string list = "[";
  for (int i = 0; i < kinds; ++i)
    list += (i == 0 ? "" : ",") + (R"({"type":"t)" + std::to_string(i)) + "\"}";
  return list + "]";
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
      {"call limit is null", R"({"model":"m","max_tool_calls":null})", none},
      {"call limit is a string", R"({"model":"m","max_tool_calls":"1"})", malformed},
      {"effort", R"({"model":"m","reasoning":{"effort":"high","summary":"auto"}})", none},
      {"effort is null", R"({"model":"m","reasoning":{"effort":null}})", none},
      {"no reasoning", R"({"model":"m","reasoning":null})", none},
      {"effort is a number", R"({"model":"m","reasoning":{"effort":1}})", malformed},
      {"effort twice", R"({"model":"m","reasoning":{"effort":"low","effort":"low"}})", malformed},
      {"store is null", R"({"model":"m","store":null})", none},
      {"store is a string", R"({"model":"m","store":"false"})", malformed},
      {"generate is null", R"({"model":"m","generate":null})", none},
      {"generate is a number", R"({"model":"m","generate":0})", malformed},
      {"type is a number", R"({"model":"m","type":1})", malformed},
      {"previous response is a number", R"({"model":"m","previous_response_id":1})", malformed},
      {"tool type without a name", R"({"model":"m","tools":[{"type":""}]})", malformed},
      {"tool type with a control byte", R"({"model":"m","tools":[{"type":"a\n"}]})", malformed},
      {"as many kinds of tools as may be", R"({"model":"m","tools":)" + tools(64) + "}", none},
      {"one more", R"({"model":"m","tools":)" + tools(65) + "}", malformed},
  };
  for (const auto& c : cases) {
    const InspectResult result = inspect(c.json);
    EXPECT_EQ(result.fault, c.fault) << c.description << ": " << result.detail;
  }
}

TEST(BodyInspector, ReadsTheFacts) {
  const InspectResult result = inspect(
      R"({"model":"gpt-5.5","stream":true,"background":false,"service_tier":"priority",)"
      R"("max_output_tokens":4096,"max_tool_calls":3,"input":[{"role":"developer"}],"store":false})");
  ASSERT_EQ(result.fault, BodyFault::none) << result.detail;
  EXPECT_EQ(result.facts.model, "gpt-5.5");
  EXPECT_TRUE(result.facts.stream);
  EXPECT_FALSE(result.facts.background);
  EXPECT_EQ(result.facts.service_tier, "priority");
  EXPECT_EQ(result.facts.max_output_tokens, 4096u);
  EXPECT_EQ(result.facts.max_tool_calls, 3u);
  EXPECT_TRUE(result.facts.hosted_tools.empty());
  EXPECT_FALSE(result.facts.refers_elsewhere);
  EXPECT_EQ(result.facts.store, false);
  EXPECT_EQ(result.facts.reasoning_effort, "");
  EXPECT_EQ(result.facts.type, "");
  EXPECT_TRUE(result.facts.generate);
}

TEST(BodyInspector, ReadsAWebSocketsMessage) {
  const InspectResult result =
      inspect(R"({"type":"response.create","model":"gpt-5.5","previous_response_id":"resp_1",)"
              R"("reasoning":{"effort":"xhigh"},"generate":false,"input":[]})");
  ASSERT_EQ(result.fault, BodyFault::none) << result.detail;
  EXPECT_EQ(result.facts.type, "response.create");
  EXPECT_EQ(result.facts.previous_response_id, "resp_1");
  EXPECT_FALSE(result.facts.refers_elsewhere);
  EXPECT_EQ(result.facts.reasoning_effort, "xhigh");
  EXPECT_EQ(result.facts.store, std::nullopt);
  EXPECT_FALSE(result.facts.generate);
}

TEST(BodyInspector, NamesHostedTools) {
  using Names = std::vector<std::string>;
  const struct {
    const char* description;
    std::string fields;
    Names hosted;
  } cases[] = {
      {"none", R"("input":"hi")", {}},
      {"empty", R"("tools":[])", {}},
      {"null", R"("tools":null)", {}},
      {"the client's",
       R"("tools":[{"type":"function","name":"web_search"},{"type":"custom"},{"type":"shell"},)"
       R"({"type":"local_shell"},{"type":"apply_patch"},{"type":"namespace"},)"
       R"({"type":"tool_search"},{"type":"computer"},{"type":"computer_use_preview"}])",
       {}},
      {"hosted ones, once and in order",
       R"("tools":[{"type":"web_search"},{"type":"function"},{"type":"file_search"},)"
       R"({"type":"web_search","filters":{}},{"type":"mcp"},{"type":"image_generation"}])",
       {"web_search", "file_search", "mcp", "image_generation"}},
      {"dated",
       R"("tools":[{"type":"web_search_preview_2025_03_11"}])",
       {"web_search_preview_2025_03_11"}},
      {"unknown ones are hosted", R"("tools":[{"type":"functions"}])", {"functions"}},
      {"spelt with escapes", R"("tools":[{"t\u0079pe":"web\u005fsearch"}])", {"web_search"}},
      {"of two types the hosted one",
       R"("tools":[{"type":"web_search","type":"function"}])",
       {"web_search"}},
      {"of two types the hosted one, last",
       R"("tools":[{"type":"function","type":"mcp"}])",
       {"mcp"}},
      {"shell here", R"("tools":[{"type":"shell","environment":{"type":"local"}}])", {}},
      {"shell there",
       R"("tools":[{"type":"shell","environment":{"type":"container_auto"}}])",
       {"shell"}},
      {"no tool has the type", R"("tools":[{"name":"web_search"},"web_search",["mcp"]])", {}},
      {"nested types are none",
       R"("tools":[{"type":"function","parameters":{"type":"object","p":[{"type":"mcp"}]}}])",
       {}},
      {"of an input item",
       R"("input":[{"type":"additional_tools","role":"developer",)"
       R"("tools":[{"type":"function"},{"type":"web_search"}]}],"tools":[{"type":"mcp"}])",
       {"web_search", "mcp"}},
      {"of any input item",
       R"("input":[{"type":"x","tools":[{"type":"web_search"}]}])",
       {"web_search"}},
      {"not deeper in an item",
       R"("input":[{"type":"message","content":[{"tools":[{"type":"web_search"}]}]}])",
       {}},
      {"not of a string", R"("input":"{\"tools\":[{\"type\":\"web_search\"}]}")", {}},
  };
  for (const auto& c : cases) {
    const InspectResult result = inspect(R"({"model":"m",)" + c.fields + "}");
    EXPECT_EQ(result.fault, BodyFault::none) << c.description << ": " << result.detail;
    EXPECT_EQ(result.facts.hosted_tools, c.hosted) << c.description;
  }
}

TEST(BodyInspector, SeesWhatRefersElsewhere) {
  const std::string message = R"("input":[{"type":"message","role":"user","content":[)";
  const struct {
    const char* description;
    std::string fields;
    bool elsewhere;
  } cases[] = {
      {"text", message + R"({"type":"input_text","text":"file_id"}]}])", false},
      {"plain string", R"("input":"item_reference")", false},
      {"nulls", R"("previous_response_id":null,"conversation":null,"prompt":null)", false},
      {"previous response, which the caller may know", R"("previous_response_id":"resp_1")", false},
      {"conversation by name", R"("conversation":"conv_1")", true},
      {"conversation by object", R"("conversation":{"id":"conv_1"})", true},
      {"prompt", R"("prompt":{"id":"pmpt_1"})", true},
      {"nested previous response is none", R"("metadata":{"previous_response_id":"r"})", false},
      {"item reference", R"("input":[{"type":"item_reference","id":"msg_1"}])", true},
      {"item reference without a type", R"("input":[{"id":"msg_1"}])", true},
      {"item reference of no type", R"("input":[{"type":null,"id":"msg_1"}])", true},
      {"message without a type", R"("input":[{"role":"user","content":"hi"}])", false},
      {"second of two types", R"("input":[{"type":"message","type":"item_reference"}])", true},
      {"last of many items",
       R"("input":[{"role":"user"},{"type":"reasoning"},{"type":"item_reference"}])", true},
      {"data URL", message + R"({"type":"input_image","image_url":"data:image/png;base64,AA"}]}])",
       false},
      {"other URL", message + R"({"type":"input_image","image_url":"https://x/y.png"}]}])", true},
      {"no URL", message + R"({"type":"input_image","image_url":null,"file_id":null}]}])", false},
      {"file by id", message + R"({"type":"input_file","file_id":"file_1"}]}])", true},
      {"image by id", message + R"({"type":"input_image","file_id":"file_1"}]}])", true},
      {"file by URL", message + R"({"type":"input_file","file_url":"https://x/y.pdf"}]}])", true},
      {"file in the body", message + R"({"type":"input_file","file_data":"data:,"}]}])", true},
      {"in a tool's output",
       R"("input":[{"type":"computer_call_output","output":{"file_id":"file_1"}}])", true},
      {"spelt with escapes", message + R"({"file\u005fid":"file_1"}]}])", true},
      {"a tool's parameter of the name",
       R"("input":[{"type":"additional_tools","tools":[{"type":"function","parameters":)"
       R"({"properties":{"file_id":{"type":"string"},"file_url":{"default":"x"}}}}]}])",
       false},
      {"outside of input", R"("metadata":{"file_id":"file_1"})", false},
  };
  for (const auto& c : cases) {
    const InspectResult result = inspect(R"({"model":"m",)" + c.fields + "}");
    EXPECT_EQ(result.fault, BodyFault::none) << c.description << ": " << result.detail;
    EXPECT_EQ(result.facts.refers_elsewhere, c.elsewhere) << c.description;
  }
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

TEST(ToolCalls, CountWhatTheProviderRan) {
  const std::string output =
      R"("output":[{"type":"reasoning"},{"type":"web_search_call","status":"completed"},)"
      R"({"type":"function_call"},{"type":"custom_tool_call"},{"type":"local_shell_call"},)"
      R"({"type":"shell_call"},{"type":"apply_patch_call"},{"type":"tool_search_call"},)"
      R"({"type":"computer_call"},{"type":"mcp_call"},{"type":"web_search_call","status":"failed"},)"
      R"({"type":"web_search_call"},{"type":"_call"},{"type":"mcp_list_tools"},{"type":7},7,)"
      R"({"type":"message","content":[{"type":"file_search_call"}]}])";
  const auto answer = read_response_object("{" + output + "}");
  const auto event =
      read_terminal_event(R"({"type":"response.incomplete","response":{)" + output + "}}");
  for (const auto& facts : {answer, event}) {
    ASSERT_TRUE(facts);
    ASSERT_EQ(facts->tool_calls.size(), 2u);
    EXPECT_EQ(facts->tool_calls[0].tool, "web_search");
    EXPECT_EQ(facts->tool_calls[0].count, 3u);
    EXPECT_EQ(facts->tool_calls[1].tool, "mcp");
    EXPECT_EQ(facts->tool_calls[1].count, 1u);
  }
}

TEST(ToolCalls, AreNoneWithoutOutput) {
  for (const char* json : {"{}", R"({"output":null})", R"({"output":[]})", R"({"output":{}})",
                           R"({"input":[{"type":"web_search_call"}]})"}) {
    const auto facts = read_response_object(json);
    ASSERT_TRUE(facts) << json;
    EXPECT_TRUE(facts->tool_calls.empty()) << json;
  }
}

}  // namespace
}  // namespace tollgate::codec
