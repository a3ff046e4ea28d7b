#include "policy/price.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <sstream>

namespace tollgate::policy {
namespace {

ModelPrice example() {
  ModelPrice price;
  price.model = "gpt-5.5";
  price.tiers["default"] = {1250, 125, 1500, 10'000, 272'000, {2500, 250, 3000, 15'000}};
  price.tiers["priority"] = {2500, 250, 2500, 20'000};
  return price;
}

TEST(CostOf, IsTheExactSumOfItsParts) {
  struct Row {
    const char* description;
    const char* tier;
    UsageTokens tokens;
    int64_t nano;
  };
  const Row rows[] = {
      {"nothing", "", {}, 0},
      {"input and output", "", {1000, 0, 0, 50, 0}, 1000 * 1250 + 50 * 10'000},
      {"cached input is part of input",
       "",
       {1000, 400, 0, 50, 20},
       600 * 1250 + 400 * 125 + 50 * 10'000},
      {"written input is part of input",
       "",
       {1000, 400, 100, 0, 0},
       500 * 1250 + 400 * 125 + 100 * 1500},
      {"auto is default", "auto", {1, 0, 0, 0, 0}, 1250},
      {"priority", "priority", {1, 0, 0, 1, 0}, 2500 + 20'000},
      {"parts above the whole: nothing about the split is believed",
       "",
       {100, 80, 40, 0, 0},
       120 * 1500},
      {"reasoning above output", "", {0, 0, 0, 10, 30}, 30 * 10'000},
      {"the last token of short context", "", {272'000, 0, 0, 0, 0}, int64_t{272'000} * 1250},
      {"long context costs for the whole request",
       "",
       {272'001, 0, 0, 1, 0},
       int64_t{272'001} * 2500 + 15'000},
  };
  for (const Row& row : rows) {
    const auto cost = cost_of(example(), row.tier, row.tokens);
    ASSERT_TRUE(cost) << row.description;
    EXPECT_EQ(cost->value, row.nano) << row.description;
  }
}

TEST(CostOf, IsNothingForAnUnknownTierOrASumOutOfRange) {
  EXPECT_FALSE(cost_of(example(), "scale", {1, 0, 0, 1, 0}));
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  EXPECT_FALSE(cost_of(example(), "", {kMax, 0, 0, 0, 0}));
  EXPECT_FALSE(cost_of(example(), "", {kMax, kMax, kMax, kMax, kMax}));
  constexpr auto kTop = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  EXPECT_TRUE(cost_of(example(), "priority", {0, 0, 0, kTop / 20'000, 0}));
  EXPECT_FALSE(cost_of(example(), "priority", {0, 0, 0, kTop / 20'000 + 1, 0}));
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

std::string file_with(const std::string& model_members) {
  return R"({"version":"v1","unit":"usd_per_million_tokens","models":[{)" + model_members + "}]}";
}

std::string tiers(const std::string& rates) {
  return R"("model":"m","source":"https://example.com","date":"2026-09-30","tiers":{"default":{)" +
         rates + "}}";
}

TEST(ParsePrices, ReadsAnEntryAndFillsInTheDearerDefaults) {
  const auto table = parse_prices(file_with(tiers(R"("input":"1.25","output":"10.00")")), "p.json");
  ASSERT_TRUE(table) << table.error().text;
  EXPECT_EQ(table->version(), "v1");
  const TierPrice& tier = table->find("m")->tiers.at("default");
  EXPECT_EQ(tier.input, 1250);
  EXPECT_EQ(tier.cached_input, 1250);
  EXPECT_EQ(tier.cache_write, 1250);
  EXPECT_EQ(tier.output, 10'000);
  EXPECT_EQ(tier.long_context_above, 0u);
}

TEST(ParsePrices, RefusesWhatCannotBeAPriceAndNamesTheEntry) {
  struct Row {
    const char* description;
    std::string text;
    const char* names;
  };
  const std::string good = R"("input":"1.25","output":"10.00")";
  const Row rows[] = {
      {"no JSON", "{", "not JSON"},
      {"no object", "[]", "not a JSON object"},
      {"another unit", R"({"version":"v","unit":"usd_per_token","models":[]})", "usd_per_token"},
      {"no version", R"({"unit":"usd_per_million_tokens","models":[]})", "version"},
      {"no models", R"({"version":"v","unit":"usd_per_million_tokens","models":[]})", "models"},
      {"a price per token", file_with(tiers(R"("input":"0.00000125","output":"0.00001")")), "m"},
      {"a price per million read as nano", file_with(tiers(R"("input":"1250","output":"10000")")),
       "m"},
      {"less than a nano-USD a token", file_with(tiers(R"("input":"0.0005","output":"0.01")")),
       "m"},
      {"a number, not a text", file_with(tiers(R"("input":1.25,"output":"10")")), "input"},
      {"negative", file_with(tiers(R"("input":"-1.25","output":"10")")), "input"},
      {"free", file_with(tiers(R"("input":"0","output":"10")")), "input"},
      {"output far below input", file_with(tiers(R"("input":"10","output":"0.5")")), "output"},
      {"cached dearer than input", file_with(tiers(good + R"(,"cached_input":"2")")), "cached"},
      {"write far above input", file_with(tiers(good + R"(,"cache_write":"13")")), "cache_write"},
      {"unknown rate", file_with(tiers(good + R"(,"cached":"0.1")")), "cached"},
      {"key twice", file_with(tiers(good + R"(,"input":"0.01")")), "twice"},
      {"no output", file_with(tiers(R"("input":"1.25")")), "output"},
      {"no source",
       file_with(R"("model":"m","date":"2026-09-30","tiers":{"default":{)" + good + "}}"),
       "source"},
      {"no date", file_with(R"("model":"m","source":"s","tiers":{"default":{)" + good + "}}"),
       "date"},
      {"date of another shape",
       file_with(R"("model":"m","source":"s","date":"30.9.2026","tiers":{"default":{)" + good +
                 "}}"),
       "30.9.2026"},
      {"no default tier",
       file_with(R"("model":"m","source":"s","date":"2026-09-30","tiers":{"flex":{)" + good + "}}"),
       "default"},
      {"unknown tier",
       file_with(R"("model":"m","source":"s","date":"2026-09-30","tiers":{"default":{)" + good +
                 R"(},"turbo":{)" + good + "}}"),
       "turbo"},
      {"long context cheaper than short",
       file_with(
           tiers(good + R"(,"long_context":{"above_input_tokens":10,"input":"1","output":"10"})")),
       "long context"},
      {"long context without its step",
       file_with(tiers(good + R"(,"long_context":{"input":"2","output":"10"})")), "above_input"},
      {"model twice",
       R"({"version":"v","unit":"usd_per_million_tokens","models":[{)" + tiers(good) + "},{" +
           tiers(good) + "}]}",
       "twice"},
      {"models of the wrong kind",
       R"({"version":"v","unit":"usd_per_million_tokens","models":[1]})", "models[0]"},
      {"tiers of the wrong kind",
       file_with(R"("model":"m","source":"s","date":"2026-09-30","tiers":["default"])"), "tiers"},
  };
  for (const Row& row : rows) {
    const auto table = parse_prices(row.text, "p.json");
    ASSERT_FALSE(table) << row.description;
    EXPECT_EQ(table.error().fault, Fault::config) << row.description;
    EXPECT_NE(table.error().text.find("p.json"), std::string::npos) << row.description;
    EXPECT_NE(table.error().text.find(row.names), std::string::npos)
        << row.description << ": " << table.error().text;
    EXPECT_FALSE(table.error().hint.empty()) << row.description;
  }
}

TEST(ParsePrices, TheShippedFileIsCleanAndNoTruncationOfItIs) {
  std::ifstream file(TOLLGATE_DEPLOY_DIR "/prices.json");
  std::stringstream text;
  text << file.rdbuf();
  const auto table = parse_prices(text.str(), "prices.json");
  ASSERT_TRUE(table) << table.error().text;
  EXPECT_GE(table->models().size(), 5u);
  for (const ModelPrice& model : table->models()) {
    EXPECT_TRUE(model.source.starts_with("https://")) << model.model;
  }
  const std::string whole = text.str();
  for (size_t length = 0; length + 2 < whole.size(); ++length) {
    EXPECT_FALSE(parse_prices(std::string_view(whole).substr(0, length), "p")) << length;
  }
}

}  // namespace
}  // namespace tollgate::policy
