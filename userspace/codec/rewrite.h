// Changes named values of a JSON object and leaves every other byte as it was. For bodies that the
// inspector has accepted: valid JSON, an object, no key twice.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::codec {

struct FieldChange {
  // Of the top level ("model"), or of an object there ("reasoning.effort"), and no deeper. Plain
  // ASCII, no character that JSON escapes; once among the changes.
  std::string key;
  std::string value;  // JSON text: "32000", "\"gpt-6-luna\""
  // In place of `value`: what becomes of the value that is there, as written; nothing takes the
  // member out. An absent field stays absent.
  using Edit = std::function<std::optional<std::string>(std::string_view old)>;
  Edit edit{};
};

FieldChange removal_of(std::string key);

// The body with each field set: a value that is there is replaced in place; a missing one is
// written first in its object. What should be that object and is none is replaced by one. A member
// goes with the comma before it, the first one with the comma behind it. A key spelt with escapes
// in the body ("mod\u0065l") is the same key. Nothing when `json` is not an object after all.
std::optional<std::string> rewrite_fields(std::string_view json,
                                          std::span<const FieldChange> changes);

}  // namespace tollgate::codec
