#include "userspace/codec/chars.h"

#include <array>

namespace tollgate::codec {
namespace {

constexpr bool is_alnum(int c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

constexpr uint8_t classes_of(int c) {
  const auto in = [c](std::string_view set) {
    return c > 0 && c < 128 && set.find(static_cast<char>(c)) != set.npos;
  };
  int classes = 0;
  if (is_alnum(c) || in("!#$%&'*+-.^_`|~")) classes |= kTokenByte;
  if (c == '\t' || (c >= ' ' && c != 0x7f)) classes |= kValueByte;
  if (is_alnum(c) || in("-._~!$&'()*+,;=:@/?%")) classes |= kTargetByte;
  if (is_alnum(c) || in("-._~:[]")) classes |= kHostByte;
  if (c >= '0' && c <= '9') classes |= kDigitByte;
  return static_cast<uint8_t>(classes);
}

constexpr auto kClasses = [] {
  std::array<uint8_t, 256> table{};
  for (int c = 0; c < 256; ++c)
    table[static_cast<size_t>(c)] = classes_of(c);
  return table;
}();

}  // namespace

bool is_class(char c, ByteClass wanted) {
  return (kClasses[static_cast<unsigned char>(c)] & wanted) != 0;
}

bool all_of_class(std::string_view text, ByteClass wanted) {
  // Without an early exit the loop has no branch to mispredict; the text is nearly always fine.
  uint8_t common = 0xff;
  for (const char c : text)
    common &= kClasses[static_cast<unsigned char>(c)];
  return (common & wanted) != 0;
}

bool is_token(std::string_view text) {
  return !text.empty() && all_of_class(text, kTokenByte);
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string_view trim_ows(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
    text.remove_suffix(1);
  return text;
}

std::string_view next_list_element(std::string_view& rest) {
  const size_t comma = rest.find(',');
  const std::string_view element = trim_ows(rest.substr(0, comma));
  rest = comma == rest.npos ? std::string_view{} : rest.substr(comma + 1);
  return element;
}

}  // namespace tollgate::codec
