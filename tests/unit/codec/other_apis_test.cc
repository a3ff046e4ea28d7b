// The interfaces beside Responses: chat completions, embeddings, images.
#include <gtest/gtest.h>

#include "userspace/codec/responses.h"

namespace tollgate::codec {
namespace {

using enum Api;

InspectResult inspect(Api api, const std::string& fields) {
  BodyInspector inspector;
  std::string json = R"({"model":"m")" + (fields.empty() ? "" : "," + fields) + "}";
  const size_t size = json.size();
  json.resize(size + kJsonPaddingBytes);
  return inspector.inspect(std::as_bytes(std::span(json)).first(size), api);
}

TEST(OtherApis, AcceptOrRefuseBodies) {
  using enum BodyFault;
  const struct {
    const char* description;
    Api api;
    std::string fields;
    BodyFault fault;
  } cases[] = {
      {"nothing but a model", chat_completions, "", none},
      {"nulls", chat_completions,
       R"("stream":null,"stream_options":null,"n":null,"max_tokens":null,"service_tier":null,)"
       R"("max_completion_tokens":null,"reasoning_effort":null,"store":null,"tools":null,)"
       R"("messages":null,"web_search_options":null)",
       none},
      {"unknown fields", chat_completions, R"("background":"x","input":7,"generate":1)", none},
      {"a key twice", chat_completions, R"("x":1,"x":1)", duplicate_key},
      {"the model twice", chat_completions, R"("model":"x")", duplicate_key},
      {"stream is a string", chat_completions, R"("stream":"true")", malformed},
      {"store is a number", chat_completions, R"("store":1)", malformed},
      {"effort is a number", chat_completions, R"("reasoning_effort":1)", malformed},
      {"limit is a string", chat_completions, R"("max_completion_tokens":"1")", malformed},
      {"older limit is a fraction", chat_completions, R"("max_tokens":1.5)", malformed},
      {"older limit is wrong beside the newer", chat_completions,
       R"("max_completion_tokens":1,"max_tokens":"x")", malformed},
      {"one choice", chat_completions, R"("n":1)", none},
      {"no choice", chat_completions, R"("n":0)", malformed},
      {"choices below zero", chat_completions, R"("n":-1)", malformed},
      {"most choices", chat_completions, R"("n":128)", none},
      {"more choices", chat_completions, R"("n":129)", malformed},
      {"choices are a fraction", chat_completions, R"("n":2.0)", malformed},
      {"options are no object", chat_completions, R"("stream_options":[])", malformed},
      {"options without usage", chat_completions, R"("stream_options":{"x":1,"x":2})", none},
      {"usage wanted is null", chat_completions, R"("stream_options":{"include_usage":null})",
       none},
      {"usage wanted is a number", chat_completions, R"("stream_options":{"include_usage":1})",
       malformed},
      {"usage wanted twice", chat_completions,
       R"("stream_options":{"include_usage":true,"include_usage":true})", malformed},
      {"usage wanted twice, once escaped", chat_completions,
       R"("stream_options":{"include_usage":true,"include\u005fusage":false})", malformed},
      {"text", embeddings, R"("input":"hi","encoding_format":"base64")", none},
      {"texts", embeddings, R"("input":["hi","ho"],"dimensions":3)", none},
      {"token numbers", embeddings, R"("input":[[1,2],[3]])", none},
      {"input is an object", embeddings, R"("input":{"a":1})", malformed},
      {"input is a number", embeddings, R"("input":1)", malformed},
      {"a key twice", embeddings, R"("input":"a","input":"a")", duplicate_key},
      {"a picture", images, R"("prompt":"hi","n":2,"stream":true)", none},
      {"no picture", images, R"("n":0)", malformed},
      {"stream is a number", images, R"("stream":1)", malformed},
      {"a key twice", images, R"("n":1,"n":1)", duplicate_key},
  };
  for (const auto& c : cases) {
    const InspectResult result = inspect(c.api, c.fields);
    EXPECT_EQ(result.fault, c.fault) << c.description << ": " << result.detail;
  }
}

TEST(OtherApis, ReadWhatAChatAsksFor) {
  const auto facts =
      inspect(chat_completions,
              R"("stream":true,"stream_options":{"include_usage":true},"service_tier":"flex",)"
              R"("max_completion_tokens":100,"reasoning_effort":"high","store":true,"n":3)")
          .facts;
  EXPECT_EQ(facts.model, "m");
  EXPECT_TRUE(facts.stream);
  EXPECT_TRUE(facts.wants_stream_usage);
  EXPECT_EQ(facts.service_tier, "flex");
  EXPECT_EQ(facts.max_output_tokens, 100u);
  EXPECT_EQ(facts.reasoning_effort, "high");
  EXPECT_EQ(facts.store, true);
  EXPECT_EQ(facts.choices, 3u);

  const auto bare = inspect(chat_completions, R"("stream_options":{"include_usage":false})").facts;
  EXPECT_FALSE(bare.stream);
  EXPECT_FALSE(bare.wants_stream_usage);
  EXPECT_EQ(bare.max_output_tokens, std::nullopt);
  EXPECT_EQ(bare.reasoning_effort, "");
  EXPECT_EQ(bare.store, std::nullopt);
  EXPECT_EQ(bare.choices, 1u);
}

TEST(OtherApis, TakeTheNewerOfAChatsTwoLimits) {
  const struct {
    const char* description;
    std::string fields;
    std::optional<uint64_t> limit;
  } cases[] = {
      {"none", "", std::nullopt},
      {"older", R"("max_tokens":5)", 5},
      {"newer", R"("max_completion_tokens":7)", 7},
      {"older first", R"("max_tokens":5,"max_completion_tokens":7)", 7},
      {"newer first", R"("max_completion_tokens":7,"max_tokens":5)", 7},
      {"newer is null", R"("max_tokens":5,"max_completion_tokens":null)", 5},
      {"newer is null and first", R"("max_completion_tokens":null,"max_tokens":5)", 5},
      {"that of Responses", R"("max_output_tokens":5)", std::nullopt},
  };
  for (const auto& c : cases)
    EXPECT_EQ(inspect(chat_completions, c.fields).facts.max_output_tokens, c.limit)
        << c.description;
}

TEST(OtherApis, NameAChatsHostedTools) {
  using Names = std::vector<std::string>;
  const struct {
    const char* description;
    std::string fields;
    Names hosted;
  } cases[] = {
      {"the client's",
       R"("tools":[{"type":"function","function":{"name":"f"}},{"type":"custom"}])",
       {}},
      {"unknown ones", R"("tools":[{"type":"live_search"}])", {"live_search"}},
      {"search without options", R"("web_search_options":{})", {"web_search"}},
      {"search with options",
       R"("web_search_options":{"search_context_size":"low"})",
       {"web_search"}},
      {"search of any kind", R"("web_search_options":false)", {"web_search"}},
      {"no search", R"("web_search_options":null)", {}},
      {"both",
       R"("web_search_options":{},"tools":[{"type":"web_search"},{"type":"mcp"}])",
       {"web_search", "mcp"}},
  };
  for (const auto& c : cases)
    EXPECT_EQ(inspect(chat_completions, c.fields).facts.hosted_tools, c.hosted) << c.description;
}

TEST(OtherApis, WeighWhatAChatShows) {
  const std::string part = R"("messages":[{"role":"user","content":[{"type":"text"},)";
  const struct {
    const char* description;
    std::string fields;
    bool elsewhere;
    uint64_t inline_images;
  } cases[] = {
      {"text", R"("messages":[{"role":"user","content":"image_url"}])", false, 0},
      {"a picture in the body",
       part + R"({"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]}])", false,
       1},
      {"two of them", part + R"({"image_url":{"url":"data:,"}},{"image_url":{"url":"data:,"}}]}])",
       false, 2},
      {"a picture elsewhere",
       part + R"({"type":"image_url","image_url":{"url":"https://x/y.png"}}]}])", true, 0},
      {"of two URLs both", part + R"({"image_url":{"url":"data:,","url":"https://x"}}]}])", true,
       1},
      {"a picture as text", part + R"({"image_url":"https://x/y.png"}]}])", true, 0},
      {"no URL", part + R"({"image_url":{"detail":"low","url":null}}]}])", false, 0},
      {"a film elsewhere", part + R"({"video_url":{"url":"https://x/y.mp4"}}]}])", true, 0},
      {"a URL that is none of a part's", part + R"({"metadata":{"url":"https://x"}}]}])", false, 0},
      {"a file by id", part + R"({"type":"file","file":{"file_id":"file_1"}}]}])", true, 0},
      {"a file in the body", part + R"({"type":"file","file":{"file_data":"AA"}}]}])", true, 0},
      {"sound in the body", part + R"({"input_audio":{"data":"AA","format":"wav"}}]}])", false, 0},
      {"sound of an earlier answer",
       R"("messages":[{"role":"assistant","audio":{"id":"audio_1"}}])", true, 0},
      {"no sound of an earlier answer", R"("messages":[{"role":"assistant","audio":null}])", false,
       0},
      {"outside of the messages", R"("metadata":{"image_url":{"url":"https://x"}})", false, 0},
      {"the parameters of a tool",
       R"("tools":[{"type":"function","function":{"parameters":{"image_url":{"url":"x"}}}}])",
       false, 0},
  };
  for (const auto& c : cases) {
    const auto facts = inspect(chat_completions, c.fields).facts;
    EXPECT_EQ(facts.refers_elsewhere, c.elsewhere) << c.description;
    EXPECT_EQ(facts.inline_images, c.inline_images) << c.description;
  }
  EXPECT_TRUE(inspect(embeddings, R"("input":[{"image":"https://x"}])").facts.refers_elsewhere);
  EXPECT_FALSE(inspect(embeddings, R"("input":["https://x"])").facts.refers_elsewhere);
}

TEST(OtherApis, ReadWhatPicturesAreAskedFor) {
  const auto facts = inspect(images, R"("n":4,"stream":true,"size":"1024x1024")").facts;
  EXPECT_EQ(facts.choices, 4u);
  EXPECT_TRUE(facts.stream);
  EXPECT_FALSE(inspect(embeddings, R"("stream":true,"n":4)").facts.stream);
}

TEST(OtherApis, ReadTheUsageOfAnAnswer) {
  using Counts = std::optional<std::array<uint64_t, 5>>;  // in, cached, out, reasoning, total
  const struct {
    const char* description;
    Api api;
    std::string usage;
    Counts counts;
  } cases[] = {
      {"chat",
       chat_completions,
       R"({"prompt_tokens":10,"completion_tokens":5,"total_tokens":15})",
       {{10, 0, 5, 0, 15}}},
      {"chat with details",
       chat_completions,
       R"({"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,)"
       R"("prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},)"
       R"("completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0}})",
       {{10, 4, 5, 3, 15}}},
      {"chat with details that do not tell",
       chat_completions,
       R"({"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,)"
       R"("prompt_tokens_details":{},"completion_tokens_details":null})",
       {{10, 0, 5, 0, 15}}},
      {"chat without a total",
       chat_completions,
       R"({"prompt_tokens":10,"completion_tokens":5})",
       {{10, 0, 5, 0, 15}}},
      {"chat with reasoning beside the output",
       chat_completions,
       R"({"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,)"
       R"("completion_tokens_details":{"reasoning_tokens":94}})",
       {{32, 0, 103, 94, 135}}},
      {"chat with more reasoning than output",
       chat_completions,
       R"({"prompt_tokens":32,"completion_tokens":9,"total_tokens":41,)"
       R"("completion_tokens_details":{"reasoning_tokens":94}})",
       {}},
      {"chat with a total that is no count",
       chat_completions,
       R"({"prompt_tokens":10,"completion_tokens":5,"total_tokens":"15"})",
       {}},
      {"chat without output", chat_completions, R"({"prompt_tokens":10,"total_tokens":10})", {}},
      {"chat without input", chat_completions, R"({"completion_tokens":10})", {}},
      {"chat with more cached than input",
       chat_completions,
       R"({"prompt_tokens":1,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":2}})",
       {}},
      {"chat with the names of Responses",
       chat_completions,
       R"({"input_tokens":10,"output_tokens":5,"total_tokens":15})",
       {}},
      {"embeddings", embeddings, R"({"prompt_tokens":8,"total_tokens":8})", {{8, 0, 0, 0, 8}}},
      {"embeddings with a fraction", embeddings, R"({"prompt_tokens":8.5,"total_tokens":8})", {}},
      {"images",
       images,
       R"({"input_tokens":50,"output_tokens":1000,"total_tokens":1050,)"
       R"("input_tokens_details":{"text_tokens":10,"image_tokens":40}})",
       {{50, 0, 1000, 0, 1050}}},
      {"images without a total", images, R"({"input_tokens":50,"output_tokens":1000})", {}},
      {"Responses with the names of a chat",
       responses,
       R"({"prompt_tokens":10,"completion_tokens":5,"total_tokens":15})",
       {}},
  };
  for (const auto& c : cases) {
    const auto facts = read_response_object(
        R"({"id":"x","model":"m-1","service_tier":"flex","usage":)" + c.usage + "}", c.api);
    ASSERT_TRUE(facts) << c.description;
    EXPECT_EQ(facts->response_id, "x");
    EXPECT_EQ(facts->model, "m-1");
    EXPECT_EQ(facts->service_tier, "flex");
    EXPECT_EQ(facts->end, ResponseEnd::completed);
    Counts counts;
    if (const auto& usage = facts->usage) {
      counts = {usage->input_tokens, usage->cached_tokens, usage->output_tokens,
                usage->reasoning_tokens, usage->total_tokens};
    }
    EXPECT_EQ(counts, c.counts) << c.description;
    EXPECT_EQ(facts->usage_malformed, !c.counts) << c.description;
  }
}

TEST(OtherApis, HaveAnswersWithoutUsageAndFailedOnes) {
  for (const Api api : {chat_completions, embeddings, images}) {
    for (const char* json : {"{}", R"({"usage":null})", R"({"error":{"message":"x"}})"}) {
      const auto facts = read_response_object(json, api);
      ASSERT_TRUE(facts) << json;
      EXPECT_FALSE(facts->usage || facts->usage_malformed) << json;
    }
    EXPECT_FALSE(read_response_object("[]", api));
    EXPECT_TRUE(read_response_object(R"({"output":[{"type":"web_search_call"}]})", api)
                    ->tool_calls.empty());
  }
  // A status is of Responses only.
  EXPECT_EQ(read_response_object(R"({"status":"failed"})", chat_completions)->end,
            ResponseEnd::completed);
}

TEST(OtherApis, ReadACompactionAsAnAnswerOfResponses) {
  const auto facts = read_response_object(
      R"({"id":"resp_1","object":"response.compaction","created_at":1,"output":[)"
      R"({"type":"message","role":"user","content":[]},)"
      R"({"type":"compaction","id":"cmp_1","encrypted_content":"AA"}],)"
      R"("usage":{"input_tokens":900,"input_tokens_details":{"cached_tokens":600},)"
      R"("output_tokens":40,"output_tokens_details":{"reasoning_tokens":8},"total_tokens":940}})",
      responses);
  ASSERT_TRUE(facts && facts->usage);
  EXPECT_EQ(facts->end, ResponseEnd::completed);
  EXPECT_EQ(facts->response_id, "resp_1");
  EXPECT_EQ(facts->usage->input_tokens, 900u);
  EXPECT_EQ(facts->usage->cached_tokens, 600u);
  EXPECT_EQ(facts->usage->output_tokens, 40u);
  EXPECT_EQ(facts->usage->total_tokens, 940u);
  EXPECT_TRUE(facts->tool_calls.empty());
}

}  // namespace
}  // namespace tollgate::codec
