#include "policy/hold.h"

#include <algorithm>
#include <limits>

namespace tollgate::policy {
namespace {

constexpr size_t kSamplesKept = 32;
// Fewer say nothing about a person's habits yet.
constexpr size_t kSamplesMin = 3;
constexpr Estimate kDefault{.tokens_per_kilobyte = 333, .output_tokens = 2'000, .samples = 0};
// A body is mostly text (a token is one to eight bytes) or images (far fewer tokens than bytes).
constexpr uint64_t kTokensPerKilobyteMin = 50;
constexpr uint64_t kTokensPerKilobyteMax = 1'000;
constexpr uint64_t kOutputTokensMin = 64;
constexpr uint64_t kOutputTokensMax = 1'000'000;
// What a provider puts around the messages; a token of the body itself has at least one byte of it.
constexpr uint64_t kFramingTokens = 512;
// The most that a picture is cut into by the models that look closest (10,000 patches), and half as
// much again for models that weigh patches.
constexpr uint64_t kImageTokensMax = 15'000;
// The provider gives no more answers at once.
constexpr uint64_t kChoicesMax = 128;

// The value that `percent` of the samples do not exceed.
template <typename T>
T quantile(std::vector<T> samples, size_t percent) {
  const size_t rank = (samples.size() * percent + 99) / 100;
  const auto at = samples.begin() + static_cast<std::ptrdiff_t>(std::max<size_t>(rank, 1) - 1);
  std::nth_element(samples.begin(), at, samples.end());
  return *at;
}

// Written tokens cost more than plain ones on some models and less on others, also above the step
// to long context, where a price file may leave them cheaper than below: the dearest of all these.
std::optional<NanoUsd> dearest(const ModelPrice& price, std::string_view tier, uint64_t input,
                               uint64_t output) {
  const auto found = price.tiers.find(effective_tier(tier));
  if (found == price.tiers.end()) return std::nullopt;
  const uint64_t step = found->second.long_context_above;
  const uint64_t below = step == 0 ? input : std::min(input, step);
  NanoUsd most;
  for (const UsageTokens& tokens :
       {UsageTokens{input, 0, 0, output, 0}, UsageTokens{input, 0, input, output, 0},
        UsageTokens{below, 0, below, output, 0}}) {
    const auto cost = cost_of(price, tier, tokens);
    if (!cost) return std::nullopt;
    most = std::max(most, *cost);
  }
  return most;
}

Refusal unbounded(const ModelPrice& price, const char* what, const char* line,
                  const std::string& contact) {
  return {RefusalCode::price_unknown,
          "Requests are held strictly here, and nothing says how many " + std::string(what) +
              " tokens one of model " + price.model + " can take. " + line + "; " + contact + ".",
          "model"};
}

}  // namespace

void Calibration::learn(const std::string& user, const std::string& model, uint64_t body_bytes,
                        uint64_t input_tokens, uint64_t output_tokens) {
  if (body_bytes == 0 || input_tokens > std::numeric_limits<uint32_t>::max()) return;
  const uint64_t ratio =
      std::clamp(input_tokens * 1'000 / body_bytes, kTokensPerKilobyteMin, kTokensPerKilobyteMax);
  const uint64_t output = std::clamp(output_tokens, kOutputTokensMin, kOutputTokensMax);
  take(by_user_and_model_[{user, model}], static_cast<uint32_t>(ratio), output);
  take(by_model_[model], static_cast<uint32_t>(ratio), output);
}

void Calibration::take(Samples& samples, uint32_t tokens_per_kilobyte, uint64_t output_tokens) {
  if (samples.output_tokens.size() < kSamplesKept) {
    samples.tokens_per_kilobyte.push_back(tokens_per_kilobyte);
    samples.output_tokens.push_back(output_tokens);
  } else {
    samples.tokens_per_kilobyte[samples.next] = tokens_per_kilobyte;
    samples.output_tokens[samples.next] = output_tokens;
    samples.next = (samples.next + 1) % kSamplesKept;
  }
  samples.estimate = {quantile(samples.tokens_per_kilobyte, 75),
                      quantile(samples.output_tokens, 90), samples.output_tokens.size()};
}

Estimate Calibration::estimate(const std::string& user, const std::string& model) const {
  const auto own = by_user_and_model_.find({user, model});
  if (own != by_user_and_model_.end() && own->second.estimate.samples >= kSamplesMin) {
    return own->second.estimate;
  }
  const auto common = by_model_.find(model);
  if (common != by_model_.end() && common->second.estimate.samples >= kSamplesMin) {
    return common->second.estimate;
  }
  return kDefault;
}

std::vector<Calibration::Row> Calibration::rows(std::string_view user) const {
  std::vector<Row> rows;
  for (const auto& [key, samples] : by_user_and_model_) {
    if (user.empty() || key.first == user)
      rows.push_back({key.first, key.second, samples.estimate});
  }
  return rows;
}

void Hold::shrink_to(NanoUsd cost_max, uint64_t tokens_max) {
  cost = std::min(cost, cost_max);
  input_tokens = std::min(input_tokens, tokens_max);
  output_tokens = std::min(output_tokens, tokens_max - input_tokens);
}

uint64_t expected_input_tokens(const Estimate& estimate, uint64_t body_bytes) {
  return body_bytes * estimate.tokens_per_kilobyte / 1'000 + 1;
}

std::variant<Hold, Refusal> size_hold(const HoldAsk& ask, const std::string& contact) {
  const ModelPrice& price = *ask.price;
  const uint64_t context = price.context_tokens;
  const bool strict = ask.mode == HoldMode::strict;
  Hold hold;
  // The most it can be, as far as that is known; 0 stands for unknown.
  const uint64_t body_max = ask.body_bytes + kFramingTokens + ask.inline_images * kImageTokensMax;
  const uint64_t input_max = ask.refers_elsewhere ? context
                             : context == 0       ? body_max
                                                  : std::min(context, body_max);
  const uint64_t model_output_max =
      price.max_output_tokens != 0 ? price.max_output_tokens : context;
  const uint64_t answer_max = ask.max_output_tokens == 0 ? model_output_max
                              : model_output_max == 0
                                  ? ask.max_output_tokens
                                  : std::min(ask.max_output_tokens, model_output_max);
  const uint64_t choices = std::clamp<uint64_t>(ask.choices, 1, kChoicesMax);
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  const uint64_t output_max = answer_max > kMost / choices ? kMost : answer_max * choices;
  if (strict && input_max == 0) {
    return unbounded(price, "input", "The price file needs \"context_tokens\" of the model",
                     contact);
  }
  if (strict && output_max == 0) {
    return unbounded(price, "output",
                     "The policy needs max_output_tokens, or the price file that of the model",
                     contact);
  }
  hold.input_tokens = input_max;
  hold.output_tokens = output_max;
  if (!strict) {
    hold.input_tokens = expected_input_tokens(ask.estimate, ask.body_bytes);
    hold.output_tokens = ask.estimate.output_tokens;
    if (input_max != 0) hold.input_tokens = std::min(hold.input_tokens, input_max);
    if (output_max != 0) hold.output_tokens = std::min(hold.output_tokens, output_max);
  }
  const auto cost = dearest(price, ask.tier, hold.input_tokens, hold.output_tokens);
  // A client chooses the tokens: no sum of his may wrap around.
  if (!cost || cost->value > std::numeric_limits<int64_t>::max() - ask.tool_calls_cost.value) {
    return Refusal{RefusalCode::request_over_limit,
                   "This request is larger than what can be priced. Start a new session with a "
                   "smaller context; " +
                       contact + ".",
                   ""};
  }
  hold.cost = *cost + ask.tool_calls_cost;
  return hold;
}

}  // namespace tollgate::policy
