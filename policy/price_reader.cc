#include "policy/price_reader.h"

#include <algorithm>
#include <set>
#include <vector>

namespace tollgate::policy {
namespace {

bool is_date(std::string_view text) {
  constexpr std::string_view kShape = "dddd-dd-dd";
  if (text.size() != kShape.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (kShape[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != '-') return false;
  }
  return true;
}

}  // namespace

Result<Json> parse_unique(std::string_view text, const Place& place) {
  std::vector<std::set<std::string>> scopes;
  std::string duplicate;
  const auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) scopes.emplace_back();
    if (event == Json::parse_event_t::object_end) scopes.pop_back();
    if (event == Json::parse_event_t::key &&
        !scopes.back().insert(parsed.get<std::string>()).second) {
      duplicate = parsed.get<std::string>();
    }
    return true;
  };
  Json root = Json::parse(text.begin(), text.end(), watch, false);
  if (root.is_discarded()) return place.refuse("not JSON", "check commas, quotes and brackets");
  if (!duplicate.empty()) {
    return place.refuse("key \"" + duplicate + "\" is there twice", "keep one of the two");
  }
  if (!root.is_object()) return place.refuse("not a JSON object", "see policy/README.md");
  return root;
}

Status check_keys(const Json& object, std::initializer_list<std::string_view> known,
                  const Place& place) {
  if (!object.is_object()) return place.refuse("not an object", "see policy/README.md");
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string list;
    for (const std::string_view name : known)
      list += (list.empty() ? "" : ", ") + std::string(name);
    return place.refuse("unknown key \"" + key + "\"", "known keys: " + list);
  }
  return {};
}

Result<std::string> read_text(const Json& object, const char* key, const Place& place) {
  const auto found = object.find(key);
  if (found == object.end()) {
    return place.refuse(std::string("\"") + key + "\" is missing",
                        std::string("add \"") + key + "\"");
  }
  if (!found->is_string() || found->get_ref<const std::string&>().empty()) {
    return place.refuse(std::string("\"") + key + "\" is not a text", "write it in quotes");
  }
  return found->get<std::string>();
}

Result<std::string> read_date(const Json& object, const Place& place) {
  auto date = read_text(object, "date", place);
  if (date && !is_date(*date)) {
    return place.refuse("date \"" + *date + "\"", "write it like \"2026-09-30\"");
  }
  return date;
}

Result<uint64_t> read_count(const Json& object, const char* key, const Place& place) {
  const auto found = object.find(key);
  if (found == object.end()) return uint64_t{0};
  if (!found->is_number_unsigned() || found->get<uint64_t>() == 0) {
    return place.refuse(std::string("\"") + key + "\" is not a positive whole number",
                        "write it like 272000");
  }
  return found->get<uint64_t>();
}

}  // namespace tollgate::policy
