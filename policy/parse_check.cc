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

}  // namespace

void check_references(Draft& draft, Problems& problems) {
  Config& config = draft.config;
  check_names(draft.rule_groups, config.groups, "group", problems);
  check_names(draft.rule_providers, config.providers, "provider", problems);
  check_downgrades(draft, problems);
  std::map<std::pair<std::string, IpAddress>, uint32_t> first_lines;
  for (size_t i = 0; i < config.peers.size(); ++i) {
    Peer& peer = config.peers[i];
    // All zero is what a peer without a valid address is left with; that has its own Problem.
    if (peer.address != IpAddress{}) {
      const auto [first, inserted] =
          first_lines.emplace(std::pair(peer.tunnel, peer.address), draft.peer_lines[i]);
      if (!inserted) {
        problems.push_back(
            {draft.peer_lines[i], "peer[" + std::to_string(i) + "].address",
             to_string(peer.address) + " is also the peer of line " + std::to_string(first->second),
             "keep one [[peer]] for each address of a tunnel"});
      }
    }
    for (const Group& group : config.groups) {
      if (std::find(group.members.begin(), group.members.end(), peer.user) != group.members.end()) {
        peer.groups.push_back(group.name);
      }
    }
    std::sort(peer.groups.begin(), peer.groups.end());
  }
}

}  // namespace tollgate::policy
