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
