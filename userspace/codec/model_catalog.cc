#include "userspace/codec/model_catalog.h"

#include <set>
#include <utility>

#include "userspace/codec/json.h"
#include "userspace/codec/rewrite.h"

namespace tollgate::codec {
namespace {

namespace dom = simdjson::dom;
namespace ondemand = simdjson::ondemand;

constexpr std::string_view kHint = "write what `codex debug models` prints";

// A key that stands there twice is one value to one reader and another to the next.
bool has_key_twice(const dom::object& object) {
  std::set<std::string_view> seen;
  for (const auto [key, value] : object) {
    if (!seen.insert(key).second) return true;
  }
  return false;
}

// What is wrong with the entry, or nothing and its name.
std::string read_slug(const dom::element& element, std::string_view& slug) {
  dom::object entry;
  if (element.get(entry) != simdjson::SUCCESS) return "is no object";
  if (has_key_twice(entry)) return "has a key twice";
  if (entry.at_key("slug").get(slug) != simdjson::SUCCESS || !is_plain_name(slug)) {
    return "has no \"slug\" that is a model's name";
  }
  return {};
}

// The text of each entry, as it stands in a file that the other reader has found valid.
std::vector<std::string> texts_of(const simdjson::padded_string& json) {
  std::vector<std::string> texts;
  ondemand::parser parser;
  ondemand::document document;
  ondemand::array list;
  if (parser.iterate(json).get(document) != simdjson::SUCCESS ||
      document["models"].get(list) != simdjson::SUCCESS) {
    return texts;
  }
  for (auto element : list) {
    ondemand::object entry;
    std::string_view text;
    if (element.get(entry) != simdjson::SUCCESS || entry.raw_json().get(text) != simdjson::SUCCESS)
      return texts;
    texts.emplace_back(text.substr(0, text.rfind('}') + 1));  // the space behind is none of it
  }
  return texts;
}

}  // namespace

Result<std::vector<CatalogEntry>> read_model_catalog(std::string_view json, std::string_view name) {
  const auto refuse = [&](const std::string& why) {
    return Error{Fault::config, 0, "read model catalogue " + std::string(name) + ": " + why,
                 std::string(kHint)};
  };
  const simdjson::padded_string padded(json);
  dom::parser parser;
  dom::element root;
  dom::object object;
  dom::array list;
  if (const auto error = parser.parse(padded).get(root)) {
    return refuse(simdjson::error_message(error));
  }
  if (root.get(object) != simdjson::SUCCESS || has_key_twice(object) ||
      object.at_key("models").get(list) != simdjson::SUCCESS || list.size() == 0) {
    return refuse("is no object with one list of \"models\"");
  }
  std::vector<std::string> texts = texts_of(padded);
  std::vector<CatalogEntry> entries;
  std::set<std::string_view> seen;
  for (const dom::element element : list) {
    const size_t index = entries.size();
    std::string_view slug;
    if (const std::string why = read_slug(element, slug); !why.empty()) {
      return refuse("models[" + std::to_string(index) + "] " + why);
    }
    if (!seen.insert(slug).second) {
      return refuse("model \"" + std::string(slug) + "\" is there twice");
    }
    if (index >= texts.size()) return refuse("models[" + std::to_string(index) + "] is cut off");
    entries.push_back({std::string(slug), std::move(texts[index])});
  }
  return entries;
}

std::optional<std::string> rename_entry(const CatalogEntry& entry, std::string_view slug) {
  std::string quoted = "\"";
  for (const char c : slug) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  quoted += '"';
  const FieldChange changes[] = {{"slug", quoted}, {"display_name", quoted}};
  return rewrite_fields(entry.json, changes);
}

}  // namespace tollgate::codec
