#include "policy/parse_internal.h"

namespace tollgate::policy {
namespace {

constexpr uint64_t kMaxOutputTokensMax = 10'000'000;  // far above what any model writes at once

}  // namespace

void parse_rule(TomlReader& reader, Draft& draft, std::set<std::string>& names) {
  Rule rule;
  rule.name = read_name(reader, "\"engineering-codex\"", names);
  for (Located& group : reader.texts("groups", "[\"engineering\"]")) {
    rule.groups.push_back(group.text);
    draft.rule_groups.push_back(std::move(group));
  }
  if (rule.groups.empty()) {
    reader.problem("groups", "names no group, so the policy is for nobody",
                   "write groups = [\"engineering\"]");
  }
  rule.provider = reader.required_text("provider", "\"openai\"");
  if (!rule.provider.empty()) {
    draft.rule_providers.push_back(
        {rule.provider, reader.line_of("provider"), reader.path_of("provider")});
  }
  for (Located& model : reader.texts("models", "[\"gpt-5.*\"]")) {
    rule.models.push_back(std::move(model.text));
  }
  if (rule.models.empty()) {
    reader.problem("models", "names no model, so the policy allows nothing",
                   "write models = [\"gpt-5.*\"]");
  }
  parse_choice(reader, "hold", {{"typical", HoldMode::typical}, {"strict", HoldMode::strict}},
               rule.hold);
  rule.max_output_tokens =
      reader.number("max_output_tokens", 1, kMaxOutputTokensMax).value_or(rule.max_output_tokens);
  parse_choice(reader, "on_client_abort",
               {{"cancel", OnClientAbort::cancel}, {"drain", OnClientAbort::drain}},
               rule.on_client_abort);
  rule.websocket = reader.flag("websocket").value_or(false);
  parse_guards(reader, rule);
  parse_policy_limits(reader, draft, rule);
  reader.finish();
  draft.config.rules.push_back(std::move(rule));
}

}  // namespace tollgate::policy
