#include "policy/hold.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace tollgate::policy {
namespace {

constexpr char kContact[] = "ask #ai";

ModelPrice priced(const TierPrice& tier) {
  ModelPrice price;
  price.model = "gpt-a";
  price.tiers["default"] = tier;
  return price;
}

ModelPrice example() {
  ModelPrice price = priced({1'000, 100, 1'250, 8'000, 272'000, {2'000, 200, 2'500, 12'000}});
  price.context_tokens = 400'000;
  price.max_output_tokens = 128'000;
  return price;
}

HoldAsk strict(const ModelPrice& price, uint64_t body_bytes) {
  HoldAsk ask;
  ask.mode = HoldMode::strict;
  ask.price = &price;
  ask.body_bytes = body_bytes;
  return ask;
}

HoldAsk typical(const ModelPrice& price, uint64_t body_bytes, const Estimate& estimate) {
  HoldAsk ask;
  ask.price = &price;
  ask.body_bytes = body_bytes;
  ask.estimate = estimate;
  return ask;
}

Hold held(const HoldAsk& ask) {
  auto sized = size_hold(ask, kContact);
  const Refusal* refusal = std::get_if<Refusal>(&sized);
  EXPECT_EQ(refusal, nullptr) << refusal->message;
  return refusal == nullptr ? std::get<Hold>(sized) : Hold{};
}

Refusal refused(const HoldAsk& ask) {
  auto sized = size_hold(ask, kContact);
  EXPECT_TRUE(std::holds_alternative<Refusal>(sized));
  return std::holds_alternative<Refusal>(sized) ? std::get<Refusal>(sized)
                                                : Refusal{RefusalCode::overloaded, "", ""};
}

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t upto(uint64_t most) { return engine_() % (most + 1); }
  bool flip() { return upto(1) == 0; }

 private:
  std::mt19937_64 engine_;
};

// Any row that a price file may hold (parse_prices checks these bounds).
TokenRates random_rates(Random& random, int64_t input_min, int64_t output_min) {
  TokenRates rates;
  rates.input = input_min + static_cast<int64_t>(random.upto(5'000));
  rates.cached_input = static_cast<int64_t>(random.upto(static_cast<uint64_t>(rates.input)));
  rates.cache_write =
      rates.input / 10 + static_cast<int64_t>(random.upto(static_cast<uint64_t>(rates.input) * 9));
  rates.output = std::max(output_min, rates.input) + static_cast<int64_t>(random.upto(30'000));
  return rates;
}

ModelPrice random_price(Random& random) {
  ModelPrice price;
  price.model = "gpt-r";
  for (const char* tier : {"default", "priority"}) {
    const TokenRates rates = random_rates(random, 20, 20);
    TierPrice entry{rates.input, rates.cached_input, rates.cache_write, rates.output};
    if (random.flip()) {
      entry.long_context_above = 1 + random.upto(20'000);
      entry.long_context = random_rates(random, rates.input, rates.output);
    }
    price.tiers[tier] = entry;
  }
  if (random.flip()) price.context_tokens = 1'000 + random.upto(40'000);
  if (random.flip()) price.max_output_tokens = 1 + random.upto(10'000);
  return price;
}

UsageTokens random_usage(Random& random, const Hold& hold) {
  UsageTokens real;
  real.input = random.flip() ? hold.input_tokens : random.upto(hold.input_tokens);
  real.output = random.flip() ? hold.output_tokens : random.upto(hold.output_tokens);
  real.reasoning = random.upto(real.output);
  real.cached_input = random.flip() ? 0 : random.upto(real.input);
  const uint64_t rest = real.input - real.cached_input;
  real.cache_write = random.flip() ? rest : random.upto(rest);
  return real;
}

TEST(StrictHold, IsNeverBelowWhatTheRequestCanCost) {
  Random random(1);
  size_t sized = 0;
  for (int i = 0; i < 20'000; ++i) {
    const ModelPrice price = random_price(random);
    HoldAsk ask = strict(price, random.upto(30'000));
    if (random.flip()) ask.tier = "priority";
    if (random.flip()) ask.max_output_tokens = 1 + random.upto(10'000);
    ask.refers_elsewhere = random.upto(3) == 0;
    ask.inline_images = random.upto(5) == 0 ? random.upto(3) : 0;
    const auto result = size_hold(ask, kContact);
    if (!std::holds_alternative<Hold>(result)) continue;
    ++sized;
    const Hold& hold = std::get<Hold>(result);
    for (int k = 0; k < 10; ++k) {
      const UsageTokens real = random_usage(random, hold);
      const auto cost = cost_of(price, ask.tier, real);
      ASSERT_TRUE(cost);
      ASSERT_LE(cost->value, hold.cost.value)
          << "input " << real.input << " of " << hold.input_tokens << ", written "
          << real.cache_write << ", output " << real.output;
    }
  }
  EXPECT_GT(sized, 10'000u);
}

TEST(StrictHold, IsBoundByTheSmallestOfWhatBoundsIt) {
  const ModelPrice price = example();
  struct Row {
    const char* description;
    uint64_t body_bytes;
    uint64_t max_output_tokens;
    bool refers_elsewhere;
    uint64_t inline_images;
    uint64_t input_tokens;
    uint64_t output_tokens;
  };
  const Row rows[] = {
      {"a token is a byte at least, and some frame it", 1'000, 0, false, 0, 1'512, 128'000},
      {"the context bounds a large body", 5'000'000, 0, false, 0, 400'000, 128'000},
      {"what is not in the body may fill the context", 1'000, 0, true, 0, 400'000, 128'000},
      {"the request's own cap", 1'000, 500, false, 0, 1'512, 500},
      {"a cap above the model's", 1'000, 200'000, false, 0, 1'512, 128'000},
      {"a small file may be a large picture", 1'000, 1, false, 2, 31'512, 1},
      {"pictures fill no more than the context", 1'000, 1, false, 1'000, 400'000, 1},
  };
  for (const Row& row : rows) {
    HoldAsk ask = strict(price, row.body_bytes);
    ask.max_output_tokens = row.max_output_tokens;
    ask.refers_elsewhere = row.refers_elsewhere;
    ask.inline_images = row.inline_images;
    const Hold hold = held(ask);
    EXPECT_EQ(hold.input_tokens, row.input_tokens) << row.description;
    EXPECT_EQ(hold.output_tokens, row.output_tokens) << row.description;
    EXPECT_EQ(hold.tokens(), row.input_tokens + row.output_tokens) << row.description;
    const bool is_long = row.input_tokens > 272'000;
    EXPECT_EQ(hold.cost.value, static_cast<int64_t>(row.input_tokens * (is_long ? 2'500 : 1'250) +
                                                    row.output_tokens * (is_long ? 12'000 : 8'000)))
        << row.description;
  }
}

TEST(StrictHold, StepsUpWithLongContext) {
  ModelPrice price = example();
  price.tiers["default"].cache_write = 1'000;
  price.tiers["default"].long_context.cache_write = 2'000;
  HoldAsk ask = strict(price, 272'000 - 512);
  ask.max_output_tokens = 1;
  EXPECT_EQ(held(ask).cost.value, 272'000'000 + 8'000);
  ask.body_bytes += 1;
  EXPECT_EQ(held(ask).cost.value, 272'001 * 2'000 + 12'000);
}

TEST(StrictHold, WritingMayBeTheDearerHalfBelowTheStep) {
  ModelPrice price = priced({100, 100, 1'000, 100, 1'000, {200, 200, 200, 100}});
  HoldAsk ask = strict(price, 1'000);
  ask.max_output_tokens = 1;
  // 1,512 long tokens cost less than 1,000 short ones that are written.
  EXPECT_EQ(held(ask).cost.value, 1'000 * 1'000 + 100);
}

TEST(StrictHold, OfWhatNothingBoundsIsRefusedWithTheLineToAdd) {
  ModelPrice price = priced({1'000, 100, 1'000, 8'000});
  HoldAsk ask = strict(price, 1'000);
  Refusal refusal = refused(ask);
  EXPECT_EQ(refusal.code, RefusalCode::price_unknown);
  EXPECT_NE(refusal.message.find("max_output_tokens"), std::string::npos) << refusal.message;
  EXPECT_NE(refusal.message.find(kContact), std::string::npos) << refusal.message;
  ask.max_output_tokens = 100;
  EXPECT_EQ(held(ask).tokens(), 1'612u);

  ask.refers_elsewhere = true;
  refusal = refused(ask);
  EXPECT_EQ(refusal.code, RefusalCode::price_unknown);
  EXPECT_NE(refusal.message.find("context_tokens"), std::string::npos) << refusal.message;
  price.context_tokens = 10'000;
  EXPECT_EQ(held(ask).tokens(), 10'100u);
  ask.max_output_tokens = 0;
  EXPECT_EQ(held(ask).output_tokens, 10'000u);
}

TEST(StrictHold, HoldsTheCallsThatTheRequestAllows) {
  const ModelPrice price = example();
  HoldAsk ask = strict(price, 1'000);
  const int64_t without = held(ask).cost.value;
  ask.tool_calls_cost = {320'000'000};
  EXPECT_EQ(held(ask).cost.value, without + 320'000'000);
}

TEST(StrictHold, HoldsTheOutputOfEachChoice) {
  const ModelPrice price = priced({1'000, 100, 1'000, 1'000});
  HoldAsk ask = strict(price, 0);
  ask.max_output_tokens = 100;
  const std::pair<uint64_t, uint64_t> rows[] = {
      {0, 100}, {1, 100}, {3, 300}, {std::numeric_limits<uint64_t>::max(), 12'800}};
  for (const auto& [choices, held_output] : rows) {
    ask.choices = choices;
    EXPECT_EQ(held(ask).output_tokens, held_output) << choices;
  }
}

TEST(StrictHold, WhatLeavesTheRangeOfMoneyIsRefusedNotWrapped) {
  const ModelPrice price = priced({1'000, 100, 1'000, 1'000});
  constexpr auto kTop = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  HoldAsk ask = strict(price, 0);
  for (const uint64_t tokens : {kTop / 1'000, kTop, std::numeric_limits<uint64_t>::max()}) {
    ask.max_output_tokens = tokens;
    EXPECT_EQ(refused(ask).code, RefusalCode::request_over_limit) << tokens;
  }
  // The tokens alone would fit; the calls carry the sum over the edge.
  ask.max_output_tokens = kTop / 1'000 - 512;
  EXPECT_GT(held(ask).cost.value, 0);
  ask.tool_calls_cost = {32'000'000'000};
  EXPECT_EQ(refused(ask).code, RefusalCode::request_over_limit);
}

TEST(TypicalHold, IsTheEstimateWithinWhatIsPossible) {
  ModelPrice price = example();
  const Estimate estimate{250, 3'000, 10};
  Hold hold = held(typical(price, 40'000, estimate));
  EXPECT_EQ(hold.input_tokens, 10'001u);
  EXPECT_EQ(hold.output_tokens, 3'000u);
  EXPECT_EQ(hold.cost.value, 10'001 * 1'250 + 3'000 * 8'000);

  HoldAsk capped = typical(price, 40'000, estimate);
  capped.max_output_tokens = 100;
  EXPECT_EQ(held(capped).output_tokens, 100u);
  EXPECT_EQ(held(typical(price, 40'000'000, estimate)).input_tokens, 400'000u);
  EXPECT_EQ(held(typical(price, 40'000, {250, 1'000'000, 10})).output_tokens, 128'000u);
  EXPECT_EQ(held(typical(price, 100, {1'000, 64, 10})).input_tokens, 101u);
}

TEST(TypicalHold, NeedsNoBounds) {
  const ModelPrice price = priced({1'000, 100, 1'000, 8'000});
  HoldAsk ask = typical(price, 3'000, {333, 2'000, 0});
  EXPECT_EQ(held(ask).tokens(), 1'000u + 2'000u);
  ask.refers_elsewhere = true;
  EXPECT_EQ(held(ask).tokens(), 1'000u + 2'000u);
}

TEST(TypicalHold, IsNeverAboveTheStrictOne) {
  Random random(2);
  for (int i = 0; i < 5'000; ++i) {
    const ModelPrice price = random_price(random);
    HoldAsk ask = strict(price, random.upto(30'000));
    ask.max_output_tokens = 1 + random.upto(10'000);
    const Hold most = held(ask);
    ask.mode = HoldMode::typical;
    ask.estimate = {50 + random.upto(950), 64 + random.upto(999'936), 32};
    const Hold usual = held(ask);
    ASSERT_LE(usual.input_tokens, most.input_tokens);
    ASSERT_LE(usual.output_tokens, most.output_tokens);
    ASSERT_LE(usual.cost.value, most.cost.value);
  }
}

TEST(Calibration, SaysTheDefaultsUntilItHasSeenThree) {
  Calibration calibration;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(calibration.estimate("alice", "gpt-a").samples, 0u);
    EXPECT_EQ(calibration.estimate("alice", "gpt-a").tokens_per_kilobyte, 333u);
    EXPECT_EQ(calibration.estimate("alice", "gpt-a").output_tokens, 2'000u);
    calibration.learn("alice", "gpt-a", 10'000, 2'500, 700);
  }
  EXPECT_EQ(calibration.estimate("alice", "gpt-a").samples, 3u);
  EXPECT_EQ(calibration.estimate("alice", "gpt-a").tokens_per_kilobyte, 250u);
  EXPECT_EQ(calibration.estimate("alice", "gpt-a").output_tokens, 700u);
}

TEST(Calibration, FallsBackToTheModelThenToTheDefaults) {
  Calibration calibration;
  for (int i = 0; i < 3; ++i)
    calibration.learn("alice", "gpt-a", 10'000, 2'500, 700);
  EXPECT_EQ(calibration.estimate("bob", "gpt-a").tokens_per_kilobyte, 250u);
  EXPECT_EQ(calibration.estimate("bob", "gpt-b").samples, 0u);
  EXPECT_EQ(calibration.estimate("alice", "gpt-b").samples, 0u);
  // His own habits, as soon as there are enough of them.
  for (int i = 0; i < 3; ++i)
    calibration.learn("bob", "gpt-a", 10'000, 5'000, 90);
  EXPECT_EQ(calibration.estimate("bob", "gpt-a").tokens_per_kilobyte, 500u);
  EXPECT_EQ(calibration.estimate("alice", "gpt-a").tokens_per_kilobyte, 250u);
}

TEST(Calibration, SaysWhatThreeQuartersAndNineTenthsDoNotExceed) {
  const struct {
    size_t samples;
    uint64_t ratio;
    uint64_t output;
  } rows[] = {{3, 103, 1'003},  {4, 103, 1'004},  {8, 106, 1'008},
              {10, 108, 1'009}, {20, 115, 1'018}, {32, 124, 1'029}};
  for (const auto& row : rows) {
    Calibration calibration;
    for (uint64_t i = 1; i <= row.samples; ++i)
      calibration.learn("alice", "gpt-a", 1'000, 100 + i, 1'000 + i);
    const Estimate estimate = calibration.estimate("alice", "gpt-a");
    EXPECT_EQ(estimate.samples, row.samples);
    EXPECT_EQ(estimate.tokens_per_kilobyte, row.ratio) << row.samples;
    EXPECT_EQ(estimate.output_tokens, row.output) << row.samples;
  }
}

TEST(Calibration, RemembersTheLastThirtyTwo) {
  Calibration calibration;
  for (int i = 0; i < 100; ++i)
    calibration.learn("alice", "gpt-a", 1'000, 900, 50'000);
  for (int i = 0; i < 31; ++i)
    calibration.learn("alice", "gpt-a", 1'000, 100, 100);
  EXPECT_EQ(calibration.estimate("alice", "gpt-a").samples, 32u);
  EXPECT_EQ(calibration.estimate("alice", "gpt-a").output_tokens, 100u);
  for (int i = 0; i < 4; ++i)
    calibration.learn("alice", "gpt-a", 1'000, 100, 50'000);
  EXPECT_EQ(calibration.estimate("alice", "gpt-a").tokens_per_kilobyte, 100u);
  EXPECT_EQ(calibration.estimate("alice", "gpt-a").output_tokens, 50'000u);
}

TEST(Calibration, StaysWithinItsBounds) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  const struct {
    const char* description;
    uint64_t body_bytes;
    uint64_t input_tokens;
    uint64_t output_tokens;
    uint64_t ratio;
    uint64_t output;
  } rows[] = {
      {"hardly a token", 1'000'000, 1, 0, 50, 64},
      {"at the lower bounds", 1'000, 50, 64, 50, 64},
      {"just above them", 1'000, 51, 65, 51, 65},
      {"at the upper bounds", 1'000, 1'000, 1'000'000, 1'000, 1'000'000},
      {"above them", 1'000, 1'001, 1'000'001, 1'000, 1'000'000},
      {"the most that is believed", 1, 4'294'967'295, kMax, 1'000, 1'000'000},
  };
  for (const auto& row : rows) {
    Calibration calibration;
    for (int i = 0; i < 3; ++i)
      calibration.learn("alice", "gpt-a", row.body_bytes, row.input_tokens, row.output_tokens);
    EXPECT_EQ(calibration.estimate("alice", "gpt-a").tokens_per_kilobyte, row.ratio)
        << row.description;
    EXPECT_EQ(calibration.estimate("alice", "gpt-a").output_tokens, row.output) << row.description;
  }
}

TEST(Calibration, LearnsNothingFromWhatCannotBe) {
  Calibration calibration;
  for (int i = 0; i < 3; ++i) {
    calibration.learn("alice", "gpt-a", 0, 1'000, 1'000);
    calibration.learn("alice", "gpt-a", 1'000, 4'294'967'296, 1'000);
  }
  EXPECT_EQ(calibration.estimate("alice", "gpt-a").samples, 0u);
  EXPECT_TRUE(calibration.rows("").empty());
}

TEST(Calibration, ShowsItsRowsOfOneUserOrOfAll) {
  Calibration calibration;
  calibration.learn("alice", "gpt-a", 1'000, 100, 100);
  calibration.learn("alice", "gpt-b", 1'000, 100, 100);
  calibration.learn("bob", "gpt-a", 1'000, 100, 100);
  EXPECT_EQ(calibration.rows("").size(), 3u);
  EXPECT_EQ(calibration.rows("alice").size(), 2u);
  ASSERT_EQ(calibration.rows("bob").size(), 1u);
  EXPECT_EQ(calibration.rows("bob")[0].model, "gpt-a");
  EXPECT_EQ(calibration.rows("bob")[0].estimate.samples, 1u);
  EXPECT_TRUE(calibration.rows("carol").empty());
}

}  // namespace
}  // namespace tollgate::policy
