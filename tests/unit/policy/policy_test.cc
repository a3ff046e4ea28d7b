#include "policy/policy.h"

#include <gtest/gtest.h>

#include "policy/visible.h"

namespace tollgate::policy {
namespace {

ModelPrice priced(const char* model, std::vector<const char*> tiers = {"default"}) {
  ModelPrice price;
  price.model = model;
  price.date = "2026-09-30";
  for (const char* tier : tiers)
    price.tiers[tier] = {1250, 125, 1250, 10'000};
  return price;
}

Peer peer(uint32_t id, const char* address, const char* user, std::vector<std::string> groups) {
  return {{id, 1}, *parse_ip(address), "wg0", user, std::move(groups)};
}

Policy::Parts example() {
  Policy::Parts parts;
  parts.contact = "ask #ai-platform";
  parts.providers = {{"openai", "https", "api.openai.com", 443, "/v1", "", {}, {}},
                     {"lab", "http", "127.0.0.1", 8080, "/v1", "", {}, {}}};
  parts.groups = {{"contractors", {"carol@example.com"}},
                  {"engineering", {"alice@example.com"}},
                  {"guests", {"dave@example.com"}}};
  parts.peers = {peer(1, "10.99.0.2", "alice@example.com", {"engineering"}),
                 peer(2, "10.99.0.3", "carol@example.com", {"contractors"}),
                 peer(3, "10.99.0.4", "eve@example.com", {}),
                 peer(4, "10.99.0.5", "dave@example.com", {"guests"})};
  parts.rules = {{"lab-first", {"engineering"}, "lab", {"gpt-5.5"}},
                 {"engineering", {"engineering"}, "openai", {"gpt-5.*", "o?"}},
                 {"contractors", {"contractors"}, "openai", {"gpt-5.6-luna", "gpt-7"}}};
  parts.prices = PriceTable("v1", {priced("gpt-5.5", {"default", "priority"}),
                                   priced("gpt-5.6-luna"), priced("gpt-5.4"), priced("zeta")});
  return parts;
}

const Refusal& refused(const Verdict& verdict) {
  return std::get<Refusal>(verdict);
}

TEST(GlobMatch, KnowsStarAndQuestionMarkOnly) {
  struct Row {
    const char* pattern;
    const char* text;
    bool matches;
  };
  const Row rows[] = {
      {"gpt-5.5", "gpt-5.5", true},
      {"gpt-5.5", "gpt-5x5", false},
      {"gpt-5.*", "gpt-5.5", true},
      {"gpt-5.*", "gpt-5.", true},
      {"gpt-5.*", "gpt-5", false},
      {"*", "", true},
      {"", "", true},
      {"", "a", false},
      {"?", "", false},
      {"o?", "o3", true},
      {"o?", "o3x", false},
      {"*mini", "o4-mini", true},
      {"*-mini*", "o4-min", false},
      {"a*b*c", "aXbYbZc", true},
      {"[a]", "a", false},
      {"gpt-5.*", "GPT-5.5", false},
      {"a**", "a", true},
      {"*a*a*a*b", "aaaaaaaaaaaa", false},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(glob_match(row.pattern, row.text), row.matches) << row.pattern << " " << row.text;
  }
}

TEST(Policy, FirstMatchingRuleInFileOrderWins) {
  const Policy policy(example());
  const Verdict verdict = policy.decide(policy.peers()[0], {"gpt-5.5", ""});
  const auto& allowed = std::get<Allowed>(verdict);
  EXPECT_EQ(allowed.rule->name, "lab-first");
  EXPECT_EQ(allowed.provider->name, "lab");
  EXPECT_EQ(allowed.price->model, "gpt-5.5");
  EXPECT_EQ(allowed.served_model, "gpt-5.5");
}

// engineering: gpt-5.5 and "auto" by alias; behind it a rule with gpt-5.4 alone.
Policy::Parts with_aliases() {
  Policy::Parts parts = example();
  parts.rules = {{"aliases", {"engineering"}, "openai", {"gpt-5.6-luna", "gpt-7"}},
                 {"plain", {"engineering", "contractors"}, "openai", {"gpt-5.5"}}};
  parts.rules[0].guards.alias = {
      {"auto", "gpt-5.6-luna"}, {"gpt-5.5", "gpt-5.6-luna"}, {"next", "gpt-7"}};
  return parts;
}

TEST(Policy, AnAliasIsAllowedAskedForAndServesAnother) {
  struct Row {
    const char* description;
    size_t peer;
    const char* asked;
    const char* rule;
    const char* served;
  };
  const Row rows[] = {
      {"an alias", 0, "auto", "aliases", "gpt-5.6-luna"},
      {"one that hides a model of a later rule", 0, "gpt-5.5", "aliases", "gpt-5.6-luna"},
      {"its target by its own name", 0, "gpt-5.6-luna", "aliases", "gpt-5.6-luna"},
      {"for whom the alias is not", 1, "gpt-5.5", "plain", "gpt-5.5"},
  };
  const Policy policy(with_aliases());
  for (const Row& row : rows) {
    const Verdict verdict = policy.decide(policy.peers()[row.peer], {row.asked, ""});
    const auto* allowed = std::get_if<Allowed>(&verdict);
    ASSERT_NE(allowed, nullptr) << row.description;
    EXPECT_EQ(allowed->rule->name, row.rule) << row.description;
    EXPECT_EQ(allowed->served_model, row.served) << row.description;
    EXPECT_EQ(allowed->price->model, row.served) << row.description;
  }
  EXPECT_EQ(refused(policy.decide(policy.peers()[1], {"auto", ""})).code,
            RefusalCode::model_denied);
  EXPECT_EQ(refused(policy.decide(policy.peers()[0], {"next", ""})).code,
            RefusalCode::price_unknown);
  EXPECT_EQ(policy.models_for(policy.peers()[0]),
            (std::vector<std::string>{"auto", "gpt-5.5", "gpt-5.6-luna"}));
  EXPECT_EQ(policy.models_for(policy.peers()[1]), std::vector<std::string>{"gpt-5.5"});
}

TEST(Policy, AForcedModelServesWhateverIsAsked) {
  Policy::Parts parts = with_aliases();
  parts.rules[0].guards.force_model = "gpt-5.6-luna";
  const Policy policy(std::move(parts));
  for (const char* asked : {"gpt-5.6-luna", "auto", "next", "claude"}) {
    const Verdict verdict = policy.decide(policy.peers()[0], {asked, ""});
    ASSERT_TRUE(std::holds_alternative<Allowed>(verdict)) << asked;
    EXPECT_EQ(std::get<Allowed>(verdict).served_model, "gpt-5.6-luna") << asked;
  }
  EXPECT_EQ(refused(policy.decide(policy.peers()[1], {"claude", ""})).code,
            RefusalCode::model_denied);
  EXPECT_EQ(policy.models_for(policy.peers()[0]), std::vector<std::string>{"gpt-5.6-luna"});
}

TEST(Policy, WhatTheGatewayNamesIsServedAsItIsOrNotAtAll) {
  Policy::Parts parts = with_aliases();
  parts.rules[0].guards.force_model = "gpt-5.6-luna";
  const Policy policy(std::move(parts));
  const auto named = [&](const char* model) {
    return policy.decide(policy.peers()[0], {model, "", NamedBy::gateway});
  };
  EXPECT_EQ(std::get<Allowed>(named("gpt-5.5")).served_model, "gpt-5.5");
  EXPECT_EQ(std::get<Allowed>(named("gpt-5.5")).rule->name, "plain");
  EXPECT_EQ(refused(named("auto")).code, RefusalCode::model_denied);
}

TEST(Policy, LimitsBindTheServedModel) {
  Policy::Parts parts = with_aliases();
  Limit limit;
  limit.amount = 1;
  for (Rule& rule : parts.rules)
    rule.limits = {limit};
  const Policy policy(std::move(parts));
  const auto bound = policy.bindings(policy.peers()[0], "gpt-5.6-luna");
  ASSERT_EQ(bound.size(), 1u);
  EXPECT_EQ(bound[0].rule->name, "aliases");
}

TEST(Policy, ATierThatIsNotListedIsRefusedAndNoneCountsAsDefault) {
  struct Row {
    std::optional<std::vector<std::string>> listed;
    const char* asked;
    bool passes;
  };
  const Row rows[] = {
      {{}, "priority", true},
      {{{"default"}}, "", true},
      {{{"default"}}, "auto", true},
      {{{"default"}}, "default", true},
      {{{"default"}}, "priority", false},
      {{{"priority"}}, "priority", true},
      {{{"priority"}}, "", false},
  };
  for (const Row& row : rows) {
    Policy::Parts parts = example();
    parts.rules[0].guards.service_tiers = row.listed;
    const Policy policy(std::move(parts));
    const Verdict verdict = policy.decide(policy.peers()[0], {"gpt-5.5", row.asked});
    EXPECT_EQ(std::holds_alternative<Allowed>(verdict), row.passes) << row.asked;
    if (row.passes) continue;
    EXPECT_EQ(refused(verdict).code, RefusalCode::feature_denied);
    EXPECT_EQ(refused(verdict).param, "service_tier");
  }
}

TEST(Policy, AWebSocketIsForPeersOfARuleThatAllowsOne) {
  Policy::Parts parts = example();
  EXPECT_FALSE(Policy(parts).websocket_for(parts.peers[0]));
  parts.rules[1].websocket = true;
  EXPECT_TRUE(Policy(parts).websocket_for(parts.peers[0]));
  EXPECT_FALSE(Policy(parts).websocket_for(parts.peers[1])) << "of another group";
  parts.peers[0].revoked = true;
  EXPECT_FALSE(Policy(parts).websocket_for(parts.peers[0]));
}

TEST(Policy, RefusesAModelWithASentenceThatNamesWhatIsAllowed) {
  const Policy policy(example());
  const Verdict verdict = policy.decide(policy.peers()[1], {"gpt-5.5", ""});
  EXPECT_EQ(refused(verdict).code, RefusalCode::model_denied);
  EXPECT_EQ(refused(verdict).param, "model");
  EXPECT_EQ(refused(verdict).message,
            "Model gpt-5.5 is not allowed for group contractors. Allowed: gpt-5.6-luna. For more, "
            "ask #ai-platform.");
}

TEST(Policy, DeniesARevokedPeerWithTheAdministratorsWords) {
  Policy::Parts parts = example();
  parts.peers[0].revoked = true;
  const auto message = [&](const char* why) {
    parts.peers[0].revoked_why = why;
    const Policy policy(parts);
    EXPECT_TRUE(policy.models_for(policy.peers()[0]).empty());
    EXPECT_FALSE(policy.models_for(policy.peers()[1]).empty()) << "the next one is as before";
    const Refusal refusal = refused(policy.decide(policy.peers()[0], {"gpt-5.5", ""}));
    EXPECT_EQ(refusal.code, RefusalCode::access_revoked);
    return refusal.message;
  };
  EXPECT_EQ(message(""),
            "Access of alice@example.com was revoked by an administrator; ask #ai-platform.");
  EXPECT_EQ(message("laptop lost"),
            "Access of alice@example.com was revoked by an administrator (laptop lost); ask "
            "#ai-platform.");
}

TEST(Policy, DeniesByDefault) {
  const Policy policy(example());
  for (const size_t index : {size_t{2}, size_t{3}}) {  // in no group; in a group of no policy
    const Verdict verdict = policy.decide(policy.peers()[index], {"gpt-5.5", ""});
    EXPECT_EQ(refused(verdict).code, RefusalCode::policy_none);
    EXPECT_EQ(
        refused(verdict).message,
        policy.peers()[index].user + " is in no group that a policy names; ask #ai-platform.");
  }
}

TEST(Policy, RefusesWhatHasNoPriceAndNamesTheMissingEntry) {
  const Policy policy(example());
  const Verdict model = policy.decide(policy.peers()[1], {"gpt-7", ""});
  EXPECT_EQ(refused(model).code, RefusalCode::price_unknown);
  EXPECT_NE(refused(model).message.find("\"model\": \"gpt-7\""), std::string::npos);
  const Verdict tier = policy.decide(policy.peers()[1], {"gpt-5.6-luna", "priority"});
  EXPECT_EQ(refused(tier).code, RefusalCode::price_unknown);
  EXPECT_EQ(refused(tier).param, "service_tier");
  for (const char* same : {"", "auto", "default"}) {
    EXPECT_TRUE(
        std::holds_alternative<Allowed>(policy.decide(policy.peers()[1], {"gpt-5.6-luna", same})));
  }
  EXPECT_TRUE(
      std::holds_alternative<Allowed>(policy.decide(policy.peers()[0], {"gpt-5.5", "priority"})));
}

TEST(Policy, CutsAndCleansModelNamesThatTheClientChose) {
  EXPECT_EQ(visible("gpt-5.5"), "gpt-5.5");
  EXPECT_EQ(visible("a b\n\x1b[31m\xc3\xa9"), "a?b??[31m??");
  EXPECT_EQ(visible(std::string(64, 'x')), std::string(64, 'x'));
  EXPECT_EQ(visible(std::string(65, 'x')), std::string(64, 'x') + "...");
  const Policy policy(example());
  const Verdict verdict = policy.decide(policy.peers()[1], {std::string(5000, 'x') + "\n", ""});
  EXPECT_LT(refused(verdict).message.size(), 250u);
}

TEST(Policy, KnowsAPeerByBothPartsOfItsTag) {
  const Policy policy(example());
  ASSERT_NE(policy.peer_by_tag({1, 1}), nullptr);
  EXPECT_EQ(policy.peer_by_tag({1, 1})->user, "alice@example.com");
  EXPECT_EQ(policy.peer_by_tag({1, 2}), nullptr);
  EXPECT_EQ(policy.peer_by_tag({9, 1}), nullptr);
  EXPECT_EQ(policy.peer_by_tag({}), nullptr);
}

TEST(Policy, AnUntaggedPeerIsNobodyByTag) {
  Policy::Parts parts = example();
  parts.peers[0].tag = {};
  const Policy policy(std::move(parts));
  EXPECT_EQ(policy.peer_by_tag({}), nullptr);
}

TEST(Policy, AnAddressOnTwoTunnelsIsNobodyByAddress) {
  Policy::Parts parts = example();
  parts.peers[1].address = parts.peers[0].address;
  parts.peers[1].tunnel = "wg1";
  const Policy policy(std::move(parts));
  EXPECT_EQ(policy.peer_by_address(*parse_ip("10.99.0.2")), nullptr);
  EXPECT_EQ(policy.peer_by_address(*parse_ip("10.99.0.4")), &policy.peers()[2]);
  EXPECT_EQ(policy.peer_by_address(*parse_ip("10.99.0.9")), nullptr);
}

TEST(Policy, ModelsForListsPricedModelsOnly) {
  const Policy policy(example());
  EXPECT_EQ(policy.models_for(policy.peers()[0]),
            (std::vector<std::string>{"gpt-5.4", "gpt-5.5", "gpt-5.6-luna"}));
  EXPECT_EQ(policy.models_for(policy.peers()[1]), std::vector<std::string>{"gpt-5.6-luna"});
  EXPECT_TRUE(policy.models_for(policy.peers()[2]).empty());
}

TEST(Explain, TellsEveryGateAndAgreesWithDecide) {
  const Policy policy(example());
  const auto explanation = policy.explain("carol@example.com", "gpt-5.5");
  ASSERT_EQ(explanation.steps.size(), 6u);
  EXPECT_EQ(explanation.steps[0].reason, "connects from 10.99.0.3");
  EXPECT_EQ(explanation.steps[1].reason, "contractors");
  EXPECT_EQ(explanation.steps[2].reason, "is for groups engineering only");
  EXPECT_EQ(explanation.steps[4].subject, "policy contractors");
  EXPECT_FALSE(explanation.steps[4].passed);
  EXPECT_EQ(explanation.steps[4].reason, "model gpt-5.5 does not match gpt-5.6-luna, gpt-7");
  EXPECT_TRUE(explanation.steps[5].passed);
  const Verdict decided = policy.decide(policy.peers()[1], {"gpt-5.5", ""});
  EXPECT_EQ(refused(explanation.verdict).message, refused(decided).message);
}

TEST(Explain, TellsAliasAndEachGateOfThePolicyThatWins) {
  Policy::Parts parts = with_aliases();
  Guards& guards = parts.rules[0].guards;
  guards.max_input_bytes = 1000;
  guards.service_tiers = {"default"};
  guards.hosted_tools.emplace();
  guards.reasoning_effort_max = Effort::high;
  guards.store = Store::off;
  guards.turn_metadata = TurnMetadata::hash;
  parts.rules[0].max_output_tokens = 32'000;
  parts.rules[0].websocket = true;
  std::string told;
  const auto explanation = Policy(parts).explain("alice@example.com", "auto");
  for (const auto& step : explanation.steps)
    told += step.subject + ": " + step.reason + "\n";
  EXPECT_EQ(told,
            "peer: connects from 10.99.0.2\n"
            "groups: engineering\n"
            "policy aliases: model auto is an alias of gpt-5.6-luna\n"
            "policy plain: model auto does not match gpt-5.5\n"
            "max_input_bytes: a body over 1000 bytes is refused\n"
            "service_tiers: other than default is refused\n"
            "hosted_tools: allowed: none; any other is refused\n"
            "reasoning_effort_max: a higher effort becomes high\n"
            "max_output_tokens: 32000 is written where a request asks for more or names none\n"
            "store: the provider is told to keep no answer\n"
            "turn_metadata: paths, remotes and commits are forwarded as hashes\n"
            "websocket: clients may use WebSocket\n"
            "price: entry gpt-5.6-luna of 2026-09-30\n");
  EXPECT_TRUE(std::holds_alternative<Allowed>(explanation.verdict));
  parts.rules[0].guards = {};
  parts.rules[0].guards.force_model = "gpt-5.6-luna";
  EXPECT_EQ(Policy(parts).explain("alice@example.com", "x").steps[2].reason,
            "serves gpt-5.6-luna whatever is asked (force_model)");
}

TEST(Explain, SaysWhichMachinesOfTheUserAreRevoked) {
  Policy::Parts parts = example();
  Peer second = peer(5, "10.99.0.6", "alice@example.com", {"engineering"});
  second.revoked = true;
  second.revoked_why = "stolen";
  parts.peers.push_back(second);
  const auto one = Policy(parts).explain("alice@example.com", "gpt-5.5");
  EXPECT_EQ(one.steps[1].reason, "revoked at 10.99.0.6: stolen");
  EXPECT_TRUE(std::holds_alternative<Allowed>(one.verdict)) << "the other machine may";
  parts.peers[0].revoked = true;
  const auto both = Policy(parts).explain("alice@example.com", "gpt-5.5");
  EXPECT_FALSE(both.steps[1].passed);
  EXPECT_EQ(both.steps[1].reason, "revoked at 10.99.0.2");
  EXPECT_EQ(refused(both.verdict).code, RefusalCode::access_revoked);
}

TEST(Explain, SaysWhenTheUserHasNoPeerOrNoModelIsNamed) {
  const Policy policy(example());
  EXPECT_EQ(refused(policy.explain("nobody@example.com", "gpt-5.5").verdict).code,
            RefusalCode::peer_unknown);
  EXPECT_EQ(refused(policy.explain("carol@example.com", "").verdict).message,
            "Name a model to get a verdict. Allowed: gpt-5.6-luna.");
  EXPECT_EQ(refused(policy.explain("eve@example.com", "").verdict).code, RefusalCode::policy_none);
  EXPECT_TRUE(
      std::holds_alternative<Allowed>(policy.explain("carol@example.com", "gpt-5.6-luna").verdict));
}

}  // namespace
}  // namespace tollgate::policy
