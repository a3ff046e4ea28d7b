// Finds where the members of a JSON object begin and end, without a tree: for whoever changes or
// copies pieces of a text and leaves every other byte as it was.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>

namespace tollgate::codec {

// Steps over the members of one object. It trusts that the JSON is valid as far as what it finds
// goes, never as far as staying inside the text goes.
class JsonWalker {
 public:
  explicit JsonWalker(std::string_view json) : json_(json) {}

  size_t at() const { return at_; }
  void skip_space() { move_to(json_.find_first_not_of(" \t\n\r", at_)); }
  bool at_end() const { return at_ == json_.size(); }
  bool sees(char c) const { return !at_end() && json_[at_] == c; }
  bool take(char c) {
    skip_space();
    if (!sees(c)) return false;
    ++at_;
    return true;
  }
  // What stands between the quotes, as written.
  std::optional<std::string_view> take_string() {
    if (!take('"')) return std::nullopt;
    const size_t start = at_;
    for (;;) {
      move_to(json_.find('"', at_));
      if (at_end()) return std::nullopt;
      size_t escapes = 0;
      while (at_ - escapes > start && json_[at_ - escapes - 1] == '\\')
        ++escapes;
      ++at_;
      if (escapes % 2 == 0) return json_.substr(start, at_ - 1 - start);
    }
  }
  bool skip_value() {
    if (sees('"')) return take_string().has_value();
    if (sees('{') || sees('[')) return skip_nested();
    const size_t start = at_;
    move_to(json_.find_first_of(" \t\n\r,]}", at_));
    return at_ != start;
  }

 private:
  void move_to(size_t found) { at_ = std::min(found, json_.size()); }

  bool skip_nested() {
    size_t depth = 0;
    while (!at_end()) {
      switch (json_[at_]) {
        case '"':
          if (!take_string()) return false;
          continue;
        case '{':
        case '[':
          ++depth;
          break;
        case '}':
        case ']':
          --depth;
          break;
        default:
          break;
      }
      ++at_;
      if (depth == 0) return true;
    }
    return false;
  }

  std::string_view json_;
  size_t at_ = 0;
};

// True when a key as written, escapes included, is this one (plain ASCII).
bool spells(std::string_view written, std::string_view key);

}  // namespace tollgate::codec
