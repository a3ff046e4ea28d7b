#include <algorithm>
#include <map>

#include "policy/parse_internal.h"

namespace tollgate::policy {
namespace {

template <typename Named>
void check_names(const std::vector<Located>& uses, const std::vector<Named>& defined,
                 const std::string& kind, Problems& problems) {
  for (const Located& use : uses) {
    const bool known = std::any_of(defined.begin(), defined.end(),
                                   [&](const Named& item) { return item.name == use.text; });
    if (known) continue;
    problems.push_back({use.line, use.key, "\"" + use.text + "\" is no " + kind + " of this file",
                        "add a [[" + kind + "]] with that name, or correct it"});
  }
}

bool allows(const Rule& rule, const std::string& group, const std::string& model) {
  return std::find(rule.groups.begin(), rule.groups.end(), group) != rule.groups.end() &&
         std::any_of(rule.models.begin(), rule.models.end(),
                     [&](const std::string& glob) { return glob_match(glob, model); });
}

// Every group of the policy must get the cheaper model from some policy, or the limit would refuse
// its members after all.
void check_downgrades(const Draft& draft, Problems& problems) {
  const std::vector<Rule>& rules = draft.config.rules;
  for (const Downgrade& downgrade : draft.downgrades) {
    for (const std::string& group : downgrade.groups) {
      const bool allowed = std::any_of(rules.begin(), rules.end(), [&](const Rule& rule) {
        return allows(rule, group, downgrade.model.text);
      });
      if (allowed) continue;
      problems.push_back(
          {downgrade.model.line, downgrade.model.key,
           "no policy gives group \"" + group + "\" the model \"" + downgrade.model.text + "\"",
           "add it to the models of this policy, or name another model"});
      break;
    }
  }
}

// Nobody would get what two claim. A key without an address claims all that the tunnel gives it.
void check_twice(const Draft& draft, Problems& problems) {
  using First = std::map<std::pair<std::string, std::string>, uint32_t>;  // tunnel, who → line
  First addresses;
  First keys;
  const auto check = [&](First& first, size_t index, const char* key, const std::string& who,
                         const std::string& remedy) {
    const uint32_t line = draft.peer_lines[index];
    const auto [known, inserted] =
        first.emplace(std::pair(draft.config.peers[index].tunnel, who), line);
    if (inserted) return;
    problems.push_back({line, "peer[" + std::to_string(index) + "]." + key,
                        who + " is also the peer of line " + std::to_string(known->second),
                        remedy});
  };
  for (size_t i = 0; i < draft.config.peers.size(); ++i) {
    const ConfiguredPeer& peer = draft.config.peers[i];
    if (peer.address) {
      check(addresses, i, "address", to_string(*peer.address),
            "keep one [[peer]] for each address of a tunnel");
    } else if (!peer.public_key.empty()) {
      check(keys, i, "public_key", peer.public_key,
            "keep one [[peer]] for each key, or write the address of each");
    }
  }
}

}  // namespace

void check_references(Draft& draft, Problems& problems) {
  Config& config = draft.config;
  check_names(draft.rule_groups, config.groups, "group", problems);
  check_names(draft.rule_providers, config.providers, "provider", problems);
  check_downgrades(draft, problems);
  check_twice(draft, problems);
  for (ConfiguredPeer& peer : config.peers) {
    for (const Group& group : config.groups) {
      if (std::find(group.members.begin(), group.members.end(), peer.user) != group.members.end()) {
        peer.groups.push_back(group.name);
      }
    }
    std::sort(peer.groups.begin(), peer.groups.end());
  }
}

}  // namespace tollgate::policy
