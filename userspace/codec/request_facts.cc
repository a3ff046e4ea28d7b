#include "userspace/codec/request_facts.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tollgate::codec {
namespace {

namespace dom = simdjson::dom;

constexpr std::array<std::string_view, 9> kClientTools = {
    "function",    "custom",   "local_shell",         "shell", "apply_patch", "namespace",
    "tool_search", "computer", "computer_use_preview"};

bool read_flag(const dom::element& value, bool& flag) {
  if (value.is_null()) return true;
  return value.get(flag) == simdjson::SUCCESS;
}

bool read_limit(const dom::element& value, std::optional<uint64_t>& limit) {
  if (value.is_null()) return true;
  uint64_t count = 0;
  if (!read_count(value, count)) return false;
  limit = count;
  return true;
}

bool read_plain_name(const dom::element& value, std::string& name) {
  if (value.is_null()) return true;
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS || !is_plain_name(text)) return false;
  name = text;
  return true;
}

bool read_store(const dom::element& value, std::optional<bool>& store) {
  if (value.is_null()) return true;
  bool wanted = false;
  if (value.get(wanted) != simdjson::SUCCESS) return false;
  store = wanted;
  return true;
}

// A key that stands there twice is a fault: readers differ on which they keep.
bool read_reasoning(const dom::element& value, std::string& effort) {
  dom::object reasoning;
  if (value.get(reasoning) != simdjson::SUCCESS) return true;
  bool seen = false;
  for (const auto [key, member] : reasoning) {
    if (key != "effort") continue;
    if (std::exchange(seen, true) || !read_plain_name(member, effort)) return false;
  }
  return true;
}

bool runs_at_client(std::string_view tool) {
  return std::find(kClientTools.begin(), kClientTools.end(), tool) != kClientTools.end();
}

bool add_hosted(std::string_view tool, std::vector<std::string>& hosted) {
  if (!is_plain_name(tool)) return false;
  if (hosted.size() <= kHostedToolsMax &&
      std::find(hosted.begin(), hosted.end(), tool) == hosted.end()) {
    hosted.emplace_back(tool);
  }
  return true;
}

// {"type":"shell","environment":{"type":"container_auto"}} runs at the provider.
bool is_remote(const dom::element& environment) {
  std::string_view type;
  return environment.at_key("type").get(type) == simdjson::SUCCESS && type != "local";
}

// Of a tool that names two types, the hosted one counts: readers differ on which they keep.
bool read_tools(const dom::element& value, std::vector<std::string>& hosted) {
  dom::array tools;
  if (value.get(tools) != simdjson::SUCCESS) return true;
  for (const dom::element element : tools) {
    dom::object tool;
    if (element.get(tool) != simdjson::SUCCESS) continue;
    for (const auto [key, member] : tool) {
      std::string_view type;
      if (key == "environment" && is_remote(member) && !add_hosted("shell", hosted)) return false;
      if (key != "type" || member.get(type) != simdjson::SUCCESS || runs_at_client(type)) continue;
      if (!add_hosted(type, hosted)) return false;
    }
  }
  return true;
}

void weigh_url(std::string_view url, RequestFacts& facts) {
  const bool is_inline = url.starts_with("data:");
  facts.refers_elsewhere |= !is_inline;
  facts.inline_images += is_inline ? 1 : 0;
}

// {"image_url":{"url":"data:…"}}, as a chat has it; other providers know a "video_url" alike.
void weigh_urls(const dom::object& object, RequestFacts& facts) {
  for (const auto [key, member] : object) {
    std::string_view url;
    if (key == "url" && member.get(url) == simdjson::SUCCESS) weigh_url(url, facts);
  }
}

// What makes a body weigh more at the provider than its bytes say.
void weigh_member(std::string_view key, const dom::element& value, RequestFacts& facts) {
  dom::object object;
  if (key.ends_with("_url") && value.get(object) == simdjson::SUCCESS) weigh_urls(object, facts);
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return;
  const bool is_file = key == "file_id" || key == "file_url" || key == "file_data";
  const bool is_item = key == "type" && text == "item_reference";
  facts.refers_elsewhere |= is_file || is_item;
  if (key == "image_url") weigh_url(text, facts);
}

// Goes as deep as the parser let the body be.
void weigh(const dom::element& value, RequestFacts& facts) {
  dom::object object;
  if (value.get(object) == simdjson::SUCCESS) {
    for (const auto [key, member] : object) {
      weigh_member(key, member, facts);
      weigh(member, facts);
    }
    return;
  }
  dom::array array;
  if (value.get(array) != simdjson::SUCCESS) return;
  for (const dom::element element : array)
    weigh(element, facts);
}

// Any item's `tools` are tools, whatever the item says it is: "additional_tools" is the one known.
bool read_item(const dom::object& item, RequestFacts& facts) {
  bool has_kind = false;
  for (const auto [key, member] : item) {
    has_kind |= (key == "type" || key == "role") && member.is_string();
    if (key == "tools") {
      if (!read_tools(member, facts.hosted_tools)) return false;
    } else {
      weigh_member(key, member, facts);
      weigh(member, facts);
    }
  }
  // {"id":"msg_1"} alone is a reference, too.
  facts.refers_elsewhere |= !has_kind;
  return true;
}

bool read_input(const dom::element& value, RequestFacts& facts) {
  dom::array items;
  if (value.get(items) != simdjson::SUCCESS) return true;
  for (const dom::element element : items) {
    dom::object item;
    if (element.get(item) == simdjson::SUCCESS && !read_item(item, facts)) return false;
  }
  return true;
}

bool read_responses_fact(std::string_view key, const dom::element& value, RequestFacts& facts) {
  if (key == "input") return read_input(value, facts);
  if (key == "tools") return read_tools(value, facts.hosted_tools);
  if (key == "stream") return read_flag(value, facts.stream);
  if (key == "background") return read_flag(value, facts.background);
  if (key == "service_tier") return read_plain_name(value, facts.service_tier);
  if (key == "reasoning") return read_reasoning(value, facts.reasoning_effort);
  if (key == "store") return read_store(value, facts.store);
  if (key == "generate") return read_flag(value, facts.generate);
  if (key == "type") return read_plain_name(value, facts.type);
  if (key == "max_output_tokens") return read_limit(value, facts.max_output_tokens);
  if (key == "max_tool_calls") return read_limit(value, facts.max_tool_calls);
  if (key == "previous_response_id") return read_plain_name(value, facts.previous_response_id);
  if (key == "conversation" || key == "prompt") facts.refers_elsewhere |= !value.is_null();
  return true;
}

// An "audio" of the assistant's names an earlier answer by its id.
void read_messages(const dom::element& value, RequestFacts& facts) {
  weigh(value, facts);
  dom::array messages;
  if (value.get(messages) != simdjson::SUCCESS) return;
  for (const dom::element message : messages)
    facts.refers_elsewhere |= message.at_key("audio").is_object();
}

bool read_choices(const dom::element& value, uint64_t& choices) {
  if (value.is_null()) return true;
  return read_count(value, choices) && choices > 0 && choices <= kChoicesMax;
}

bool read_stream_options(const dom::element& value, bool& wants_usage) {
  if (value.is_null()) return true;
  dom::object options;
  if (value.get(options) != simdjson::SUCCESS) return false;
  bool seen = false;
  for (const auto [key, member] : options) {
    if (key != "include_usage") continue;
    if (std::exchange(seen, true) || !read_flag(member, wants_usage)) return false;
  }
  return true;
}

// The older name of the bound, which the newer one overrules.
bool read_older_limit(const dom::element& value, std::optional<uint64_t>& limit) {
  std::optional<uint64_t> older;
  if (!read_limit(value, older)) return false;
  if (!limit) limit = older;
  return true;
}

bool read_chat_fact(std::string_view key, const dom::element& value, RequestFacts& facts) {
  if (key == "messages") read_messages(value, facts);
  if (key == "tools") return read_tools(value, facts.hosted_tools);
  if (key == "web_search_options") {
    return value.is_null() || add_hosted("web_search", facts.hosted_tools);
  }
  if (key == "stream") return read_flag(value, facts.stream);
  if (key == "stream_options") return read_stream_options(value, facts.wants_stream_usage);
  if (key == "service_tier") return read_plain_name(value, facts.service_tier);
  if (key == "max_completion_tokens") return read_limit(value, facts.max_output_tokens);
  if (key == "max_tokens") return read_older_limit(value, facts.max_output_tokens);
  if (key == "reasoning_effort") return read_plain_name(value, facts.reasoning_effort);
  if (key == "store") return read_store(value, facts.store);
  if (key == "n") return read_choices(value, facts.choices);
  return true;
}

// Text or token numbers, one or many. Within an object a provider may know a picture or a file.
bool read_embeddings_fact(std::string_view key, const dom::element& value, RequestFacts& facts) {
  if (key != "input" || value.is_string()) return true;
  dom::array inputs;
  if (value.get(inputs) != simdjson::SUCCESS) return false;
  for (const dom::element input : inputs)
    facts.refers_elsewhere |= input.is_object();
  return true;
}

bool read_images_fact(std::string_view key, const dom::element& value, RequestFacts& facts) {
  if (key == "stream") return read_flag(value, facts.stream);
  if (key == "n") return read_choices(value, facts.choices);
  return true;
}

}  // namespace

bool read_fact(Api api, std::string_view key, const dom::element& value, RequestFacts& facts) {
  switch (api) {
    case Api::responses:
      return read_responses_fact(key, value, facts);
    case Api::chat_completions:
      return read_chat_fact(key, value, facts);
    case Api::embeddings:
      return read_embeddings_fact(key, value, facts);
    case Api::images:
      return read_images_fact(key, value, facts);
  }
  return false;
}

}  // namespace tollgate::codec
