#include "userspace/codec/json_walker.h"

#include "userspace/codec/chars.h"

namespace tollgate::codec {
namespace {

// The character that an escape stands for as far as it is ASCII; takes it off the text.
char take_escape(std::string_view& text) {
  const char kind = text.size() < 2 ? '\0' : text[1];
  if (kind != 'u' || text.size() < 6) {
    text.remove_prefix(std::min<size_t>(text.size(), 2));
    constexpr std::string_view kKinds = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const size_t which = kKinds.find(kind);
    return which == std::string_view::npos ? '\0' : kMeanings[which];
  }
  int code = 0;
  for (size_t i = 2; i < 6; ++i)
    code = code * 16 + hex_value(text[i]);
  text.remove_prefix(6);
  return code > 0 && code < 128 ? static_cast<char>(code) : '\0';
}

}  // namespace

bool spells(std::string_view written, std::string_view key) {
  if (written.find('\\') == std::string_view::npos) return written == key;
  for (const char wanted : key) {
    if (written.empty()) return false;
    char c = written.front();
    if (c == '\\') {
      c = take_escape(written);
    } else {
      written.remove_prefix(1);
    }
    if (c != wanted) return false;
  }
  return written.empty();
}

}  // namespace tollgate::codec
