#include "userspace/codec/rewrite.h"

#include <algorithm>
#include <utility>

#include "userspace/codec/chars.h"

namespace tollgate::codec {
namespace {

constexpr std::string_view kWhiteSpace = " \t\n\r";
constexpr std::string_view kScalarEnds = " \t\n\r,}";

// Steps over the members of one object. It trusts that the JSON is valid as far as what it finds
// goes, never as far as staying inside the text goes.
class Walker {
 public:
  explicit Walker(std::string_view json) : json_(json) {}

  size_t at() const { return at_; }
  void skip_space() { move_to(json_.find_first_not_of(kWhiteSpace, at_)); }
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
    move_to(json_.find_first_of(kScalarEnds, at_));
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

// Copies the body piece by piece, putting new values in place of old ones.
class Rewriter {
 public:
  Rewriter(std::string_view json, std::span<const FieldChange> changes)
      : json_(json), changes_(changes), done_(changes.size()), walker_(json) {}

  std::optional<std::string> run() {
    if (!walker_.take('{')) return std::nullopt;
    const size_t start = walker_.at();
    const bool empty = walker_.take('}');
    if (!empty && !members()) return std::nullopt;
    walker_.skip_space();
    if (!walker_.at_end()) return std::nullopt;
    body_ += json_.substr(copied_);
    return std::move(body_.insert(start, missing(empty)));
  }

 private:
  bool members() {
    do {
      const auto key = walker_.take_string();
      if (!key || !walker_.take(':')) return false;
      walker_.skip_space();
      const size_t start = walker_.at();
      if (!walker_.skip_value()) return false;
      replace(*key, start);
    } while (walker_.take(','));
    return walker_.take('}');
  }

  void replace(std::string_view key, size_t value_start) {
    for (size_t i = 0; i < changes_.size(); ++i) {
      if (done_[i] || !spells(key, changes_[i].key)) continue;
      body_ += json_.substr(copied_, value_start - copied_);
      body_ += changes_[i].value;
      copied_ = walker_.at();
      done_[i] = true;
      return;
    }
  }

  std::string missing(bool empty) const {
    std::string text;
    for (size_t i = 0; i < changes_.size(); ++i) {
      if (done_[i]) continue;
      if (!text.empty()) text += ',';
      text += '"' + changes_[i].key + "\":" + changes_[i].value;
    }
    if (!text.empty() && !empty) text += ',';
    return text;
  }

  std::string_view json_;
  std::span<const FieldChange> changes_;
  std::vector<bool> done_;
  Walker walker_;
  std::string body_;  // of json_, up to copied_
  size_t copied_ = 0;
};

}  // namespace

std::optional<std::string> rewrite_fields(std::string_view json,
                                          std::span<const FieldChange> changes) {
  return Rewriter(json, changes).run();
}

}  // namespace tollgate::codec
