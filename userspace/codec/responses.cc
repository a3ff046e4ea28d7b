#include "userspace/codec/responses.h"

#include <algorithm>
#include <vector>

// Errors come back as codes; nothing of ours may throw through the parser.
#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

namespace tollgate::codec {
namespace {

namespace dom = simdjson::dom;

static_assert(kJsonPaddingBytes >= simdjson::SIMDJSON_PADDING);

// Deeper than any tool schema, shallower than what exhausts a recursive reader upstream.
constexpr size_t kDepthMax = 256;
constexpr size_t kModelBytesMax = 256;
constexpr size_t kNameShownMax = 64;
// Far above any answer; keeps every later product and sum out of reach of overflow.
constexpr uint64_t kTokensMax = 1'000'000'000'000;

std::string quoted_key(std::string_view key) {
  std::string text = "key \"";
  for (const char c : key.substr(0, kNameShownMax))
    text += c >= ' ' && c < '\x7f' ? c : '?';
  return text += '"';
}

InspectResult refuse(BodyFault fault, std::string detail) {
  return {fault, std::move(detail), {}};
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= kModelBytesMax &&
         std::none_of(name.begin(), name.end(),
                      [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }) &&
         simdjson::validate_utf8(name.data(), name.size());
}

bool read_flag(const dom::element& value, bool& flag) {
  if (value.is_null()) return true;
  return value.get(flag) == simdjson::SUCCESS;
}

bool read_count(const dom::element& value, uint64_t& count) {
  // 10.0 and 1e3 are doubles to the parser and thus refused, as they are by typed readers upstream.
  return (value.is_uint64() || value.is_int64()) && value.get(count) == simdjson::SUCCESS;
}

// False when the value is of a wrong kind.
bool read_fact(std::string_view key, const dom::element& value, RequestFacts& facts) {
  if (key == "stream") return read_flag(value, facts.stream);
  if (key == "background") return read_flag(value, facts.background);
  if (key == "service_tier") {
    if (value.is_null()) return true;
    std::string_view tier;
    if (value.get(tier) != simdjson::SUCCESS || !is_plain_name(tier)) return false;
    facts.service_tier = tier;
    return true;
  }
  if (key == "max_output_tokens") {
    if (value.is_null()) return true;
    uint64_t count = 0;
    if (!read_count(value, count)) return false;
    facts.max_output_tokens = count;
  }
  return true;
}

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

bool read_usage(const dom::object& from, Usage& usage) {
  dom::object input_details;
  dom::object output_details;
  bool has_input_details = false;
  bool has_output_details = false;
  if (!count_at(from, "input_tokens", Presence::required, usage.input_tokens) ||
      !count_at(from, "output_tokens", Presence::required, usage.output_tokens) ||
      !count_at(from, "total_tokens", Presence::required, usage.total_tokens) ||
      !details_at(from, "input_tokens_details", input_details, has_input_details) ||
      !details_at(from, "output_tokens_details", output_details, has_output_details)) {
    return false;
  }
  if (has_input_details &&
      (!count_at(input_details, "cached_tokens", Presence::required, usage.cached_tokens) ||
       !count_at(input_details, "cache_write_tokens", Presence::optional,
                 usage.cache_write_tokens))) {
    return false;
  }
  if (has_output_details &&
      !count_at(output_details, "reasoning_tokens", Presence::optional, usage.reasoning_tokens)) {
    return false;
  }
  // A part larger than its whole would price as a negative remainder.
  return usage.cached_tokens + usage.cache_write_tokens <= usage.input_tokens &&
         usage.reasoning_tokens <= usage.output_tokens;
}

ResponseFacts read_facts(const dom::object& response, ResponseEnd end) {
  ResponseFacts facts;
  facts.end = end;
  facts.response_id = string_at(response, "id");
  facts.model = string_at(response, "model");
  facts.service_tier = string_at(response, "service_tier");
  dom::element value;
  if (response.at_key("usage").get(value) != simdjson::SUCCESS || value.is_null()) return facts;
  dom::object from;
  Usage usage;
  if (value.get(from) == simdjson::SUCCESS && read_usage(from, usage)) {
    facts.usage = usage;
  } else {
    facts.usage_malformed = true;
  }
  return facts;
}

// Answers are read once per request, so their parser is made for the call and kept by nobody.
struct Answer {
  dom::parser parser;
  dom::object root;
  bool valid = false;

  explicit Answer(std::string_view json) {
    dom::element element;
    // The copy gives the padding that the parser reads over.
    valid = parser.allocate(json.size(), kDepthMax) == simdjson::SUCCESS &&
            parser.parse(json.data(), json.size(), true).get(element) == simdjson::SUCCESS &&
            element.get(root) == simdjson::SUCCESS;
  }
};

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
  if (parser.capacity() < json.size() || parser.max_depth() != kDepthMax) {
    if (parser.allocate(json.size(), kDepthMax) != simdjson::SUCCESS) {
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

std::optional<ResponseFacts> read_response_object(std::string_view json) {
  const Answer answer(json);
  if (!answer.valid) return std::nullopt;
  return read_facts(answer.root, end_of_status(string_at(answer.root, "status")));
}

std::optional<ResponseFacts> read_terminal_event(std::string_view json) {
  const Answer answer(json);
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
  return read_facts(response, *end);
}

}  // namespace tollgate::codec
