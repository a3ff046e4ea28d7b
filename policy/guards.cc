#include "policy/guards.h"

#include <algorithm>
#include <array>

#include "policy/price.h"
#include "policy/visible.h"

namespace tollgate::policy {
namespace {

constexpr std::array<std::string_view, 7> kEfforts = {"none", "minimal", "low", "medium",
                                                      "high", "xhigh",   "max"};

bool lists(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

// What a developer does about it in Codex, which asks for these without being told to.
std::string_view tier_remedy(std::string_view tier) {
  if (tier != "priority") return "Leave service_tier out";
  return "In Codex turn Fast off (/fast, or remove service_tier from config.toml)";
}

std::string_view tool_remedy(std::string_view type) {
  if (!type.starts_with("web_search")) return "Send the request without it";
  return "In Codex write web_search = \"disabled\" at the top of config.toml";
}

}  // namespace

std::string_view to_string(Effort effort) {
  return kEfforts[static_cast<size_t>(effort)];
}

std::optional<Effort> parse_effort(std::string_view text) {
  const auto found = std::find(kEfforts.begin(), kEfforts.end(), text);
  if (found == kEfforts.end()) return std::nullopt;
  return static_cast<Effort>(found - kEfforts.begin());
}

bool renames(const Guards& guards, std::string_view asked) {
  return !guards.force_model.empty() || guards.alias.find(asked) != guards.alias.end();
}

std::string_view served_name(const Guards& guards, std::string_view asked) {
  if (!guards.force_model.empty()) return guards.force_model;
  const auto alias = guards.alias.find(asked);
  return alias == guards.alias.end() ? asked : std::string_view(alias->second);
}

std::optional<Refusal> Gatekeeper::size(uint64_t body_bytes) const {
  if (guards.max_input_bytes == 0 || body_bytes <= guards.max_input_bytes) return std::nullopt;
  return Refusal{RefusalCode::input_over_policy,
                 "The request's input size is " + std::to_string(body_bytes) + " bytes; policy " +
                     policy + " allows " + std::to_string(guards.max_input_bytes) +
                     ". Compact the conversation or begin a new one; for more, " + contact + ".",
                 "input"};
}

std::optional<Refusal> Gatekeeper::tier(std::string_view asked) const {
  const std::string_view tier = effective_tier(asked);
  if (!guards.service_tiers || lists(*guards.service_tiers, tier)) return std::nullopt;
  return Refusal{RefusalCode::feature_denied,
                 "Service tier " + visible(tier) + " is not allowed by policy " + policy +
                     ". Allowed: " + joined(*guards.service_tiers) + ". " +
                     std::string(tier_remedy(tier)) + "; for more, " + contact + ".",
                 "service_tier"};
}

std::optional<Refusal> Gatekeeper::tool(std::string_view type) const {
  if (!guards.hosted_tools || lists(*guards.hosted_tools, type) ||
      lists(*guards.hosted_tools, undated_tool(type))) {
    return std::nullopt;
  }
  return Refusal{RefusalCode::feature_denied,
                 "The hosted tool " + visible(type) + " is not allowed by policy " + policy +
                     ". Allowed: " + joined(*guards.hosted_tools) + ". " +
                     std::string(tool_remedy(type)) + "; for more, " + contact + ".",
                 "tools"};
}

std::optional<Refusal> Gatekeeper::effort(std::string_view asked) const {
  if (!guards.reasoning_effort_max || asked.empty() || parse_effort(asked)) return std::nullopt;
  return Refusal{RefusalCode::feature_denied,
                 "Reasoning effort " + visible(asked) + " is unknown to this gateway, and policy " +
                     policy + " allows at most " +
                     std::string(to_string(*guards.reasoning_effort_max)) +
                     ". In Codex choose another with /model, or model_reasoning_effort in "
                     "config.toml; for more, " +
                     contact + ".",
                 "reasoning.effort"};
}

std::optional<Effort> lowered_effort(const Guards& guards, std::string_view asked) {
  const Effort wanted = parse_effort(asked).value_or(kDefaultEffort);
  if (!guards.reasoning_effort_max || wanted <= *guards.reasoning_effort_max) return std::nullopt;
  return guards.reasoning_effort_max;
}

}  // namespace tollgate::policy
