#include "policy/price.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <sstream>

namespace tollgate::policy {
namespace {

constexpr int64_t kTop = std::numeric_limits<int64_t>::max();
constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

ModelPrice example() {
  ModelPrice price;
  price.model = "gpt-5.5";
  price.tiers["default"] = {1250, 125, 1500, 10'000, 272'000, {2500, 250, 3000, 15'000}};
  price.tiers["priority"] = {2500, 250, 2500, 20'000};
  price.tiers["flex"] = {625, 63, 750, 5000, 272'000, {1250, 125, 1500, 7500}};
  return price;
}

PriceTable shipped() {
  std::ifstream file(TOLLGATE_DEPLOY_DIR "/prices.json");
  std::stringstream text;
  text << file.rdbuf();
  auto table = parse_prices(text.str(), "prices.json");
  EXPECT_TRUE(table) << table.error().text;
  return table ? *std::move(table) : PriceTable();
}

struct Vector {
  const char* description;
  const char* model;  // "test" and "test-2026-01-02" are of this file, the others are shipped
  const char* tier;
  UsageTokens tokens;  // input, cached, written, output, reasoning
  int64_t nano;
};

const Vector kVectors[] = {
    {"nothing", "test", "", {}, 0},
    {"one token in", "test", "", {1, 0, 0, 0, 0}, 1250},
    {"one token out", "test", "", {0, 0, 0, 1, 0}, 10'000},
    {"in and out", "test", "", {1000, 0, 0, 50, 0}, 1'250'000 + 500'000},
    {"reasoning is part of out", "test", "", {0, 0, 0, 50, 20}, 500'000},
    {"reasoning is all of out", "test", "", {0, 0, 0, 50, 50}, 500'000},
    {"reasoning above out", "test", "", {0, 0, 0, 10, 30}, 300'000},
    {"cached is part of in", "test", "", {1000, 400, 0, 0, 0}, 750'000 + 50'000},
    {"all of it cached", "test", "", {1000, 1000, 0, 0, 0}, 125'000},
    {"written is part of in", "test", "", {1000, 0, 400, 0, 0}, 750'000 + 600'000},
    {"all of it written", "test", "", {1000, 0, 1000, 0, 0}, 1'500'000},
    {"cached, written, plain", "test", "", {1000, 400, 100, 0, 0}, 50'000 + 150'000 + 625'000},
    {"cached and written are all", "test", "", {1000, 600, 400, 0, 0}, 75'000 + 600'000},
    {"parts exceed the whole by one", "test", "", {1000, 600, 401, 0, 0}, 1'501'500},
    {"cached exceeds the whole", "test", "", {100, 120, 0, 0, 0}, 180'000},
    {"parts of nothing", "test", "", {0, 80, 40, 0, 0}, 180'000},
    {"auto is default", "test", "auto", {1, 0, 0, 1, 0}, 11'250},
    {"default by name", "test", "default", {1, 0, 0, 1, 0}, 11'250},
    {"priority", "test", "priority", {10, 0, 0, 1, 0}, 25'000 + 20'000},
    {"priority, cached", "test", "priority", {10, 4, 0, 0, 0}, 15'000 + 1000},
    {"priority has no step", "test", "priority", {272'001, 0, 0, 0, 0}, 680'002'500},
    {"priority: writing costs as reading, parts exceed", "test", "priority", {1, 2, 0, 0, 0}, 5000},
    {"flex", "test", "flex", {10, 4, 1, 1, 0}, 3125 + 252 + 750 + 5000},
    {"one below the step", "test", "", {271'999, 0, 0, 0, 0}, 339'998'750},
    {"the last token of short context", "test", "", {272'000, 0, 0, 0, 0}, 340'000'000},
    {"long context costs for the whole", "test", "", {272'001, 0, 0, 1, 0}, 680'002'500 + 15'000},
    {"long, cached", "test", "", {300'000, 300'000, 0, 0, 0}, 75'000'000},
    {"long, written", "test", "", {300'000, 0, 300'000, 0, 0}, 900'000'000},
    {"long, flex", "test", "flex", {272'001, 0, 0, 2, 0}, 340'001'250 + 15'000},
    {"out alone is never long", "test", "", {0, 0, 0, 500'000, 0}, 5'000'000'000},
    {"disbelieved parts go over the step", "test", "", {1, 272'001, 0, 0, 0}, 816'003'000},
    {"disbelieved parts at the step", "test", "", {1, 272'000, 0, 0, 0}, 408'000'000},
    {"a snapshot without an entry", "test-2026-04-23", "", {2, 0, 0, 0, 0}, 2500},
    {"a snapshot with an entry", "test-2026-01-02", "", {2, 0, 0, 0, 0}, 6000},
    {"a snapshot's tier", "test-2026-04-23", "priority", {2, 0, 0, 0, 0}, 5000},
    {"the most in",
     "test",
     "priority",
     {3'689'348'814'741'910, 0, 0, 0, 0},
     9'223'372'036'854'775'000},
    {"the most out", "test", "", {0, 0, 0, 922'337'203'685'477, 0}, 9'223'372'036'854'770'000},
    {"the most cached",
     "test",
     "priority",
     {36'893'488'147'419'103, 36'893'488'147'419'103, 0, 0, 0},
     9'223'372'036'854'775'750},
    {"a turn of Codex on gpt-5.5",
     "gpt-5.5",
     "",
     {120'000, 100'000, 0, 2000, 1500},
     100'000'000 + 50'000'000 + 60'000'000},
    {"gpt-5.5 above the step",
     "gpt-5.5",
     "",
     {300'000, 200'000, 0, 1000, 0},
     1'000'000'000 + 200'000'000 + 45'000'000},
    {"gpt-5.5 flex", "gpt-5.5", "flex", {1000, 0, 0, 1000, 0}, 2'500'000 + 15'000'000},
    {"gpt-5.5 by its snapshot", "gpt-5.5-2026-04-23", "", {1, 0, 0, 1, 0}, 35'000},
    {"gpt-5.4 flex rounds cached as listed", "gpt-5.4", "flex", {10, 10, 0, 0, 0}, 1300},
    {"gpt-5.4-mini", "gpt-5.4-mini", "", {1000, 1000, 0, 1000, 0}, 75'000 + 4'500'000},
    {"gpt-5.4-mini priority", "gpt-5.4-mini", "priority", {1000, 0, 0, 0, 0}, 1'500'000},
    {"gpt-5.4-nano flex", "gpt-5.4-nano", "flex", {1000, 0, 0, 1000, 0}, 100'000 + 625'000},
    {"gpt-5.6-sol writes", "gpt-5.6-sol", "", {1000, 0, 1000, 0, 0}, 6'250'000},
    {"gpt-5.6-luna: long cached costs as long input",
     "gpt-5.6-luna",
     "",
     {272'001, 272'001, 0, 0, 0},
     108'800'400},
    {"gpt-6-luna", "gpt-6-luna", "", {1'000'000, 0, 0, 0, 0}, 200'000'000},
    {"gpt-6-luna below the step",
     "gpt-6-luna",
     "",
     {200'000, 0, 0, 1'000, 0},
     20'000'000 + 500'000},
    {"gpt-6.1-sol priority, long",
     "gpt-6.1-sol",
     "priority",
     {272'001, 1, 0, 1, 0},
     2'176'000'000 + 400 + 30'000},
};

TEST(CostOf, IsTheExactSumOfItsParts) {
  ModelPrice test = example();
  test.model = "test";
  ModelPrice snapshot;
  snapshot.model = "test-2026-01-02";
  snapshot.tiers["default"] = {3000, 300, 3000, 9000};
  const PriceTable own("v", {test, snapshot});
  const PriceTable listed = shipped();
  for (const Vector& row : kVectors) {
    const bool is_own = std::string_view(row.model).starts_with("test");
    const ModelPrice* price = (is_own ? own : listed).find(row.model);
    ASSERT_NE(price, nullptr) << row.description;
    const auto cost = cost_of(*price, row.tier, row.tokens);
    ASSERT_TRUE(cost) << row.description;
    EXPECT_EQ(cost->value, row.nano) << row.description;
  }
}

TEST(CostOf, IsNothingForAnUnknownTierOrASumOutOfRange) {
  struct Row {
    const char* description;
    const char* tier;
    UsageTokens tokens;
  };
  const Row rows[] = {
      {"unknown tier", "scale", {1, 0, 0, 1, 0}},
      {"unknown tier of nothing", "scale", {}},
      {"one above the most in", "priority", {3'689'348'814'741'911, 0, 0, 0, 0}},
      {"one above the most out", "", {0, 0, 0, 922'337'203'685'478, 0}},
      {"one above the most cached",
       "priority",
       {36'893'488'147'419'104, 36'893'488'147'419'104, 0, 0, 0}},
      {"each fits, the sum does not", "priority", {3'689'348'814'741'910, 0, 0, 1, 0}},
      {"all that 64 bits hold", "", {kMax, 0, 0, 0, 0}},
      {"parts that wrap in 64 bits", "", {0, kMax, 1, 0, 0}},
      {"everything", "", {kMax, kMax, kMax, kMax, kMax}},
  };
  for (const Row& row : rows)
    EXPECT_FALSE(cost_of(example(), row.tier, row.tokens)) << row.description;
}

TEST(CostOfCalls, IsTheProductOrNothing) {
  const ToolPrice search{"web_search", {10'000'000}, "s", "2026-08-27"};
  const std::pair<uint64_t, int64_t> rows[] = {
      {0, 0},
      {1, 10'000'000},
      {119, 1'190'000'000},
      {1000, 10'000'000'000},
      {922'337'203'685, 9'223'372'036'850'000'000},
  };
  for (const auto& [calls, nano] : rows) {
    const auto cost = cost_of_calls(search, calls);
    ASSERT_TRUE(cost) << calls;
    EXPECT_EQ(cost->value, nano) << calls;
  }
  EXPECT_FALSE(cost_of_calls(search, 922'337'203'686));
  EXPECT_FALSE(cost_of_calls(search, kMax));
  const ToolPrice cheapest{"t", {1}, "s", "2026-08-27"};
  EXPECT_TRUE(cost_of_calls(cheapest, static_cast<uint64_t>(kTop)));
  EXPECT_FALSE(cost_of_calls(cheapest, static_cast<uint64_t>(kTop) + 1));
}

TEST(PriceTable, FindsToolsAlsoWithADate) {
  const PriceTable table("v", {},
                         {{"web_search_preview", {2}, "s", "d"},
                          {"web_search", {1}, "s", "d"},
                          {"web_search_2025_01_01", {3}, "s", "d"}});
  const std::pair<const char*, int64_t> found[] = {
      {"web_search", 1},         {"web_search_2025_08_26", 1},         {"web_search_2025_01_01", 3},
      {"web_search_preview", 2}, {"web_search_preview_2025_03_11", 2},
  };
  for (const auto& [asked, per_call] : found) {
    ASSERT_NE(table.find_tool(asked), nullptr) << asked;
    EXPECT_EQ(table.find_tool(asked)->per_call.value, per_call) << asked;
  }
  for (const char* unknown : {"", "web", "web_search_", "web_search_2025_3_11", "_2025_03_11",
                              "web_search-2025-03-11", "web_search_preview_2025_03_11_x"}) {
    EXPECT_EQ(table.find_tool(unknown), nullptr) << unknown;
  }
}

TEST(PriceTable, FindsExactNamesAndDatedSnapshots) {
  ModelPrice snapshot = example();
  snapshot.model = "gpt-5.5-2026-01-01";
  const PriceTable table("v", {snapshot, example()});
  const std::pair<const char*, const char*> found[] = {
      {"gpt-5.5", "gpt-5.5"},
      {"gpt-5.5-2026-04-23", "gpt-5.5"},
      {"gpt-5.5-2026-01-01", "gpt-5.5-2026-01-01"},
  };
  for (const auto& [asked, model] : found) {
    ASSERT_NE(table.find(asked), nullptr) << asked;
    EXPECT_EQ(table.find(asked)->model, model);
  }
  for (const char* unknown : {"", "gpt-5.5-mini", "gpt-5.5-2026-4-23", "gpt-5.5-20260423",
                              "-2026-04-23", "gpt-5.5-2026-04-23-x", "GPT-5.5"}) {
    EXPECT_EQ(table.find(unknown), nullptr) << unknown;
  }
}

}  // namespace
}  // namespace tollgate::policy
