#include "userspace/ctl/text.h"

#include <algorithm>
#include <limits>

#include "userspace/base/units.h"

namespace tollgate::ctl {
namespace {

struct CodePoint {
  uint32_t value = 0;
  size_t length = 0;  // 0: not UTF-8
};

CodePoint decode(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1};
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return {};
  uint32_t value = first & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    value = (value << 6) | (byte(i) & 0x3fu);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
    return {};
  }
  return {value, length};
}

// C0, DEL and C1; zero-width and direction marks, line separators, byte order mark, tags.
bool harmful(uint32_t value) {
  return value < 0x20 || (value >= 0x7f && value <= 0x9f) || value == 0xad || value == 0x61c ||
         (value >= 0x200b && value <= 0x200f) || (value >= 0x2028 && value <= 0x202e) ||
         (value >= 0x2060 && value <= 0x206f) || value == 0xfeff ||
         (value >= 0xe0000 && value <= 0xe007f);
}

std::string hex_bytes(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    text += "\\x";
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

std::string one_decimal(int64_t tenths) {
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10);
}

}  // namespace

std::string printable(std::string_view text) {
  std::string safe;
  while (!text.empty()) {
    const CodePoint point = decode(text);
    const std::string_view bytes = text.substr(0, point.length == 0 ? 1 : point.length);
    safe += point.length == 0 || harmful(point.value) ? hex_bytes(bytes) : std::string(bytes);
    text.remove_prefix(bytes.size());
  }
  return safe;
}

size_t width(std::string_view printable_text) {
  size_t count = 0;
  for (const char c : printable_text)
    count += (static_cast<uint8_t>(c) & 0xc0) != 0x80;
  return count;
}

std::string bytes_short(int64_t bytes) {
  if (bytes < 1'000) return std::to_string(bytes) + " B";
  if (bytes < 1'000'000) return one_decimal(bytes / 100) + " kB";
  if (bytes < 1'000'000'000) return one_decimal(bytes / 100'000) + " MB";
  return one_decimal(bytes / 100'000'000) + " GB";
}

std::string duration_short(int64_t ms) {
  if (ms < 0) ms = 0;
  const int64_t seconds = ms / 1000;
  const auto pair = [](int64_t large, char unit, int64_t small, char small_unit) {
    return std::to_string(large) + unit + std::to_string(small) + small_unit;
  };
  if (seconds < 60) return one_decimal(ms / 100) + "s";
  if (seconds < 3'600) return pair(seconds / 60, 'm', seconds % 60, 's');
  if (seconds < 86'400) return pair(seconds / 3'600, 'h', seconds % 3'600 / 60, 'm');
  return pair(seconds / 86'400, 'd', seconds % 86'400 / 3'600, 'h');
}

std::string csv_cell(std::string_view text) {
  std::string cell = printable(text);
  if (!cell.empty() && std::string_view("=+-@").find(cell.front()) != std::string_view::npos) {
    cell = "'" + cell;
  }
  if (cell.find_first_of(",\"") == cell.npos) return cell;
  std::string quoted = "\"";
  for (const char c : cell)
    quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

const nlohmann::json& part_of(const nlohmann::json& object, const char* name) {
  static const nlohmann::json kNothing;
  const auto found = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && found != object.end() ? *found : kNothing;
}

std::string text_of(const nlohmann::json& object, const char* name) {
  const nlohmann::json& value = part_of(object, name);
  return value.is_string() ? printable(value.get_ref<const std::string&>()) : std::string{};
}

std::string list_of(const nlohmann::json& object, const char* name) {
  std::string list;
  const nlohmann::json& values = part_of(object, name);
  if (!values.is_array()) return list;
  for (const auto& value : values) {
    if (!value.is_string()) continue;
    list += list.empty() ? "" : ", ";
    list += printable(value.get_ref<const std::string&>());
  }
  return list;
}

int64_t number_of(const nlohmann::json& object, const char* name) {
  const nlohmann::json& value = part_of(object, name);
  if (value.is_number_unsigned()) {
    constexpr uint64_t kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    return static_cast<int64_t>(std::min(value.get<uint64_t>(), kMax));
  }
  return value.is_number_integer() ? value.get<int64_t>() : 0;
}

bool truth_of(const nlohmann::json& object, const char* name) {
  const nlohmann::json& value = part_of(object, name);
  return value.is_boolean() && value.get<bool>();
}

std::string json_text(const nlohmann::json& value, int indent) {
  return value.dump(indent, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace tollgate::ctl
