#include "userspace/base/text.h"

#include <algorithm>

namespace tollgate {
namespace {

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string printable(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~' || c == '"'; }, '?');
  return out;
}

std::string hex(std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xf];
  }
  return text;
}

std::string base64(std::span<const uint8_t> bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    uint32_t three = 0;
    for (size_t i = 0; i < 3; ++i)
      three = three << 8 | (i < count ? bytes[at + i] : 0u);
    for (size_t i = 0; i < 4; ++i)
      text += i <= count ? kBase64[three >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

bool is_base64(std::string_view text, size_t bytes) {
  if (text.size() != (bytes + 2) / 3 * 4) return false;
  const size_t padding = (3 - bytes % 3) % 3;
  const std::string_view digits = text.substr(0, text.size() - padding);
  if (text.find_first_not_of('=', digits.size()) != text.npos) return false;
  if (digits.find_first_not_of(kBase64) != digits.npos) return false;
  // Bits behind the last byte are zero.
  return padding == 0 || kBase64.find(digits.back()) % (padding == 1 ? 4 : 16) == 0;
}

}  // namespace tollgate
