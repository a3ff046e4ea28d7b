#include "tests/unit/policy/config_text.h"

namespace tollgate::policy {
namespace {

// The rule of kMinimal, which allows gpt-5.*, with more lines.
std::string with(const std::string& lines) {
  return kMinimal + lines + "\n";
}

Rule rule_of(const std::string& lines) {
  const auto parsed = parse_config(with(lines));
  EXPECT_EQ(told(with(lines)), "");
  const auto* config = std::get_if<Config>(&parsed);
  return config == nullptr ? Rule{} : config->rules.at(0);
}

TEST(ParseGuards, LeavesEverythingAsItIsWithoutTheKeys) {
  const Rule rule = rule_of("");
  EXPECT_TRUE(rule.guards.alias.empty());
  EXPECT_EQ(rule.guards.force_model, "");
  EXPECT_EQ(rule.guards.reasoning_effort_max, std::nullopt);
  EXPECT_EQ(rule.guards.max_input_bytes, 0u);
  EXPECT_EQ(rule.guards.service_tiers, std::nullopt);
  EXPECT_EQ(rule.guards.hosted_tools, std::nullopt);
  EXPECT_EQ(rule.guards.store, Store::forward);
  EXPECT_EQ(rule.guards.turn_metadata, TurnMetadata::forward);
  EXPECT_FALSE(rule.websocket);
}

TEST(ParseGuards, ReadsEachKey) {
  const Rule rule = rule_of(R"(alias = { "auto" = "gpt-5.4", "gpt-9" = "gpt-5.5" }
force_model = "gpt-5.6-luna"
reasoning_effort_max = "high"
max_input_bytes = 500000
service_tiers = ["default", "flex", "priority"]
hosted_tools = ["web_search"]
store = "off"
turn_metadata = "hash"
websocket = true)");
  const std::map<std::string, std::string, std::less<>> aliases = {{"auto", "gpt-5.4"},
                                                                   {"gpt-9", "gpt-5.5"}};
  EXPECT_EQ(rule.guards.alias, aliases);
  EXPECT_EQ(rule.guards.force_model, "gpt-5.6-luna");
  EXPECT_EQ(rule.guards.reasoning_effort_max, Effort::high);
  EXPECT_EQ(rule.guards.max_input_bytes, 500'000u);
  EXPECT_EQ(rule.guards.service_tiers, (std::vector<std::string>{"default", "flex", "priority"}));
  EXPECT_EQ(rule.guards.hosted_tools, std::vector<std::string>{"web_search"});
  EXPECT_EQ(rule.guards.store, Store::off);
  EXPECT_EQ(rule.guards.turn_metadata, TurnMetadata::hash);
  EXPECT_TRUE(rule.websocket);
  EXPECT_EQ(rule_of("hosted_tools = []").guards.hosted_tools, std::vector<std::string>{});
  EXPECT_EQ(rule_of("turn_metadata = \"strip\"").guards.turn_metadata, TurnMetadata::strip);
}

TEST(ParseGuards, ReadsWhetherAProviderSpeaksWebSocket) {
  for (const bool speaks : {false, true}) {
    const std::string line = speaks ? "\nwebsocket = true" : "";
    const auto parsed =
        parse_config(replaced(kMinimal, "name = \"openai\"", "name = \"openai\"" + line));
    EXPECT_EQ(std::get<Config>(parsed).providers.at(0).websocket, speaks);
  }
}

TEST(ParseGuards, SaysLineKeyAndRemedyOfEachMistake) {
  struct Row {
    const char* description;
    const char* line;
    const char* says;
  };
  const Row rows[] = {
      {"alias of a list", "alias = [\"a\"]",
       "policy[0].alias: is a list, not a table of texts; write alias = { \"auto\" ="},
      {"alias to a number", "alias = { \"auto\" = 5 }",
       "policy[0].alias.auto: is a number, not a text"},
      {"alias to a model outside models", "alias = { \"auto\" = \"gpt-6-luna\" }",
       "policy[0].alias: serves \"gpt-6-luna\", which models of this policy does not allow; add "
       "it"},
      {"alias to a glob", "alias = { \"auto\" = \"gpt-5.*\" }", "\"gpt-5.*\" is no model"},
      {"alias of a glob", "alias = { \"gpt-*\" = \"gpt-5.5\" }",
       "\"gpt-*\" is no name that a client could ask for; write one name"},
      {"alias of nothing", "alias = { \"\" = \"gpt-5.5\" }", "is no name that a client"},
      {"alias of an alias", "alias = { \"auto\" = \"gpt-5.4\", \"gpt-5.4\" = \"gpt-5.5\" }",
       "\"auto\" serves \"gpt-5.4\", itself an alias; write the model that is served in the end"},
      {"alias of itself", "alias = { \"gpt-5.5\" = \"gpt-5.5\" }", "itself an alias"},
      {"forced model outside models", "force_model = \"gpt-6-luna\"",
       "policy[0].force_model: serves \"gpt-6-luna\", which models"},
      {"forced glob", "force_model = \"*\"", "policy[0].force_model: \"*\" is no model"},
      {"forced empty", "force_model = \"\"", "policy[0].force_model: \"\" is no model"},
      {"unknown effort", "reasoning_effort_max = \"ultra\"",
       "policy[0].reasoning_effort_max: \"ultra\" is no effort; write \"none\" or \"minimal\" or "
       "\"low\" or \"medium\" or \"high\" or \"xhigh\" or \"max\""},
      {"no input at all", "max_input_bytes = 0", "policy[0].max_input_bytes: 0 is out of range"},
      {"unknown tier", "service_tiers = [\"fast\"]",
       "policy[0].service_tiers: \"fast\" is no service tier; write \"default\", \"flex\" or"},
      {"tier of many names", "service_tiers = [\"auto\"]", "\"auto\" is no service tier"},
      {"no tier", "service_tiers = []", "policy[0].service_tiers: names no tier"},
      {"tool with a space", "hosted_tools = [\"web search\"]",
       "policy[0].hosted_tools: \"web search\" is no tool; write its type"},
      {"store of a boolean", "store = false", "policy[0].store: is true or false, not a text"},
      {"unknown store", "store = \"never\"", "write \"forward\" or \"off\""},
      {"unknown metadata", "turn_metadata = \"drop\"",
       "write \"forward\" or \"strip\" or \"hash\""},
      {"websocket of a text", "websocket = \"yes\"", "policy[0].websocket: is a text"},
  };
  for (const Row& row : rows) {
    const std::string all = told(with(row.line));
    EXPECT_NE(all.find(row.says), std::string::npos) << row.description << ":\n" << all;
    EXPECT_EQ(all.find("f:18: "), 0u) << row.description << ":\n" << all;
  }
}

}  // namespace
}  // namespace tollgate::policy
