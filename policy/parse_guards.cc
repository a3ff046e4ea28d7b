// The keys of [[policy]] about the inside of requests → Guards.
#include <algorithm>

#include "policy/parse_internal.h"

namespace tollgate::policy {
namespace {

constexpr uint64_t kMaxInputBytesMax = 1ull << 30;  // as limits.body_bytes_max can be
constexpr std::string_view kTierNames = "\"default\", \"flex\" or \"priority\"";

// One model that the policy allows, or a Problem that says why it is none.
bool check_served(TomlReader& reader, std::string_view key, const std::string& model,
                  const Rule& rule) {
  if (!is_name(model) || model.find_first_of("*?") != std::string::npos) {
    reader.problem(key, "\"" + model + "\" is no model",
                   "write the name of one model, like \"gpt-6-luna\"");
  } else if (!matches_any(rule.models, model)) {
    reader.problem(key, "serves \"" + model + "\", which models of this policy does not allow",
                   "add it to models, or name another model");
  } else {
    return true;
  }
  return false;
}

void read_alias(TomlReader& reader, Rule& rule) {
  const auto pairs = reader.pairs("alias", "{ \"auto\" = \"gpt-6-luna\" }");
  for (const TomlReader::Pair& pair : pairs) {
    const std::string& asked = pair.name;
    const std::string& served = pair.value.text;
    const bool again = std::any_of(pairs.begin(), pairs.end(), [&](const TomlReader::Pair& other) {
      return other.name == served;
    });
    if (!is_name(asked) || asked.find_first_of("*?") != std::string::npos) {
      reader.problem("alias", "\"" + asked + "\" is no name that a client could ask for",
                     "write one name for each alias, like \"auto\"");
    } else if (again) {
      reader.problem("alias", "\"" + asked + "\" serves \"" + served + "\", itself an alias",
                     "write the model that is served in the end");
    } else if (check_served(reader, "alias", served, rule)) {
      rule.guards.alias.emplace(asked, served);
    }
  }
}

void read_force_model(TomlReader& reader, Rule& rule) {
  const auto model = reader.text("force_model");
  if (model && check_served(reader, "force_model", *model, rule)) rule.guards.force_model = *model;
}

void read_effort(TomlReader& reader, Rule& rule) {
  const auto text = reader.text("reasoning_effort_max");
  if (!text) return;
  rule.guards.reasoning_effort_max = parse_effort(*text);
  if (rule.guards.reasoning_effort_max) return;
  std::string remedy;
  for (auto effort = Effort::none; effort <= Effort::max;
       effort = static_cast<Effort>(static_cast<int>(effort) + 1)) {
    remedy += (remedy.empty() ? "write \"" : " or \"") + std::string(to_string(effort)) + "\"";
  }
  reader.problem("reasoning_effort_max", "\"" + *text + "\" is no effort", std::move(remedy));
}

void read_tiers(TomlReader& reader, Rule& rule) {
  const bool present = reader.has("service_tiers");
  std::vector<std::string> tiers;
  for (Located& tier : reader.texts("service_tiers", "[\"default\"]")) {
    const bool known = tier.text == "default" || tier.text == "flex" || tier.text == "priority";
    if (!known) {
      reader.problem("service_tiers", "\"" + tier.text + "\" is no service tier",
                     "write " + std::string(kTierNames));
    }
    tiers.push_back(std::move(tier.text));
  }
  if (!present) return;
  if (tiers.empty()) {
    reader.problem("service_tiers", "names no tier, so the policy allows nothing",
                   "write service_tiers = [\"default\"]");
  }
  rule.guards.service_tiers = std::move(tiers);
}

void read_tools(TomlReader& reader, Rule& rule) {
  const bool present = reader.has("hosted_tools");
  std::vector<std::string> tools;
  for (Located& tool : reader.texts("hosted_tools", "[\"web_search\"]")) {
    if (!is_name(tool.text)) {
      reader.problem("hosted_tools", "\"" + tool.text + "\" is no tool",
                     "write its type, like \"web_search\"");
    }
    tools.push_back(std::move(tool.text));
  }
  if (present) rule.guards.hosted_tools = std::move(tools);
}

}  // namespace

void parse_guards(TomlReader& reader, Rule& rule) {
  read_alias(reader, rule);
  read_force_model(reader, rule);
  read_effort(reader, rule);
  rule.guards.max_input_bytes =
      reader.number("max_input_bytes", 1, kMaxInputBytesMax).value_or(rule.guards.max_input_bytes);
  read_tiers(reader, rule);
  read_tools(reader, rule);
  parse_choice(reader, "store", {{"forward", Store::forward}, {"off", Store::off}},
               rule.guards.store);
  parse_choice(reader, "turn_metadata",
               {{"forward", TurnMetadata::forward},
                {"strip", TurnMetadata::strip},
                {"hash", TurnMetadata::hash}},
               rule.guards.turn_metadata);
}

}  // namespace tollgate::policy
