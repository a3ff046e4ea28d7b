#include "policy/guards.h"

#include <gtest/gtest.h>

namespace tollgate::policy {
namespace {

const std::string kPolicy = "engineering";
const std::string kContact = "ask #ai-platform";

std::string message(const std::optional<Refusal>& refusal) {
  return refusal ? refusal->message : "passes";
}

TEST(Effort, IsReadInItsOrder) {
  std::optional<Effort> before;
  for (const char* name : {"none", "minimal", "low", "medium", "high", "xhigh", "max"}) {
    const auto effort = parse_effort(name);
    ASSERT_TRUE(effort) << name;
    EXPECT_EQ(to_string(*effort), name);
    EXPECT_TRUE(!before || *before < *effort) << name;
    before = effort;
  }
  for (const char* name : {"", "High", "ultra", "high "})
    EXPECT_EQ(parse_effort(name), std::nullopt) << name;
}

TEST(Guards, LowerOnlyWhatIsAboveTheCap) {
  struct Row {
    const char* description;
    std::optional<Effort> cap;
    const char* asked;
    std::optional<Effort> written;
  };
  const Row rows[] = {
      {"no cap", std::nullopt, "max", std::nullopt},
      {"below", Effort::high, "medium", std::nullopt},
      {"equal", Effort::high, "high", std::nullopt},
      {"above", Effort::high, "xhigh", Effort::high},
      {"far above", Effort::none, "max", Effort::none},
      {"absent, which is medium, under medium", Effort::medium, "", std::nullopt},
      {"absent, which is medium, under low", Effort::low, "", Effort::low},
  };
  for (const Row& row : rows) {
    Guards guards;
    guards.reasoning_effort_max = row.cap;
    EXPECT_EQ(lowered_effort(guards, row.asked), row.written) << row.description;
  }
}

TEST(Guards, RefuseAnEffortThatCannotBeCompared) {
  Guards guards;
  const Gatekeeper gates{guards, kPolicy, kContact};
  EXPECT_EQ(message(gates.effort("ultra")), "passes") << "without a cap";
  guards.reasoning_effort_max = Effort::high;
  EXPECT_EQ(message(gates.effort("")), "passes");
  EXPECT_EQ(message(gates.effort("max")), "passes") << "it is lowered";
  EXPECT_EQ(message(gates.effort("ultra")),
            "Reasoning effort ultra is unknown to this gateway, and policy engineering allows at "
            "most high. In Codex choose another with /model, or model_reasoning_effort in "
            "config.toml; for more, ask #ai-platform.");
}

TEST(Guards, RefuseABodyAboveTheBoundAndNotAtIt) {
  Guards guards;
  const Gatekeeper gates{guards, kPolicy, kContact};
  EXPECT_EQ(message(gates.size(1ull << 40)), "passes") << "without a bound";
  guards.max_input_bytes = 1000;
  EXPECT_EQ(message(gates.size(1000)), "passes");
  ASSERT_TRUE(gates.size(1001));
  EXPECT_EQ(gates.size(1001)->code, RefusalCode::input_over_policy);
  EXPECT_EQ(message(gates.size(1001)),
            "The request's input size is 1001 bytes; policy engineering allows 1000. Compact the "
            "conversation or begin a new one; for more, ask #ai-platform.");
}

TEST(Guards, SayHowToDoWithoutATier) {
  Guards guards;
  guards.service_tiers = {"default", "flex"};
  const Gatekeeper gates{guards, kPolicy, kContact};
  EXPECT_EQ(message(gates.tier("flex")), "passes");
  EXPECT_EQ(message(gates.tier("priority")),
            "Service tier priority is not allowed by policy engineering. Allowed: default, flex. "
            "In Codex turn Fast off (/fast, or remove service_tier from config.toml); for more, "
            "ask #ai-platform.");
  guards.service_tiers = {"priority"};
  EXPECT_NE(message(gates.tier("flex")).find("Leave service_tier out"), std::string::npos);
}

TEST(Guards, KnowAToolWithADateByItsName) {
  struct Row {
    const char* description;
    std::optional<std::vector<std::string>> listed;
    const char* asked;
    bool passes;
  };
  const Row rows[] = {
      {"no list", std::nullopt, "web_search", true},
      {"an empty list", {{}}, "web_search", false},
      {"listed", {{"web_search"}}, "web_search", true},
      {"listed, with a date", {{"web_search"}}, "web_search_2025_08_26", true},
      {"another of that beginning", {{"web_search"}}, "web_search_preview", false},
      {"the date is listed", {{"web_search_2025_08_26"}}, "web_search_2025_08_26", true},
      {"only the date is listed", {{"web_search_2025_08_26"}}, "web_search", false},
      {"unheard of", {{"web_search"}}, "something_new", false},
  };
  for (const Row& row : rows) {
    Guards guards;
    guards.hosted_tools = row.listed;
    const Gatekeeper gates{guards, kPolicy, kContact};
    EXPECT_EQ(!gates.tool(row.asked), row.passes) << row.description;
  }
  Guards guards;
  guards.hosted_tools.emplace();
  const Gatekeeper gates{guards, kPolicy, kContact};
  EXPECT_EQ(message(gates.tool("web_search")),
            "The hosted tool web_search is not allowed by policy engineering. Allowed: none. In "
            "Codex write web_search = \"disabled\" at the top of config.toml; for more, ask "
            "#ai-platform.");
}

}  // namespace
}  // namespace tollgate::policy
