// The pieces of policy_parse, for its own files.
#pragma once

#include <initializer_list>
#include <set>
#include <utility>

#include "policy/toml_reader.h"

namespace tollgate::policy {

struct Downgrade {                  // an on_exceed = { model = "..." }
  std::vector<std::string> groups;  // of its policy
  Located model;
};

struct Draft {  // a configuration in the making, with the lines that later checks point at
  Config config;
  std::vector<uint32_t> peer_lines;
  std::vector<Located> rule_groups;  // in order of use
  std::vector<Located> rule_providers;
  std::vector<Downgrade> downgrades;
};

// 1 to 64 bytes of visible ASCII: names end up in records, headers and terminals.
bool is_name(std::string_view text);
// The required key `name`, each once in `taken`.
std::string read_name(TomlReader& reader, std::string_view example, std::set<std::string>& taken);

struct Url {
  std::string scheme;  // "https" or "http"
  std::string host;    // without brackets
  uint16_t port = 0;
  std::string path;  // without a slash at the end
};
// SCHEME://HOST[:PORT][/PATH]; nothing when it is not of that shape.
std::optional<Url> parse_url(std::string_view url);
bool is_loopback(std::string_view host);

// One of a few words; `into` keeps its value when the key is absent. False: a Problem was told.
template <typename Choice>
bool parse_choice(TomlReader& reader, std::string_view key,
                  std::initializer_list<std::pair<const char*, Choice>> choices, Choice& into) {
  if (!reader.has(key)) {
    reader.text(key);  // makes the key known
    return true;
  }
  const auto value = reader.text(key);
  if (!value) return false;
  std::string remedy;
  for (const auto& [word, choice] : choices) {
    if (*value == word) {
      into = choice;
      return true;
    }
    remedy += (remedy.empty() ? "write \"" : " or \"") + std::string(word) + "\"";
  }
  reader.problem(key, "\"" + *value + "\" is no choice", std::move(remedy));
  return false;
}

// [[provider]], [[group]], [[peer]], [[policy]].
void parse_parts(TomlReader& root, Draft& draft);
// [[intercept]]; after [gateway], which it must fit.
void parse_intercepts(TomlReader& root, Draft& draft, Problems& problems);
void parse_rule(TomlReader& reader, Draft& draft, std::set<std::string>& names);
// What one [[policy]] says about the inside of requests; after its models.
void parse_guards(TomlReader& reader, Rule& rule);
// The [[policy.limit]] tables of one [[policy]].
void parse_policy_limits(TomlReader& policy, Draft& draft, Rule& rule);
// What one table cannot see: references and the same address twice. Fills in Peer::groups.
void check_references(Draft& draft, Problems& problems);

}  // namespace tollgate::policy
