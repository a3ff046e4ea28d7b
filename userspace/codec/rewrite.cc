#include "userspace/codec/rewrite.h"

#include <algorithm>
#include <utility>

#include "userspace/codec/json_walker.h"

namespace tollgate::codec {
namespace {

// Copies the body piece by piece, putting new values in place of old ones.
class Rewriter {
 public:
  Rewriter(std::string_view json, std::span<const FieldChange> changes)
      : json_(json), changes_(changes), done_(changes.size()), walker_(json) {}

  std::optional<std::string> run() {
    walker_.skip_space();
    if (!object({})) return std::nullopt;
    walker_.skip_space();
    if (!walker_.at_end()) return std::nullopt;
    body_ += json_.substr(copied_);
    return std::move(body_);
  }

 private:
  struct Member {
    size_t comma;  // where the one before it stands
    size_t key;
    size_t value;
  };

  // `parent`: "" of the whole, "reasoning." of the object there.
  bool object(std::string_view parent) {
    if (!walker_.take('{')) return false;
    copy_to(walker_.at());
    const size_t start = body_.size();
    bool any_left = false;
    if (!walker_.take('}') && !members(parent, any_left)) return false;
    std::string text = missing(parent);
    if (!text.empty() && any_left) text += ',';
    copy_to(walker_.at());
    body_.insert(start, text);
    return true;
  }

  bool members(std::string_view parent, bool& any_left) {
    Member member{walker_.at(), 0, 0};
    for (;;) {
      walker_.skip_space();
      member.key = walker_.at();
      const auto key = walker_.take_string();
      if (!key || !walker_.take(':')) return false;
      walker_.skip_space();
      member.value = walker_.at();
      bool stays = true;
      if (!value(parent, *key, member, any_left, stays)) return false;
      any_left |= stays;
      walker_.skip_space();
      member.comma = walker_.at();
      if (!walker_.take(',')) return walker_.take('}');
      if (!any_left) copied_ = walker_.at();  // what was first is gone, and so is its comma
    }
  }

  bool value(std::string_view parent, std::string_view key, const Member& member, bool any_before,
             bool& stays) {
    if (const std::string inner = inner_of(parent, key); !inner.empty()) {
      if (walker_.sees('{')) return object(inner);
      if (!walker_.skip_value()) return false;
      const std::string text = missing(inner);
      if (!text.empty()) replace(member.value, '{' + text + '}');
      return true;
    }
    if (!walker_.skip_value()) return false;
    const FieldChange* change = take_change(parent, key);
    if (change == nullptr) return true;
    std::optional<std::string> text = change->value;
    if (change->edit) {
      text = change->edit(json_.substr(member.value, walker_.at() - member.value));
    }
    stays = text.has_value();
    replace(stays ? member.value : any_before ? member.comma : member.key, text.value_or(""));
    return true;
  }

  const FieldChange* take_change(std::string_view parent, std::string_view key) {
    for (size_t i = 0; i < changes_.size(); ++i) {
      const std::string_view name = name_below(parent, i);
      if (done_[i] || name.empty() || !spells(key, name)) continue;
      done_[i] = true;
      return &changes_[i];
    }
    return nullptr;
  }

  // The object that a change below `key` is about, as a parent; empty when there is none.
  std::string inner_of(std::string_view parent, std::string_view key) const {
    if (!parent.empty()) return {};
    for (size_t i = 0; i < changes_.size(); ++i) {
      const size_t dot = changes_[i].key.find('.');
      if (done_[i] || dot == std::string::npos) continue;
      if (spells(key, changes_[i].key.substr(0, dot))) return changes_[i].key.substr(0, dot + 1);
    }
    return {};
  }

  // What a change is called within the object of `parent`; empty when it is not in there.
  std::string_view name_below(std::string_view parent, size_t change) const {
    std::string_view key = changes_[change].key;
    if (!key.starts_with(parent)) return {};
    key.remove_prefix(parent.size());
    return key.find('.') == std::string_view::npos ? key : std::string_view();
  }

  std::string missing(std::string_view parent) {
    std::string text;
    for (size_t i = 0; i < changes_.size(); ++i) {
      if (done_[i] || changes_[i].edit || !changes_[i].key.starts_with(parent)) continue;
      std::string name = changes_[i].key.substr(parent.size());
      std::string value = changes_[i].value;
      if (const size_t dot = name.find('.'); dot != std::string::npos) {
        value = '{' + missing(name.substr(0, dot + 1)) + '}';
        name.resize(dot);
      }
      done_[i] = true;
      if (!text.empty()) text += ',';
      text += '"' + name + "\":" + value;
    }
    return text;
  }

  void copy_to(size_t end) {
    if (end <= copied_) return;
    body_ += json_.substr(copied_, end - copied_);
    copied_ = end;
  }

  // The text from `start` to where the walker stands.
  void replace(size_t start, std::string_view text) {
    copy_to(start);
    body_ += text;
    copied_ = walker_.at();
  }

  std::string_view json_;
  std::span<const FieldChange> changes_;
  std::vector<bool> done_;
  JsonWalker walker_;
  std::string body_;  // of json_, up to copied_
  size_t copied_ = 0;
};

}  // namespace

FieldChange removal_of(std::string key) {
  return {std::move(key), {}, [](std::string_view) { return std::optional<std::string>(); }};
}

std::optional<std::string> rewrite_fields(std::string_view json,
                                          std::span<const FieldChange> changes) {
  return Rewriter(json, changes).run();
}

}  // namespace tollgate::codec
