// The same gates as Policy::decide, told one by one. The verdict comes from decide itself, so that
// an explanation cannot disagree with what happens to a request.
#include <algorithm>

#include "policy/policy.h"
#include "policy/visible.h"

namespace tollgate::policy {
namespace {

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

Policy::Explanation::Step explain_rule(const Rule& rule, bool in_group, std::string_view model) {
  const std::string subject = "policy " + rule.name;
  if (!in_group) return {subject, false, "is for groups " + list(rule.groups) + " only"};
  if (model.empty()) return {subject, true, "allows models " + list(rule.models)};
  const Guards& guards = rule.guards;
  if (!guards.force_model.empty()) {
    return {subject, true, "serves " + guards.force_model + " whatever is asked (force_model)"};
  }
  if (const auto alias = guards.alias.find(model); alias != guards.alias.end()) {
    return {subject, true, "model " + visible(model) + " is an alias of " + alias->second};
  }
  for (const std::string& pattern : rule.models) {
    if (glob_match(pattern, model)) {
      return {subject, true, "model " + visible(model) + " matches " + pattern};
    }
  }
  return {subject, false, "model " + visible(model) + " does not match " + list(rule.models)};
}

// What the policy that wins does to the inside of requests, one step for each key that is set.
void explain_guards(const Rule& rule, std::vector<Policy::Explanation::Step>& steps) {
  const Guards& guards = rule.guards;
  const auto say = [&](const char* key, std::string reason) {
    steps.push_back({key, true, std::move(reason)});
  };
  if (guards.max_input_bytes != 0) {
    say("max_input_bytes",
        "a body over " + std::to_string(guards.max_input_bytes) + " bytes is refused");
  }
  if (guards.service_tiers)
    say("service_tiers", "other than " + list(*guards.service_tiers) + " is refused");
  if (guards.hosted_tools) {
    say("hosted_tools", "allowed: " + list(*guards.hosted_tools) + "; any other is refused");
  }
  if (guards.reasoning_effort_max) {
    say("reasoning_effort_max",
        "a higher effort becomes " + std::string(to_string(*guards.reasoning_effort_max)));
  }
  if (rule.max_output_tokens != 0) {
    say("max_output_tokens", std::to_string(rule.max_output_tokens) +
                                 " is written where a request asks for more or names none");
  }
  if (guards.store == Store::off) say("store", "the provider is told to keep no answer");
  if (guards.turn_metadata != TurnMetadata::forward) {
    say("turn_metadata", guards.turn_metadata == TurnMetadata::strip
                             ? "paths, remotes and commits are not forwarded"
                             : "paths, remotes and commits are forwarded as hashes");
  }
  if (rule.websocket) say("websocket", "clients may use WebSocket");
}

}  // namespace

Policy::Explanation Policy::explain(std::string_view user, std::string_view model) const {
  const Peer subject = peer_of(user);
  const auto known = std::find_if(parts_.peers.begin(), parts_.peers.end(),
                                  [&](const Peer& peer) { return peer.user == user; });
  const bool has_peer = known != parts_.peers.end();

  std::vector<Explanation::Step> steps;
  steps.push_back({"peer", has_peer,
                   has_peer ? "connects from " + to_string(known->address)
                            : "no [[peer]] has the user " + visible(user)});
  for (const Peer& peer : parts_.peers) {
    if (peer.user != user || !peer.revoked) continue;
    const std::string why = peer.revoked_why.empty() ? "" : ": " + peer.revoked_why;
    steps.push_back({"access", false, "revoked at " + to_string(peer.address) + why});
  }
  steps.push_back({"groups", !subject.groups.empty(), list(subject.groups)});
  for (const Rule& rule : parts_.rules) {
    steps.push_back(explain_rule(rule, applies(rule, subject), model));
  }
  if (!model.empty()) {
    const Rule* rule = find_rule(subject, model, NamedBy::client);
    const std::string served(rule == nullptr ? model : served_name(rule->guards, model));
    if (rule != nullptr) explain_guards(*rule, steps);
    const ModelPrice* price = parts_.prices.find(served);
    steps.push_back({"price", price != nullptr,
                     price == nullptr ? "no entry for " + visible(served) + " in the price file"
                                      : "entry " + price->model + " of " + price->date});
  }
  if (!has_peer) {
    return {std::move(steps),
            Refusal{RefusalCode::peer_unknown,
                    visible(user) + " has no peer address on this gateway; " + parts_.contact + ".",
                    ""}};
  }
  Verdict verdict = decide(subject, Ask{model, ""});
  const auto* refusal = std::get_if<Refusal>(&verdict);
  if (model.empty() && (refusal == nullptr || refusal->code == RefusalCode::model_denied)) {
    verdict = Refusal{RefusalCode::model_missing,
                      "Name a model to get a verdict. Allowed: " + list(models_for(subject)) + ".",
                      "model"};
  }
  return {std::move(steps), std::move(verdict)};
}

}  // namespace tollgate::policy
