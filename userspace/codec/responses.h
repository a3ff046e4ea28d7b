// The Responses API as far as a gateway must read it. Source: OpenAI "Create a model response" and
// the streaming events reference; measured behaviour of the Codex client where they are silent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/codec/api.h"

namespace tollgate::codec {

// As many answers as the provider gives to one chat at most (`n`).
inline constexpr size_t kChoicesMax = 128;

struct RequestFacts {  // from the top level of a request's body
  std::string model;
  bool stream = false;
  bool background = false;
  std::string service_tier;  // empty when absent or null
  std::optional<uint64_t> max_output_tokens;
  std::optional<uint64_t> max_tool_calls;
  // Types of hosted tools, each once, in order: of top-level `tools` and of the `tools` of an input
  // item ("additional_tools"), whatever is not run by the client (function, custom, local_shell,
  // shell, apply_patch, namespace, tool_search, computer and the like are; "shell" in a container
  // of the provider's is not).
  std::vector<std::string> hosted_tools;
  // The provider reads more than this body: conversation, prompt, or anywhere in `input` an
  // item_reference, a file_id, a file_url, a file_data (which may be packed) or an image_url that
  // is no data: URL. The body's size then bounds no token count.
  bool refers_elsewhere = false;
  // Pictures as data: URLs: a small file may be a large picture, so its bytes bound no tokens.
  uint64_t inline_images = 0;
  std::string reasoning_effort;  // reasoning.effort, of a chat reasoning_effort; or empty
  std::optional<bool> store;     // absent: the provider's default, which is true
  // What this request continues. Not counted in refers_elsewhere: the caller may know how much it
  // is.
  std::string previous_response_id;
  // Of a WebSocket message: its "type", and false when nothing is to be generated ("prewarm").
  std::string type;
  bool generate = true;
  // Of a chat: how many answers (`n`, also of images), and whether its stream is to end with the
  // usage.
  uint64_t choices = 1;
  bool wants_stream_usage = false;
};

enum class BodyFault : uint8_t { none, malformed, duplicate_key, model_missing };

struct InspectResult {
  BodyFault fault = BodyFault::none;
  std::string detail;  // "key \"model\" appears twice", "no string \"model\""
  RequestFacts facts;  // without a fault, and with model_missing
};

// Bytes that must be readable (not necessarily set) after the text given to an inspector.
inline constexpr size_t kJsonPaddingBytes = 64;

// Reads bodies; owns the parser's scratch memory, so one per thread. Only the top level is looked
// at: a nested "model" is nothing, a second top-level key of any name is a fault (first for us,
// last for the provider), as is trailing text, a key with an invalid escape or invalid UTF-8.
class BodyInspector {
 public:
  BodyInspector();
  ~BodyInspector();
  BodyInspector(const BodyInspector&) = delete;
  // `json` must be followed by kJsonPaddingBytes readable bytes.
  InspectResult inspect(std::span<const std::byte> json, Api api = Api::responses);
  // Gives scratch memory back after a large body.
  void trim();

 private:
  struct Impl;
  Impl* impl_;
};

struct Usage {
  uint64_t input_tokens = 0;
  uint64_t cached_tokens = 0;       // part of input
  uint64_t cache_write_tokens = 0;  // part of input
  uint64_t output_tokens = 0;
  uint64_t reasoning_tokens = 0;  // part of output
  uint64_t total_tokens = 0;
};

enum class ResponseEnd : uint8_t { completed, failed, incomplete };

struct ToolCalls {  // of a hosted tool in the answer's output: items "web_search_call" →
                    // "web_search"
  std::string tool;
  uint64_t count = 0;
};

struct ResponseFacts {  // of a response object: the terminal event's or a whole JSON answer
  ResponseEnd end = ResponseEnd::completed;
  std::optional<Usage> usage;  // absent when null, missing, or not the integers it must be
  std::string response_id;
  std::string model;  // what the provider says it served
  std::string service_tier;
  bool usage_malformed = false;
  std::vector<ToolCalls> tool_calls;  // what the client runs is not counted
};

// A non-streaming answer: the response object itself. Nothing when it is not a JSON object. Of the
// other interfaces, prompt_tokens and completion_tokens are input and output.
std::optional<ResponseFacts> read_response_object(std::string_view json, Api api = Api::responses);
// The `data` of a terminal event: {"type":"response.completed","response":{…}}. Nothing when it is
// another type or malformed.
std::optional<ResponseFacts> read_terminal_event(std::string_view json);

}  // namespace tollgate::codec
