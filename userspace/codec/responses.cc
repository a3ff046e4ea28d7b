#include "userspace/codec/responses.h"

#include <algorithm>
#include <array>

#include "userspace/codec/json.h"
#include "userspace/codec/response_facts.h"

namespace tollgate::codec {
namespace {

namespace dom = simdjson::dom;

// Far above any answer; keeps every later product and sum out of reach of overflow.
constexpr uint64_t kTokensMax = 1'000'000'000'000;
// More kinds of hosted tools than there are; keeps the search among them short.
constexpr size_t kToolsMax = 64;
constexpr std::string_view kCallSuffix = "_call";
constexpr std::array<std::string_view, 7> kClientCalls = {
    "function_call",    "custom_tool_call", "local_shell_call", "shell_call",
    "apply_patch_call", "tool_search_call", "computer_call"};

ResponseEnd end_of_status(std::string_view status) {
  if (status == "failed" || status == "cancelled") return ResponseEnd::failed;
  return status == "incomplete" ? ResponseEnd::incomplete : ResponseEnd::completed;
}

std::optional<ResponseEnd> end_of_type(std::string_view type) {
  if (type == "response.completed") return ResponseEnd::completed;
  if (type == "response.failed") return ResponseEnd::failed;
  if (type == "response.incomplete") return ResponseEnd::incomplete;
  return std::nullopt;
}

std::string string_at(const dom::object& object, std::string_view key) {
  std::string_view text;
  if (object.at_key(key).get(text) != simdjson::SUCCESS) return {};
  return std::string(text);
}

enum class Presence : uint8_t { required, optional };

bool count_at(const dom::object& object, std::string_view key, Presence presence, uint64_t& count) {
  dom::element value;
  if (object.at_key(key).get(value) != simdjson::SUCCESS || value.is_null()) {
    return presence == Presence::optional;
  }
  return read_count(value, count) && count <= kTokensMax;
}

// The details object is optional; what it must hold when it is there is the caller's to say.
bool details_at(const dom::object& usage, std::string_view key, dom::object& details, bool& found) {
  dom::element value;
  found = usage.at_key(key).get(value) == simdjson::SUCCESS && !value.is_null();
  return !found || value.get(details) == simdjson::SUCCESS;
}

struct UsageNames {
  std::string_view input;
  std::string_view output;
  std::string_view input_details;
  std::string_view output_details;
};
constexpr UsageNames kInputOutput = {"input_tokens", "output_tokens", "input_tokens_details",
                                     "output_tokens_details"};
constexpr UsageNames kPromptCompletion = {"prompt_tokens", "completion_tokens",
                                          "prompt_tokens_details", "completion_tokens_details"};

bool read_usage(const dom::object& from, Api api, Usage& usage) {
  using enum Presence;
  const bool is_older = api == Api::chat_completions || api == Api::embeddings;
  const UsageNames& names = is_older ? kPromptCompletion : kInputOutput;
  dom::object input_details;
  dom::object output_details;
  bool has_input_details = false;
  bool has_output_details = false;
  if (!count_at(from, names.input, required, usage.input_tokens) ||
      !count_at(from, names.output, api == Api::embeddings ? optional : required,
                usage.output_tokens) ||
      !count_at(from, "total_tokens", is_older ? optional : required, usage.total_tokens) ||
      !details_at(from, names.input_details, input_details, has_input_details) ||
      !details_at(from, names.output_details, output_details, has_output_details)) {
    return false;
  }
  if (has_input_details &&
      (!count_at(input_details, "cached_tokens", api == Api::responses ? required : optional,
                 usage.cached_tokens) ||
       !count_at(input_details, "cache_write_tokens", optional, usage.cache_write_tokens))) {
    return false;
  }
  if (has_output_details &&
      !count_at(output_details, "reasoning_tokens", optional, usage.reasoning_tokens)) {
    return false;
  }
  const uint64_t sum = usage.input_tokens + usage.output_tokens;
  if (is_older && usage.total_tokens == 0) usage.total_tokens = sum;
  // Some providers of chats count reasoning beside the output; only the total tells.
  if (api == Api::chat_completions && usage.reasoning_tokens != 0 &&
      usage.total_tokens == sum + usage.reasoning_tokens) {
    usage.output_tokens += usage.reasoning_tokens;
  }
  // A part larger than its whole would price as a negative remainder.
  return usage.cached_tokens + usage.cache_write_tokens <= usage.input_tokens &&
         usage.reasoning_tokens <= usage.output_tokens;
}

bool runs_at_client(std::string_view item_type) {
  return std::find(kClientCalls.begin(), kClientCalls.end(), item_type) != kClientCalls.end();
}

void count_call(std::string_view tool, std::vector<ToolCalls>& calls) {
  const auto known = std::find_if(calls.begin(), calls.end(),
                                  [&](const ToolCalls& seen) { return seen.tool == tool; });
  if (known != calls.end()) {
    ++known->count;
  } else if (calls.size() < kToolsMax && is_plain_name(tool)) {
    calls.push_back({std::string(tool), 1});
  }
}

// A call of any status counts: the provider charges for one that ran, whatever came of it.
std::vector<ToolCalls> read_calls(const dom::object& response) {
  std::vector<ToolCalls> calls;
  dom::array output;
  if (response.at_key("output").get(output) != simdjson::SUCCESS) return calls;
  for (const dom::element item : output) {
    std::string_view type;
    if (item.at_key("type").get(type) != simdjson::SUCCESS || !type.ends_with(kCallSuffix) ||
        runs_at_client(type)) {
      continue;
    }
    type.remove_suffix(kCallSuffix.size());
    count_call(type, calls);
  }
  return calls;
}

}  // namespace

ResponseFacts read_facts(const dom::object& response, ResponseEnd end, Api api) {
  ResponseFacts facts;
  facts.end = end;
  facts.response_id = string_at(response, "id");
  facts.model = string_at(response, "model");
  facts.service_tier = string_at(response, "service_tier");
  if (api == Api::responses) facts.tool_calls = read_calls(response);
  dom::element value;
  if (response.at_key("usage").get(value) != simdjson::SUCCESS || value.is_null()) return facts;
  dom::object from;
  Usage usage;
  if (value.get(from) == simdjson::SUCCESS && read_usage(from, api, usage)) {
    facts.usage = usage;
  } else {
    facts.usage_malformed = true;
  }
  return facts;
}

ParsedAnswer::ParsedAnswer(std::string_view json) {
  dom::element element;
  // The copy gives the padding that the parser reads over.
  valid = parser.allocate(json.size(), kJsonDepthMax) == simdjson::SUCCESS &&
          parser.parse(json.data(), json.size(), true).get(element) == simdjson::SUCCESS &&
          element.get(root) == simdjson::SUCCESS;
}

std::optional<ResponseFacts> read_response_object(std::string_view json, Api api) {
  const ParsedAnswer answer(json);
  if (!answer.valid) return std::nullopt;
  const bool has_status = api == Api::responses;
  const auto end =
      has_status ? end_of_status(string_at(answer.root, "status")) : ResponseEnd::completed;
  return read_facts(answer.root, end, api);
}

std::optional<ResponseFacts> read_terminal_event(std::string_view json) {
  const ParsedAnswer answer(json);
  if (!answer.valid) return std::nullopt;
  std::optional<ResponseEnd> end;
  for (const auto [key, value] : answer.root) {
    // Of two types the terminal one counts: readers differ on which they keep.
    std::string_view type;
    if (!end && key == "type" && value.get(type) == simdjson::SUCCESS) end = end_of_type(type);
  }
  dom::object response;
  if (!end || answer.root.at_key("response").get(response) != simdjson::SUCCESS) {
    return std::nullopt;
  }
  return read_facts(response, *end, Api::responses);
}

}  // namespace tollgate::codec
