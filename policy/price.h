// Prices and what a usage costs. Prices are nano-USD per token (USD per million × 1,000), integers;
// a cost is the exact sum of tokens × price in 128 bits.
// Source of the shapes: OpenAI's public price list; each row of a price file names its source URL
// and date.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/base/units.h"

namespace tollgate::policy {

// Token counts of one answer as the provider reports them. Cached and cache-write tokens are part
// of input, reasoning tokens part of output.
struct UsageTokens {
  uint64_t input = 0;
  uint64_t cached_input = 0;
  uint64_t cache_write = 0;
  uint64_t output = 0;
  uint64_t reasoning = 0;
};

struct TokenRates {  // nano-USD per token
  int64_t input = 0;
  int64_t cached_input = 0;
  int64_t cache_write = 0;
  int64_t output = 0;
};

struct TierPrice {  // nano-USD per token
  int64_t input = 0;
  int64_t cached_input = 0;
  int64_t cache_write = 0;  // what a written token costs in place of `input`
  int64_t output = 0;
  // Above this many input tokens the whole request costs `long_context`; 0: there is no step.
  uint64_t long_context_above = 0;
  TokenRates long_context{};
};

// The tier that a request or an answer means: "" and "auto" are "default".
std::string_view effective_tier(std::string_view tier);

struct ModelPrice {
  std::string model;  // exact name, or a prefix with dated snapshots: see PriceTable::find
  std::map<std::string, TierPrice, std::less<>> tiers;  // "default", "priority", "flex"
  std::string source;
  std::string date;
  // The most that one request can take; 0: the file does not say, and only requests with a cap of
  // their own (or the policy's) can be held strictly.
  uint64_t context_tokens = 0;     // input and output together
  uint64_t max_output_tokens = 0;  // output alone
};

// A hosted tool ("web_search") that the provider charges by the call, apart from tokens.
struct ToolPrice {
  std::string tool;  // as `tools[].type` names it, without a date suffix
  NanoUsd per_call;
  std::string source;
  std::string date;
};

class PriceTable {
 public:
  PriceTable() = default;
  PriceTable(std::string version, std::vector<ModelPrice> models,
             std::vector<ToolPrice> tools = {});

  const std::string& version() const { return version_; }
  // Exact name, else the name less a dated snapshot suffix ("gpt-5.5-2026-04-23" → "gpt-5.5").
  const ModelPrice* find(std::string_view model) const;
  const std::vector<ModelPrice>& models() const { return models_; }
  // Also with a suffix: "web_search_preview_2025_03_11" is "web_search_preview", and that is an
  // entry of its own. nullptr: no price.
  const ToolPrice* find_tool(std::string_view tool) const;
  const std::vector<ToolPrice>& tools() const { return tools_; }

 private:
  std::string version_;
  std::vector<ModelPrice> models_;  // sorted by name
  std::vector<ToolPrice> tools_;    // sorted by name
};

// Nothing when the tier has no price or the sum leaves the range of NanoUsd. When the parts exceed
// the whole (cached + written > input), nothing about the split is believed: the larger count is
// billed as plain input.
std::optional<NanoUsd> cost_of(const ModelPrice& price, std::string_view tier,
                               const UsageTokens& tokens);

// Tools that the provider is known to charge by the call: without a price they cannot be metered.
// Other names pass: what nobody has heard of has no price either.
bool bills_by_call(std::string_view tool);

// The name less a date: "web_search_2025_08_26" → "web_search"; one without a date as it is.
std::string_view undated_tool(std::string_view tool);

// Nothing when the product leaves the range of NanoUsd.
std::optional<NanoUsd> cost_of_calls(const ToolPrice& price, uint64_t calls);

// Reads a price file (JSON, see policy/README.md). `name` goes into errors. Sanity bounds refuse a
// per-token price written where USD per million is meant, and the reverse.
Result<PriceTable> parse_prices(std::string_view json, std::string_view name);

}  // namespace tollgate::policy
