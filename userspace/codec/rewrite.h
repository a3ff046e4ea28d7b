// Changes a named value of a JSON object's top level and leaves every other byte as it was. For
// bodies that the inspector has accepted: valid JSON, an object, no key twice.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::codec {

struct FieldChange {
  std::string key;    // plain ASCII, no character that JSON escapes; once among the changes
  std::string value;  // JSON text: "32000", "\"gpt-6-luna\""
};

// The body with each field set: a value that is there is replaced in place; a missing one is
// written first in the object. A key spelt with escapes in the body ("mod\u0065l") is the same key.
// Nothing when `json` is not an object after all.
std::optional<std::string> rewrite_fields(std::string_view json,
                                          std::span<const FieldChange> changes);

}  // namespace tollgate::codec
