// Reads the JSON of a price file key by key; every refusal names the place. For price_parse alone.
#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "userspace/base/result.h"

namespace tollgate::policy {

using Json = nlohmann::json;

struct Place {  // where we are, for errors
  std::string text;
  Place in(const std::string& key) const { return {text + ": " + key}; }
  Error refuse(const std::string& what, std::string hint) const {
    return Error{Fault::config, 0, text + ": " + what, std::move(hint)};
  }
};

// nlohmann keeps the last of two equal keys; a price written twice is refused instead.
Result<Json> parse_unique(std::string_view text, const Place& place);
Status check_keys(const Json& object, std::initializer_list<std::string_view> known,
                  const Place& place);
Result<std::string> read_text(const Json& object, const char* key, const Place& place);
// The key `date`, of the shape "2026-09-30".
Result<std::string> read_date(const Json& object, const Place& place);
// A whole number above 0; a missing one is 0.
Result<uint64_t> read_count(const Json& object, const char* key, const Place& place);

}  // namespace tollgate::policy
