#include "policy/policy.h"

#include <algorithm>
#include <utility>

#include "policy/visible.h"
#include "userspace/base/result.h"

namespace tollgate::policy {
namespace {

constexpr size_t kModelsNamedMax = 8;  // a sentence, not a catalogue

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i == kModelsNamedMax) return text + " and " + std::to_string(names.size() - i) + " more";
    if (i > 0) text += ", ";
    text += names[i];
  }
  return text;
}

// Models in any order are the same selection.
std::string series_of(const Limit& limit, std::vector<std::string> models) {
  std::sort(models.begin(), models.end());
  std::string series(to_string(limit.per));
  series += " ";
  series += to_string(limit.unit);
  if (limit.unit != LimitUnit::concurrent) series += " " + to_string(limit.window);
  for (const std::string& model : models)
    series += "\n" + model;
  return series;
}

}  // namespace

Policy::Policy(Parts parts) : parts_(std::move(parts)) {
  if (parts_.contact.empty()) parts_.contact = "ask the administrator of this gateway";
  for (Rule& rule : parts_.rules) {
    TG_ASSERT(find_provider(rule.provider) != nullptr);
    for (Limit& limit : rule.limits)
      limit.series = series_of(limit, rule.models);
  }
  for (const Peer& peer : parts_.peers) {
    if (peer.tag.peer_id != 0) by_id_.emplace(peer.tag.peer_id, &peer);
    if (!peer.address.is_single()) {
      prefixes_.push_back(&peer);
      continue;
    }
    const auto [known, inserted] = by_address_.emplace(peer.address.address, &peer);
    if (!inserted) known->second = nullptr;
  }
  std::stable_sort(prefixes_.begin(), prefixes_.end(),
                   [](const Peer* a, const Peer* b) { return a->address.bits > b->address.bits; });
}

std::shared_ptr<const Policy> Policy::with_peers(std::vector<Peer> peers) const {
  Parts parts = parts_;
  parts.peers = std::move(peers);
  return std::make_shared<const Policy>(std::move(parts));
}

const Peer* Policy::peer_by_id(uint32_t peer_id) const {
  const auto found = by_id_.find(peer_id);
  return found == by_id_.end() ? nullptr : found->second;
}

const Peer* Policy::peer_by_tag(PeerTag tag) const {
  const Peer* peer = peer_by_id(tag.peer_id);
  return peer != nullptr && peer->tag == tag ? peer : nullptr;
}

const Peer* Policy::peer_by_address(const IpAddress& address) const {
  const auto found = by_address_.find(address);
  if (found != by_address_.end()) return found->second;
  // The longest prefix; two of that length that both hold the address are of two tunnels.
  const auto holds = [&](const Peer* peer) { return peer->address.contains(address); };
  const auto first = std::find_if(prefixes_.begin(), prefixes_.end(), holds);
  if (first == prefixes_.end()) return nullptr;
  const auto second = std::find_if(std::next(first), prefixes_.end(), holds);
  const bool alone = second == prefixes_.end() || (*second)->address.bits < (*first)->address.bits;
  return alone ? *first : nullptr;
}

Verdict Policy::decide(const Peer& peer, const Ask& ask) const {
  auto routed = route(peer, ask.model, ask.named_by);
  if (auto* refusal = std::get_if<Refusal>(&routed)) return std::move(*refusal);
  return allow(std::get<Route>(routed), ask.service_tier);
}

std::variant<Route, Refusal> Policy::route(const Peer& peer, std::string_view model,
                                           NamedBy named_by) const {
  if (peer.revoked) return revoked_refusal(peer, parts_.contact);
  if (const Rule* rule = find_rule(peer, model, named_by)) {
    const bool by_client = named_by == NamedBy::client;
    return Route{rule, std::string(by_client ? served_name(rule->guards, model) : model)};
  }
  const bool any_policy =
      std::any_of(parts_.rules.begin(), parts_.rules.end(),
                  [&](const Rule& candidate) { return applies(candidate, peer); });
  if (!any_policy) return deny_user(peer.user);
  return deny_model(peer, model);
}

std::vector<std::string> Policy::models_for(const Peer& peer) const {
  std::vector<std::string> names;
  if (peer.revoked) return names;
  for (const ModelPrice& price : parts_.prices.models())
    names.push_back(price.model);
  for (const Rule& rule : parts_.rules) {
    for (const auto& [asked, served] : rule.guards.alias)
      names.push_back(asked);
    if (!rule.guards.force_model.empty()) names.push_back(rule.guards.force_model);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  names.erase(std::remove_if(names.begin(), names.end(),
                             [&](const std::string& name) { return !lists(peer, name); }),
              names.end());
  return names;
}

// Where every name is served as one model, only that one is worth telling.
bool Policy::lists(const Peer& peer, std::string_view name) const {
  const Rule* rule = find_rule(peer, name, NamedBy::client);
  if (rule == nullptr) return false;
  const std::string& forced = rule->guards.force_model;
  return (forced.empty() || forced == name) &&
         parts_.prices.find(served_name(rule->guards, name)) != nullptr;
}

bool Policy::websocket_for(const Peer& peer) const {
  return !peer.revoked &&
         std::any_of(parts_.rules.begin(), parts_.rules.end(),
                     [&](const Rule& rule) { return rule.websocket && applies(rule, peer); });
}

std::vector<Binding> Policy::bindings(const Peer& peer, std::string_view model) const {
  std::vector<Binding> found;
  for (const Rule& rule : parts_.rules) {
    if (rule.limits.empty() || !applies(rule, peer) || !matches_any(rule.models, model)) continue;
    for (const Limit& limit : rule.limits) {
      if (limit.per == LimitScope::user) {
        found.push_back({&limit, &rule, peer.user});
        continue;
      }
      for (const std::string& group : peer.groups) {
        if (std::find(rule.groups.begin(), rule.groups.end(), group) != rule.groups.end()) {
          found.push_back({&limit, &rule, group});
        }
      }
    }
  }
  return found;
}

bool Policy::applies(const Rule& rule, const Peer& peer) const {
  return std::any_of(rule.groups.begin(), rule.groups.end(), [&](const std::string& group) {
    return std::find(peer.groups.begin(), peer.groups.end(), group) != peer.groups.end();
  });
}

const Rule* Policy::find_rule(const Peer& peer, std::string_view model, NamedBy named_by) const {
  for (const Rule& rule : parts_.rules) {
    const bool may_be_asked = named_by == NamedBy::client && renames(rule.guards, model);
    if (applies(rule, peer) && (may_be_asked || matches_any(rule.models, model))) return &rule;
  }
  return nullptr;
}

Verdict Policy::allow(const Route& route, std::string_view service_tier) const {
  const Rule& rule = *route.rule;
  const Gatekeeper gates{rule.guards, rule.name, parts_.contact};
  if (auto refusal = gates.tier(service_tier)) return *std::move(refusal);
  const ModelPrice* price = parts_.prices.find(route.served_model);
  if (price == nullptr) {
    return Refusal{RefusalCode::price_unknown,
                   "Model " + visible(route.served_model) + " is allowed by policy " + rule.name +
                       " but has no price, so it cannot be metered. The price file needs an entry "
                       "\"model\": \"" +
                       visible(route.served_model) + "\"; " + parts_.contact + ".",
                   "model"};
  }
  const std::string_view tier = effective_tier(service_tier);
  if (price->tiers.find(tier) == price->tiers.end()) {
    return Refusal{RefusalCode::price_unknown,
                   "Service tier " + visible(tier) + " of model " + price->model +
                       " has no price, so it cannot be metered. The price file needs \"" +
                       visible(tier) + "\" under \"tiers\" of " + price->model + "; " +
                       parts_.contact + ".",
                   "service_tier"};
  }
  return Allowed{&rule, find_provider(rule.provider), price, route.served_model};
}

Refusal Policy::deny_user(std::string_view user) const {
  return {RefusalCode::policy_none,
          visible(user) + " is in no group that a policy names; " + parts_.contact + ".", ""};
}

Refusal Policy::deny_model(const Peer& peer, std::string_view model) const {
  const std::vector<std::string> allowed = models_for(peer);
  std::string message = "Model " + visible(model) + " is not allowed for ";
  message += peer.groups.size() == 1 ? "group " : "groups ";
  message += joined(peer.groups);
  message += ". Allowed: " + (allowed.empty() ? "no model that has a price" : joined(allowed));
  message += ". For more, " + parts_.contact + ".";
  return {RefusalCode::model_denied, std::move(message), "model"};
}

const Provider* Policy::find_provider(std::string_view name) const {
  for (const Provider& provider : parts_.providers) {
    if (provider.name == name) return &provider;
  }
  return nullptr;
}

Peer Policy::peer_of(std::string_view user) const {
  Peer peer;
  peer.user = user;
  for (const Group& group : parts_.groups) {
    if (std::find(group.members.begin(), group.members.end(), user) != group.members.end()) {
      peer.groups.push_back(group.name);
    }
  }
  std::sort(peer.groups.begin(), peer.groups.end());
  for (const Peer& machine : parts_.peers) {
    if (machine.user != user) continue;
    peer.revoked = machine.revoked;
    peer.revoked_why = machine.revoked_why;
    if (!machine.revoked) break;
  }
  return peer;
}

Refusal revoked_refusal(const Peer& peer, const std::string& contact) {
  const std::string why = peer.revoked_why.empty() ? "" : " (" + peer.revoked_why + ")";
  return {RefusalCode::access_revoked,
          "Access of " + visible(peer.user) + " was revoked by an administrator" + why + "; " +
              contact + ".",
          {}};
}

bool matches_any(const std::vector<std::string>& patterns, std::string_view text) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return glob_match(pattern, text); });
}

bool glob_match(std::string_view pattern, std::string_view text) {
  size_t at = 0;
  size_t in_text = 0;
  size_t star = pattern.npos;  // the last '*', and where in the text it stopped eating
  size_t star_text = 0;
  while (in_text < text.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      star_text = in_text;
    } else if (at < pattern.size() && (pattern[at] == '?' || pattern[at] == text[in_text])) {
      ++at;
      ++in_text;
    } else if (star != pattern.npos) {
      at = star + 1;
      in_text = ++star_text;
    } else {
      return false;
    }
  }
  while (at < pattern.size() && pattern[at] == '*')
    ++at;
  return at == pattern.size();
}

}  // namespace tollgate::policy
