#include "userspace/ledger/group_names.h"

#include <algorithm>

namespace tollgate::ledger {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

void append_quoted(std::string_view name, std::string& json) {
  json += '"';
  for (const char c : name) {
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      json += "\\u00";
      json += kHex[static_cast<unsigned char>(c) >> 4];
      json += kHex[static_cast<unsigned char>(c) & 0xf];
    } else {
      json += c;
    }
  }
  json += '"';
}

// `at` stands behind the opening quote, and behind the closing one afterwards.
bool parse_quoted(std::string_view json, size_t& at, std::string& name) {
  while (at < json.size()) {
    const char c = json[at++];
    if (c == '"') return true;
    if (c != '\\') {
      name += c;
      continue;
    }
    if (at == json.size()) return false;
    const char escaped = json[at++];
    if (escaped == '"' || escaped == '\\') {
      name += escaped;
      continue;
    }
    if (escaped != 'u' || json.size() - at < 4 || json.substr(at, 2) != "00") return false;
    const size_t high = kHex.find(json[at + 2]);
    const size_t low = kHex.find(json[at + 3]);
    if (high == kHex.npos || low == kHex.npos) return false;
    name += static_cast<char>(high * 16 + low);
    at += 4;
  }
  return false;
}

}  // namespace

void append_group_names(const std::vector<std::string>& names, std::string& json) {
  json += '[';
  for (auto name = names.begin(); name != names.end(); ++name) {
    if (std::find(names.begin(), name, *name) != name) continue;
    if (name != names.begin()) json += ',';
    append_quoted(*name, json);
  }
  json += ']';
}

bool parse_group_names(std::string_view json, std::vector<std::string>& names) {
  names.clear();
  if (json == "[]") return true;
  size_t at = 0;
  while (at + 1 < json.size() && json[at] == (at == 0 ? '[' : ',') && json[at + 1] == '"') {
    at += 2;
    if (!parse_quoted(json, at, names.emplace_back())) return false;
    if (at + 1 == json.size() && json[at] == ']') return true;
  }
  return false;
}

}  // namespace tollgate::ledger
