// Admission by what a policy says about the inside of requests.
#include "tests/unit/proxy/admit_for_tests.h"

namespace tollgate::proxy {
namespace {

using policy::RefusalCode;

using Changes = std::vector<std::pair<std::string, std::string>>;

Changes changes_of(const Admission& admission) {
  Changes changes;
  for (const codec::FieldChange& field : admission.changes)
    changes.emplace_back(field.key, field.edit ? "edited" : field.value);
  return changes;
}

TEST(Admit, AnAliasWritesTheServedModelAndTakesItsTier) {
  policy::Policy::Parts parts = parts_for_tests();
  parts.rules[0].models = {"gpt-b"};
  parts.rules[0].guards.alias = {{"auto", "gpt-b"}};
  World world(parts);
  const Admission admission = admitted(world, asking_for("auto"));
  EXPECT_EQ(admission.served_model, "gpt-b");
  EXPECT_EQ(changes_of(admission), (Changes{{"model", "\"gpt-b\""}}));
  EXPECT_EQ(admission.hold.cost.value, 5 * kHoldCost) << "at the served model's price";
  EXPECT_TRUE(admitted(world, asking_for("gpt-b")).changes.empty());
  EXPECT_EQ(denied(world, asking_for("automatic")).refusal.code, RefusalCode::model_denied);
  codec::RequestFacts fast = asking_for("auto");
  fast.service_tier = "priority";
  EXPECT_EQ(changes_of(admitted(world, fast)),
            (Changes{{"model", "\"gpt-b\""}, {"service_tier", "\"default\""}}));
  parts.rules[0].guards.service_tiers = {"default"};
  World listed(parts);
  EXPECT_EQ(denied(listed, fast).refusal.param, "service_tier")
      << "it asked for what is not listed";
}

TEST(Admit, AForcedModelStepsDownAsALimitSays) {
  policy::Policy::Parts parts = parts_with(downgrading(1));
  parts.rules[0].guards.force_model = "gpt-b";
  World world(std::move(parts));
  use_up(world);
  const Admission admission = admitted(world, asking_for("claude"));
  EXPECT_EQ(admission.served_model, "gpt-a");
  EXPECT_EQ(changes_of(admission), (Changes{{"model", "\"gpt-a\""}}));
}

TEST(Admit, WritesEachGuardUnderTheNameOfTheInterface) {
  struct Row {
    const char* description;
    BodyForm form;
    Changes changes;
  };
  const Row rows[] = {
      {"responses",
       {},
       {{"max_output_tokens", "1500"}, {"reasoning.effort", "\"low\""}, {"store", "false"}}},
      {"compaction, which knows few fields", {codec::Api::responses, true}, {}},
      {"a chat, which is not kept by default",
       {codec::Api::chat_completions, false},
       {{"max_completion_tokens", "1500"},
        {"max_tokens", "edited"},
        {"reasoning_effort", "\"low\""}}},
      {"embeddings", {codec::Api::embeddings, false}, {}},
      {"images", {codec::Api::images, false}, {}},
  };
  policy::Policy::Parts parts = parts_for_tests();
  parts.rules[0].max_output_tokens = 1'500;
  parts.rules[0].guards.reasoning_effort_max = policy::Effort::low;
  parts.rules[0].guards.store = policy::Store::off;
  World world(std::move(parts));
  const codec::RequestFacts facts = asking_for("gpt-a");
  for (const Row& row : rows) {
    AdmitAsk ask = ask_in(world, facts);
    ask.form = row.form;
    const auto verdict = admit(ask);
    EXPECT_EQ(changes_of(std::get<Admission>(verdict)), row.changes) << row.description;
  }
  codec::RequestFacts explicit_facts = facts;
  explicit_facts.reasoning_effort = "high";
  explicit_facts.store = true;
  AdmitAsk compaction = ask_in(world, explicit_facts);
  compaction.form.compact = true;
  EXPECT_EQ(changes_of(std::get<Admission>(admit(compaction))),
            (Changes{{"reasoning.effort", "\"low\""}, {"store", "false"}}));
}

TEST(Admit, ChangesNothingThatIsWithinTheGuards) {
  policy::Policy::Parts parts = parts_for_tests();
  policy::Guards& guards = parts.rules[0].guards;
  guards.reasoning_effort_max = policy::Effort::high;
  guards.store = policy::Store::off;
  guards.max_input_bytes = kBodyBytes;
  guards.service_tiers = {"default"};
  guards.hosted_tools = {"web_search"};
  World world(std::move(parts));
  codec::RequestFacts facts = asking_for("gpt-a");
  facts.reasoning_effort = "high";
  facts.store = false;
  facts.hosted_tools = {"web_search"};
  EXPECT_EQ(changes_of(admitted(world, facts)), Changes{});
}

TEST(Admit, RefusesWhatIsOutsideTheGuardsAndHoldsNothing) {
  struct Row {
    const char* description;
    void (*set)(policy::Guards&);
    void (*ask)(codec::RequestFacts&);
    RefusalCode code;
    const char* param;
  };
  const Row rows[] = {
      {"size", [](policy::Guards& guards) { guards.max_input_bytes = kBodyBytes - 1; },
       [](codec::RequestFacts&) {}, RefusalCode::input_over_policy, "input"},
      {"tool", [](policy::Guards& guards) { guards.hosted_tools.emplace(); },
       [](codec::RequestFacts& facts) { facts.hosted_tools = {"web_search"}; },
       RefusalCode::feature_denied, "tools"},
      {"a listed tool without a price",
       [](policy::Guards& guards) { guards.hosted_tools = {"file_search"}; },
       [](codec::RequestFacts& facts) { facts.hosted_tools = {"file_search"}; },
       RefusalCode::price_unknown, "tools"},
      {"tier", [](policy::Guards& guards) { guards.service_tiers = {"default"}; },
       [](codec::RequestFacts& facts) { facts.service_tier = "priority"; },
       RefusalCode::feature_denied, "service_tier"},
      {"effort", [](policy::Guards& guards) { guards.reasoning_effort_max = policy::Effort::high; },
       [](codec::RequestFacts& facts) { facts.reasoning_effort = "ultra"; },
       RefusalCode::feature_denied, "reasoning.effort"},
  };
  for (const Row& row : rows) {
    policy::Policy::Parts parts = parts_for_tests();
    row.set(parts.rules[0].guards);
    World world(std::move(parts));
    codec::RequestFacts facts = asking_for("gpt-a");
    row.ask(facts);
    const Denial denial = denied(world, facts);
    EXPECT_EQ(denial.refusal.code, row.code) << row.description;
    EXPECT_EQ(denial.refusal.param, row.param) << row.description;
    EXPECT_EQ(world.holds_open(), 0u) << row.description;
  }
}

TEST(Admit, SaysHowTheHeadAndTheBodyTellWhereADeveloperWorks) {
  policy::Policy::Parts parts = parts_for_tests();
  parts.rules[0].guards.turn_metadata = policy::TurnMetadata::strip;
  World world(std::move(parts));
  const Admission admission = admitted(world, asking_for("gpt-a"));
  EXPECT_EQ(changes_of(admission), (Changes{{"client_metadata", "edited"}}));
  EXPECT_EQ(admission.metadata.mode, policy::TurnMetadata::strip);
}

}  // namespace
}  // namespace tollgate::proxy
