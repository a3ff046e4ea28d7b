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

}  // namespace

void check_references(Draft& draft, Problems& problems) {
  Config& config = draft.config;
  check_names(draft.rule_groups, config.groups, "group", problems);
  check_names(draft.rule_providers, config.providers, "provider", problems);
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
