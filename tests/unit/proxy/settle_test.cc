#include "userspace/proxy/settle.h"

#include <gtest/gtest.h>

#include "tests/unit/proxy/snapshot_for_tests.h"

namespace tollgate::proxy {
namespace {

using ringbuf::Outcome;
using ringbuf::UsageRecord;

UsageRecord running_request() {
  UsageRecord record;
  record.model_asked = record.model_served = "gpt-a";
  record.hold_input_tokens = 1000;
  record.hold_output_tokens = 2000;
  record.hold_cost = {1000 * 1000 + 2000 * 8000};
  return record;
}

codec::ResponseFacts facts_with(codec::Usage usage) {
  codec::ResponseFacts facts;
  facts.usage = usage;
  facts.model = "gpt-a";
  facts.response_id = "resp_1";
  return facts;
}

TEST(Settle, CompletedCostsWhatTheProviderReports) {
  const policy::Policy policy(parts_for_tests());
  const auto facts = facts_with({.input_tokens = 1000,
                                 .cached_tokens = 400,
                                 .output_tokens = 50,
                                 .reasoning_tokens = 20,
                                 .total_tokens = 1050});
  UsageRecord record = running_request();
  settle(policy,
         {.outcome = Outcome::completed,
          .facts = &facts,
          .sent_upstream = true,
          .upstream_status = 200},
         record);
  EXPECT_EQ(record.cost.value, 600 * 1000 + 400 * 100 + 50 * 8000);
  EXPECT_FALSE(record.estimated);
  EXPECT_EQ(record.reasoning_tokens, 20u);
  EXPECT_EQ(record.response_id, "resp_1");
  EXPECT_EQ(record.price_version, "test-1");
}

TEST(Settle, TheReportedModelAndTierSetThePrice) {
  const policy::Policy policy(parts_for_tests());
  auto facts = facts_with({.input_tokens = 10, .output_tokens = 1, .total_tokens = 11});
  facts.model = "gpt-b";
  UsageRecord record = running_request();
  settle(policy,
         {.outcome = Outcome::completed,
          .facts = &facts,
          .sent_upstream = true,
          .upstream_status = 200},
         record);
  EXPECT_EQ(record.cost.value, 10 * 5000 + 40000);

  facts.model = "gpt-a";
  facts.service_tier = "priority";
  record = running_request();
  settle(policy,
         {.outcome = Outcome::completed,
          .facts = &facts,
          .sent_upstream = true,
          .upstream_status = 200},
         record);
  EXPECT_EQ(record.cost.value, 10 * 2000 + 16000);
  EXPECT_FALSE(record.estimated);
}

TEST(Settle, AReportedModelWithoutAPriceIsChargedAsAskedAndFlagged) {
  const policy::Policy policy(parts_for_tests());
  auto facts = facts_with({.input_tokens = 10, .output_tokens = 1, .total_tokens = 11});
  facts.model = "gpt-secret";
  UsageRecord record = running_request();
  settle(policy,
         {.outcome = Outcome::completed,
          .facts = &facts,
          .sent_upstream = true,
          .upstream_status = 200},
         record);
  EXPECT_EQ(record.cost.value, 10 * 1000 + 8000);
  EXPECT_TRUE(record.estimated);
}

TEST(Settle, WithoutUsageInputCountsInFullAndOutputAsSeen) {
  const policy::Policy policy(parts_for_tests());
  for (const Outcome outcome : {Outcome::client_abort, Outcome::cut, Outcome::upstream_error,
                                Outcome::failed, Outcome::incomplete}) {
    UsageRecord record = running_request();
    settle(policy,
           {.outcome = outcome,
            .sent_upstream = true,
            .upstream_status = 200,
            .visible_output_bytes = 300,
            .expected_input_tokens = 900},
           record);
    EXPECT_EQ(record.input_tokens, 900u) << to_string(outcome);
    EXPECT_EQ(record.output_tokens, 100u);
    EXPECT_TRUE(record.estimated);
    EXPECT_EQ(record.cost.value, 900 * 1000 + 100 * 8000);
  }
}

TEST(Settle, FailedWithUsageCostsIt) {
  const policy::Policy policy(parts_for_tests());
  const auto facts = facts_with({.input_tokens = 7, .output_tokens = 0, .total_tokens = 7});
  UsageRecord record = running_request();
  settle(
      policy,
      {.outcome = Outcome::failed, .facts = &facts, .sent_upstream = true, .upstream_status = 200},
      record);
  EXPECT_EQ(record.cost.value, 7000);
  EXPECT_FALSE(record.estimated);
}

TEST(Settle, NeverSentAndRefusedByTheProviderCostNothing) {
  const policy::Policy policy(parts_for_tests());
  UsageRecord unsent = running_request();
  settle(policy, {.outcome = Outcome::upstream_error}, unsent);
  EXPECT_EQ(unsent.cost.value, 0);
  EXPECT_FALSE(unsent.estimated);
  UsageRecord refused = running_request();
  settle(policy,
         {.outcome = Outcome::upstream_error, .sent_upstream = true, .upstream_status = 429},
         refused);
  EXPECT_EQ(refused.cost.value, 0);
  EXPECT_FALSE(refused.estimated);
}

TEST(Settle, SentWithoutAnyAnswerIsEstimatedNotFree) {
  const policy::Policy policy(parts_for_tests());
  UsageRecord record = running_request();
  settle(policy,
         {.outcome = Outcome::upstream_error, .sent_upstream = true, .expected_input_tokens = 900},
         record);
  EXPECT_TRUE(record.estimated);
  EXPECT_EQ(record.input_tokens, 900u);
  EXPECT_EQ(record.output_tokens, 1u);
}

TEST(Settle, AnEstimateIsNeverAboveTheHold) {
  const policy::Policy policy(parts_for_tests());
  struct Row {
    const char* description;
    const char* model;
    uint64_t expected_input_tokens;
    uint64_t visible_output_bytes;
    uint64_t input_tokens;
    uint64_t output_tokens;
    int64_t cost;
  };
  constexpr int64_t kHold = 1000 * 1000 + 2000 * 8000;
  const Row rows[] = {
      {"all that was held", "gpt-a", 1000, 6000, 1000, 2000, kHold},
      {"more input than was held", "gpt-a", 5000, 300, 1000, 100, 1000 * 1000 + 100 * 8000},
      {"more output than was held", "gpt-a", 10, 60'000, 10, 2000, 10 * 1000 + 2000 * 8000},
      {"a dearer model answered", "gpt-b", 1000, 6000, 1000, 2000, kHold},
  };
  for (const Row& row : rows) {
    codec::ResponseFacts facts;
    facts.model = row.model;
    UsageRecord record = running_request();
    settle(policy,
           {.outcome = Outcome::incomplete,
            .facts = &facts,
            .sent_upstream = true,
            .upstream_status = 200,
            .visible_output_bytes = row.visible_output_bytes,
            .expected_input_tokens = row.expected_input_tokens},
           record);
    EXPECT_EQ(record.input_tokens, row.input_tokens) << row.description;
    EXPECT_EQ(record.output_tokens, row.output_tokens) << row.description;
    EXPECT_EQ(record.cost.value, row.cost) << row.description;
    EXPECT_TRUE(record.estimated) << row.description;
  }
}

TEST(Settle, WhatTheProviderReportsCountsAlsoAboveTheHold) {
  const policy::Policy policy(parts_for_tests());
  const auto facts =
      facts_with({.input_tokens = 90'000, .output_tokens = 1, .total_tokens = 90'001});
  UsageRecord record = running_request();
  settle(policy,
         {.outcome = Outcome::completed,
          .facts = &facts,
          .sent_upstream = true,
          .upstream_status = 200},
         record);
  EXPECT_EQ(record.cost.value, 90'000 * 1000 + 8000);
  EXPECT_FALSE(record.estimated);
}

TEST(Settle, CallsOfPaidToolsCostTheirPriceAndOthersNothing) {
  const policy::Policy policy(parts_for_tests());
  auto facts = facts_with({.input_tokens = 10, .output_tokens = 1, .total_tokens = 11});
  facts.tool_calls = {{"web_search", 3}, {"mcp", 2}};
  UsageRecord record = running_request();
  settle(policy,
         {.outcome = Outcome::completed,
          .facts = &facts,
          .sent_upstream = true,
          .upstream_status = 200},
         record);
  EXPECT_EQ(record.cost.value, 10 * 1000 + 8000 + 3 * 10'000'000);
  EXPECT_EQ(record.tool_calls, 5u);
  EXPECT_FALSE(record.estimated);
}

TEST(Settle, CallsOfAnAnswerWithoutUsageStayWithinTheHold) {
  const policy::Policy policy(parts_for_tests());
  codec::ResponseFacts facts;
  facts.model = "gpt-a";
  facts.tool_calls = {{"web_search", 30}};
  UsageRecord record = running_request();
  settle(policy,
         {.outcome = Outcome::failed,
          .facts = &facts,
          .sent_upstream = true,
          .upstream_status = 200,
          .expected_input_tokens = 900},
         record);
  EXPECT_EQ(record.cost, record.hold_cost);
  EXPECT_EQ(record.tool_calls, 30u);
  EXPECT_TRUE(record.estimated);
}

TEST(Settle, AModelThatHasNoPriceAnyMoreIsChargedItsHold) {
  const policy::Policy policy(parts_for_tests());
  const auto facts = facts_with({.input_tokens = 10, .output_tokens = 1, .total_tokens = 11});
  UsageRecord record = running_request();
  record.model_served = "gpt-gone";
  auto reported = facts;
  reported.model = "gpt-gone";
  settle(policy,
         {.outcome = Outcome::completed,
          .facts = &reported,
          .sent_upstream = true,
          .upstream_status = 200},
         record);
  EXPECT_EQ(record.cost, record.hold_cost);
  EXPECT_TRUE(record.estimated);
}

}  // namespace
}  // namespace tollgate::proxy
