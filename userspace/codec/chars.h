// Byte classes of RFC 9110 and RFC 3986, one table look-up each.
#pragma once

#include <cstdint>
#include <string_view>

namespace tollgate::codec {

enum ByteClass : uint8_t {
  kTokenByte = 1,   // tchar
  kValueByte = 2,   // of a field value: HTAB, SP, VCHAR, obs-text
  kTargetByte = 4,  // of an origin-form target, '%' and '?' included, '#' not
  kHostByte = 8,    // of a Host value: reg-name without sub-delims, IP literal, port
  kDigitByte = 16,
};

bool is_class(char c, ByteClass wanted);
bool all_of_class(std::string_view text, ByteClass wanted);
bool is_token(std::string_view text);  // not empty
int hex_value(char c);                 // -1 when it is no hex digit
std::string_view trim_ows(std::string_view text);
// Takes the next element off a comma-separated list, white space trimmed; may be empty.
std::string_view next_list_element(std::string_view& rest);

}  // namespace tollgate::codec
