// Requests: a body is read once, key by key; request_facts.cc says what a key tells.
#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace/codec/json.h"
#include "userspace/codec/request_facts.h"
#include "userspace/codec/responses.h"

namespace tollgate::codec {
namespace {

namespace dom = simdjson::dom;

static_assert(kJsonPaddingBytes >= simdjson::SIMDJSON_PADDING);

constexpr size_t kNameShownMax = 64;

std::string quoted_key(std::string_view key) {
  std::string text = "key \"";
  for (const char c : key.substr(0, kNameShownMax))
    text += c >= ' ' && c < '\x7f' ? c : '?';
  return text += '"';
}

InspectResult refuse(BodyFault fault, std::string detail) {
  return {fault, std::move(detail), {}};
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

InspectResult BodyInspector::inspect(std::span<const std::byte> json, Api api) {
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
    } else if (!read_fact(api, key, value, result.facts)) {
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
    result.fault = BodyFault::model_missing;
    result.detail = "no string \"model\"";
  }
  return result;
}

void BodyInspector::trim() {
  *impl_ = Impl();
}

}  // namespace tollgate::codec
