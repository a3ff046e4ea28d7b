#include "userspace/proxy/turn_metadata.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "userspace/tls/keyed_hash.h"

namespace tollgate::proxy {
namespace {

using nlohmann::ordered_json;
using policy::TurnMetadata;

constexpr std::string_view kTurnMetadata = "x-codex-turn-metadata";
constexpr std::string_view kInstallation = "x-codex-installation-id";
// Codex nests four deep; what is deeper is left out.
constexpr int kDepthMax = 8;

// Members whose texts are random ids of this conversation, or words of Codex's own. What is not
// listed is hashed: the next version may say more than this one.
constexpr std::array<std::string_view, 21> kPlain = {
    "context_window_id",
    "history_initialization",
    "model",
    "parent_thread_id",
    "reasoning_effort",
    "request_kind",
    "root_turn_id",
    "sandbox",
    "sandbox_mode",
    "session_id",
    "thread_id",
    "thread_source",
    "turn_id",
    "turn_trigger",
    "window_id",
    "x-codex-parent-thread-id",
    "x-codex-root-turn-id",
    "x-codex-turn-state",
    "x-codex-window-id",
    "x-openai-memgen-request",
    "x-openai-subagent",
};
// Names of members below the top level; any other is data, as a workspace's path is.
constexpr std::array<std::string_view, 5> kNestedNames = {
    "associated_remote_urls", "has_changes", "latest_git_commit_hash", "origin", "upstream"};

template <size_t N>
bool contains(const std::array<std::string_view, N>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

ordered_json read(std::string_view text) {
  const auto shallow = [](int depth, ordered_json::parse_event_t, ordered_json&) {
    return depth <= kDepthMax;
  };
  return ordered_json::parse(text, shallow, false);
}

std::string written(const ordered_json& value) {
  return value.dump(-1, ' ', true, ordered_json::error_handler_t::replace);
}

class Hasher {
 public:
  explicit Hasher(const Secret& key) : key_(key) {}

  std::string text(std::string_view plain) const { return "hmac-" + tls::keyed_hash(key_, plain); }

  // Of the JSON text of an object; nothing when it is none.
  std::optional<std::string> object(std::string_view json) const {
    const ordered_json value = read(json);
    if (!value.is_object()) return std::nullopt;
    return written(members(value, true));
  }

 private:
  ordered_json members(const ordered_json& object, bool top) const {
    ordered_json hashed = ordered_json::object();
    for (const auto& item : object.items()) {
      const bool named = top || contains(kNestedNames, item.key());
      hashed[named ? item.key() : text(item.key())] = value(item.key(), item.value());
    }
    return hashed;
  }

  ordered_json value(std::string_view name, const ordered_json& plain) const {
    if (plain.is_object()) return members(plain, false);
    if (plain.is_array()) {
      ordered_json list = ordered_json::array();
      for (const ordered_json& item : plain)
        list.push_back(value(name, item));
      return list;
    }
    if (!plain.is_string() || contains(kPlain, name)) return plain;
    const auto& said = plain.get_ref<const std::string&>();
    // The body has the header's JSON as a text.
    if (name == kTurnMetadata) return object(said).value_or(text(said));
    return text(said);
  }

  const Secret& key_;
};

bool hashes(const MetadataRule& rule) {
  return rule.mode == TurnMetadata::hash && rule.key != nullptr;
}

}  // namespace

std::optional<std::string> forwarded_value(const MetadataRule& rule, std::string_view name,
                                           std::string_view value) {
  const bool is_metadata = name == kTurnMetadata || name == kInstallation;
  if (rule.mode == TurnMetadata::forward || !is_metadata) return std::string(value);
  if (!hashes(rule)) return std::nullopt;
  const Hasher hasher(*rule.key);
  if (name == kTurnMetadata) return hasher.object(value);
  return hasher.text(value);
}

std::optional<codec::FieldChange> client_metadata_change(const MetadataRule& rule) {
  constexpr const char* kField = "client_metadata";
  if (rule.mode == TurnMetadata::forward) return std::nullopt;
  if (!hashes(rule)) return codec::removal_of(kField);
  return codec::FieldChange{
      kField, {}, [key = rule.key](std::string_view old) { return Hasher(*key).object(old); }};
}

}  // namespace tollgate::proxy
