// The pieces of policy_parse, for its own files.
#pragma once

#include "policy/toml_reader.h"

namespace tollgate::policy {

struct Draft {  // a configuration in the making, with the lines that later checks point at
  Config config;
  std::vector<uint32_t> peer_lines;
  std::vector<Located> rule_groups;  // in order of use
  std::vector<Located> rule_providers;
};

// 1 to 64 bytes of visible ASCII: names end up in records, headers and terminals.
bool is_name(std::string_view text);

// [[provider]], [[group]], [[peer]], [[policy]].
void parse_parts(TomlReader& root, Draft& draft);
// What one table cannot see: references and the same address twice. Fills in Peer::groups.
void check_references(Draft& draft, Problems& problems);

}  // namespace tollgate::policy
