#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "policy/price.h"

namespace tollgate::policy {
namespace {

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
  EXPECT_EQ(table->find("m")->context_tokens, 0u);
  EXPECT_EQ(table->find("m")->max_output_tokens, 0u);
  EXPECT_TRUE(table->tools().empty());
}

std::string file_with_tool(const std::string& members) {
  return R"({"version":"v1","unit":"usd_per_million_tokens","models":[{)" +
         tiers(R"("input":"1.25","output":"10.00")") + R"(}],"tools":[{)" + members + "}]}";
}

std::string tool(const std::string& amount, const std::string& name = "web_search") {
  return R"("tool":")" + name + R"(","usd_per_thousand_calls":")" + amount +
         R"(","source":"https://example.com","date":"2026-08-27")";
}

TEST(ParsePrices, ReadsWhatAModelTakesAtMost) {
  const auto table =
      parse_prices(file_with(R"("context_tokens":400000,"max_output_tokens":400000,)" +
                             tiers(R"("input":"1.25","output":"10.00")")),
                   "p.json");
  ASSERT_TRUE(table) << table.error().text;
  EXPECT_EQ(table->find("m")->context_tokens, 400'000u);
  EXPECT_EQ(table->find("m")->max_output_tokens, 400'000u);
}

TEST(ParsePrices, ReadsToolsByTheCall) {
  const std::pair<const char*, int64_t> rows[] = {
      {"10.00", 10'000'000},       {"2.50", 2'500'000},   {"0.1", 100'000},
      {"999.999999", 999'999'999}, {"0.123456", 123'456},
  };
  for (const auto& [amount, per_call] : rows) {
    const auto table = parse_prices(file_with_tool(tool(amount)), "p.json");
    ASSERT_TRUE(table) << table.error().text;
    ASSERT_NE(table->find_tool("web_search"), nullptr) << amount;
    EXPECT_EQ(table->find_tool("web_search")->per_call.value, per_call) << amount;
  }
}

TEST(ParsePrices, RefusesTheShippedPricesInAnotherUnit) {
  const auto model = [](const std::string& input, const std::string& cached,
                        const std::string& output) {
    return file_with(tiers(R"("input":")" + input + R"(","cached_input":")" + cached +
                           R"(","output":")" + output + "\""));
  };
  const std::pair<const char*, std::string> rows[] = {
      {"gpt-5.5 per token", model("0.000005", "0.0000005", "0.00003")},
      {"gpt-5.5 per thousand", model("0.005", "0.0005", "0.03")},
      {"gpt-5.5 per thousand, no cached", model("0.005", "0.005", "0.03")},
      {"gpt-5.5 in cents", model("500", "50", "3000")},
      {"gpt-5.5 in nano-USD", model("5000", "500", "30000")},
      {"gpt-5.5 swapped", model("30.00", "0.50", "5.00")},
      {"gpt-6-sol in cents", model("200", "20", "1000")},
      {"gpt-6-sol per thousand", model("0.002", "0.002", "0.01")},
      {"gpt-6-luna swapped", model("0.50", "0.01", "0.10")},
      {"gpt-6-luna per thousand", model("0.0001", "0.00001", "0.0005")},
      {"a tool per call", file_with_tool(tool("0.01"))},
      {"a tool per call, file search", file_with_tool(tool("0.0025"))},
      {"a tool per million calls", file_with_tool(tool("10000"))},
      {"a tool in cents", file_with_tool(tool("1000"))},
  };
  for (const auto& [description, text] : rows)
    EXPECT_FALSE(parse_prices(text, "p.json")) << description;
  const std::pair<const char*, std::string> right[] = {
      {"gpt-5.5", model("5.00", "0.50", "30.00")},
      {"gpt-6-luna", model("0.10", "0.01", "0.50")},
      {"the cheapest", model("0.02", "0.001", "0.02")},
      {"the dearest", model("199.999", "199.999", "19999.9")},
      {"a tool", file_with_tool(tool("10.00"))},
  };
  for (const auto& [description, text] : right)
    EXPECT_TRUE(parse_prices(text, "p.json")) << description;
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
      {"context of nothing", file_with(R"("context_tokens":0,)" + tiers(good)), "context_tokens"},
      {"context as a text", file_with(R"("context_tokens":"1",)" + tiers(good)), "context_tokens"},
      {"negative output", file_with(R"("max_output_tokens":-1,)" + tiers(good)), "max_output"},
      {"output as a fraction", file_with(R"("max_output_tokens":1.5,)" + tiers(good)),
       "max_output"},
      {"more output than context",
       file_with(R"("context_tokens":10,"max_output_tokens":11,)" + tiers(good)),
       "max_output_tokens is above"},
      {"tools of the wrong kind",
       R"({"version":"v","unit":"usd_per_million_tokens","tools":{},"models":[{)" + tiers(good) +
           "}]}",
       "\"tools\" is not a list"},
      {"tool of the wrong kind",
       R"({"version":"v","unit":"usd_per_million_tokens","tools":[1],"models":[{)" + tiers(good) +
           "}]}",
       "tools[0]"},
      {"tool per call", file_with_tool(tool("0.01")), "web_search: usd_per_thousand_calls"},
      {"tool with seven places", file_with_tool(tool("1.0000001")), "more than six places"},
      {"tool as no amount", file_with_tool(tool("ten")), "web_search: usd_per_thousand_calls"},
      {"free tool", file_with_tool(tool("0")), "0.1"},
      {"tool with capitals", file_with_tool(tool("10", "WebSearch")), "a-z"},
      {"tool without a name", file_with_tool(tool("10", "")), "tool"},
      {"tool twice", file_with_tool(tool("10") + "},{" + tool("10")), "twice"},
      {"tool with another key", file_with_tool(tool("10") + R"(,"usd_per_call":"0.01")"),
       "usd_per_call"},
      {"tool without a price", file_with_tool(R"("tool":"t","source":"s","date":"2026-08-27")"),
       "usd_per_thousand_calls"},
      {"tool without a source",
       file_with_tool(R"("tool":"t","usd_per_thousand_calls":"1","date":"2026-08-27")"), "source"},
      {"tool without a date",
       file_with_tool(R"("tool":"t","usd_per_thousand_calls":"1","source":"s")"), "date"},
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
    EXPECT_GT(model.max_output_tokens, 0u) << model.model;
    EXPECT_LT(model.max_output_tokens, model.context_tokens) << model.model;
  }
  ASSERT_NE(table->find_tool("web_search"), nullptr);
  EXPECT_EQ(table->find_tool("web_search")->per_call, NanoUsd{10'000'000});
  const std::string whole = text.str();
  for (size_t length = 0; length + 2 < whole.size(); ++length) {
    EXPECT_FALSE(parse_prices(std::string_view(whole).substr(0, length), "p")) << length;
  }
}

}  // namespace
}  // namespace tollgate::policy
