// Requests: what a body asks for.
#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "userspace/codec/json.h"
#include "userspace/codec/responses.h"

namespace tollgate::codec {
namespace {

namespace dom = simdjson::dom;

static_assert(kJsonPaddingBytes >= simdjson::SIMDJSON_PADDING);

constexpr size_t kNameShownMax = 64;
// More kinds than there are; keeps the search among them short.
constexpr size_t kHostedToolsMax = 64;
constexpr std::array<std::string_view, 9> kClientTools = {
    "function",    "custom",   "local_shell",         "shell", "apply_patch", "namespace",
    "tool_search", "computer", "computer_use_preview"};

std::string quoted_key(std::string_view key) {
  std::string text = "key \"";
  for (const char c : key.substr(0, kNameShownMax))
    text += c >= ' ' && c < '\x7f' ? c : '?';
  return text += '"';
}

InspectResult refuse(BodyFault fault, std::string detail) {
  return {fault, std::move(detail), {}};
}

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

bool read_tier(const dom::element& value, std::string& service_tier) {
  if (value.is_null()) return true;
  std::string_view tier;
  if (value.get(tier) != simdjson::SUCCESS || !is_plain_name(tier)) return false;
  service_tier = tier;
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

// What makes a body weigh more at the provider than its bytes say.
void weigh_member(std::string_view key, const dom::element& value, RequestFacts& facts) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return;
  const bool is_file = key == "file_id" || key == "file_url" || key == "file_data";
  const bool is_item = key == "type" && text == "item_reference";
  const bool is_image = key == "image_url";
  const bool is_inline = is_image && text.starts_with("data:");
  facts.refers_elsewhere |= is_file || is_item || (is_image && !is_inline);
  facts.inline_images += is_inline ? 1 : 0;
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

// False when the value is of a wrong kind.
bool read_fact(std::string_view key, const dom::element& value, RequestFacts& facts) {
  if (key == "input") return read_input(value, facts);
  if (key == "tools") return read_tools(value, facts.hosted_tools);
  if (key == "stream") return read_flag(value, facts.stream);
  if (key == "background") return read_flag(value, facts.background);
  if (key == "service_tier") return read_tier(value, facts.service_tier);
  if (key == "max_output_tokens") return read_limit(value, facts.max_output_tokens);
  if (key == "max_tool_calls") return read_limit(value, facts.max_tool_calls);
  if (key == "previous_response_id" || key == "conversation" || key == "prompt") {
    facts.refers_elsewhere |= !value.is_null();
  }
  return true;
}

}  // namespace

struct BodyInspector::Impl {
  dom::parser parser;
  std::vector<std::string_view> keys;
};

BodyInspector::BodyInspector() : impl_(new Impl) {}
BodyInspector::~BodyInspector() {
  delete impl_;
}

InspectResult BodyInspector::inspect(std::span<const std::byte> json) {
  const auto* text = reinterpret_cast<const uint8_t*>(json.data());
  dom::parser& parser = impl_->parser;
  if (parser.capacity() < json.size() || parser.max_depth() != kJsonDepthMax) {
    if (parser.allocate(json.size(), kJsonDepthMax) != simdjson::SUCCESS) {
      return refuse(BodyFault::malformed, "body too large for the JSON parser");
    }
  }
  dom::element element;
  if (const auto code = parser.parse(text, json.size(), false).get(element)) {
    return refuse(BodyFault::malformed, std::string("not JSON: ") + simdjson::error_message(code));
  }
  dom::object root;
  if (element.get(root) != simdjson::SUCCESS) {
    return refuse(BodyFault::malformed, "body is not a JSON object");
  }
  auto& keys = impl_->keys;
  keys.clear();
  InspectResult result;
  for (const auto [key, value] : root) {
    // The parser checks the raw bytes; this catches half a surrogate pair that an escape wrote.
    if (!simdjson::validate_utf8(key.data(), key.size())) {
      return refuse(BodyFault::malformed, quoted_key(key) + " is not Unicode");
    }
    keys.push_back(key);
    std::string_view model;
    if (key == "model") {
      if (value.get(model) != simdjson::SUCCESS || model.empty()) continue;
      if (!is_plain_name(model)) return refuse(BodyFault::malformed, "model is not a plain name");
      if (result.facts.model.empty()) result.facts.model = model;
    } else if (!read_fact(key, value, result.facts)) {
      return refuse(BodyFault::malformed, quoted_key(key) + " has a value of the wrong kind");
    } else if (result.facts.hosted_tools.size() > kHostedToolsMax) {
      return refuse(BodyFault::malformed, quoted_key(key) + " names too many kinds of tools");
    }
  }
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(keys.begin(), keys.end());
  if (twice != keys.end()) {
    return refuse(BodyFault::duplicate_key, quoted_key(*twice) + " appears twice");
  }
  if (result.facts.model.empty()) {
    return refuse(BodyFault::model_missing, "no string \"model\"");
  }
  return result;
}

void BodyInspector::trim() {
  *impl_ = Impl();
}

}  // namespace tollgate::codec
