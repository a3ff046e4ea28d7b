// Price file → table. Every refusal names the entry, since a wrong price is a wrong bill.
#include <algorithm>
#include <set>
#include <utility>

#include "policy/price.h"
#include "policy/price_reader.h"

namespace tollgate::policy {
namespace {

// USD per million × 1,000 = nano-USD per token. The bounds lie around what models cost, so that a
// file in another unit falls out of them: a price per token or per thousand below the floor, one in
// cents above the ceiling as soon as a model of 2 USD is among them.
constexpr int64_t kNanoPerUnit = 1'000'000;
constexpr int64_t kRateMin = 1;           // 0.001 USD per million
constexpr int64_t kInputMin = 20;         // 0.02 USD per million
constexpr int64_t kInputBelow = 200'000;  // 200 USD per million
constexpr int64_t kWriteRatioMax = 10;
constexpr int64_t kOutputRatioMax = 100;
// Nano-USD for a thousand calls. A price per call falls below, a price per million calls above.
constexpr int64_t kCalls = 1000;
constexpr int64_t kToolMin = kNanoUsdPerUsd / 10;
constexpr int64_t kToolBelow = 1000 * kNanoUsdPerUsd;
constexpr std::string_view kUnit = "usd_per_million_tokens";

Result<int64_t> read_rate(const Json& object, const char* key, const Place& place) {
  auto text = read_text(object, key, place);
  if (!text) return std::move(text).forward();
  const auto amount = parse_usd(*text);
  if (!amount)
    return place.refuse(std::string(key) + ": " + amount.error().text, "write it like \"1.25\"");
  if (amount->value % kNanoPerUnit != 0) {
    return place.refuse(std::string(key) + " \"" + *text + "\" has more than three places",
                        "write USD per million tokens, like \"1.25\"");
  }
  return amount->value / kNanoPerUnit;
}

// `fallback` is what a missing optional rate costs: the plain input price, never less.
Result<int64_t> read_rate_or(const Json& object, const char* key, int64_t fallback,
                             const Place& place) {
  if (!object.contains(key)) return fallback;
  return read_rate(object, key, place);
}

Status check_bounds(const TokenRates& rates, const Place& place) {
  const std::string hint = "amounts are USD per million tokens, as decimal strings";
  if (rates.input < kInputMin || rates.input >= kInputBelow) {
    return place.refuse("input is not from 0.02 to below 200", hint);
  }
  if (rates.output < rates.input || rates.output > rates.input * kOutputRatioMax) {
    return place.refuse("output is not between input and a hundred times input", hint);
  }
  if (rates.cached_input < kRateMin || rates.cached_input > rates.input) {
    return place.refuse("cached_input is not between 0.001 and input", hint);
  }
  if (rates.cache_write < rates.input / kWriteRatioMax ||
      rates.cache_write > rates.input * kWriteRatioMax) {
    return place.refuse("cache_write is not between a tenth and ten times input", hint);
  }
  return {};
}

Result<TokenRates> read_rates(const Json& object, const Place& place) {
  const auto input = read_rate(object, "input", place);
  if (!input) return input.error();
  const auto output = read_rate(object, "output", place);
  if (!output) return output.error();
  const auto cached = read_rate_or(object, "cached_input", *input, place);
  if (!cached) return cached.error();
  const auto written = read_rate_or(object, "cache_write", *input, place);
  if (!written) return written.error();
  const TokenRates rates{*input, *cached, *written, *output};
  if (auto sane = check_bounds(rates, place); !sane) return sane.error();
  return rates;
}

Status read_long_context(const Json& object, TierPrice& tier, const Place& place) {
  if (auto known = check_keys(
          object, {"above_input_tokens", "input", "cached_input", "cache_write", "output"}, place);
      !known) {
    return known;
  }
  const auto above = read_count(object, "above_input_tokens", place);
  if (!above) return above.error();
  if (*above == 0) return place.refuse("\"above_input_tokens\" is missing", "write it like 272000");
  const auto rates = read_rates(object, place);
  if (!rates) return rates.error();
  if (rates->input < tier.input || rates->output < tier.output) {
    return place.refuse("long context is cheaper than short", "swap the two, or leave it out");
  }
  tier.long_context_above = *above;
  tier.long_context = *rates;
  return {};
}

Result<TierPrice> read_tier(const Json& object, const Place& place) {
  if (auto known = check_keys(
          object, {"input", "cached_input", "cache_write", "output", "long_context"}, place);
      !known) {
    return known.error();
  }
  const auto rates = read_rates(object, place);
  if (!rates) return rates.error();
  TierPrice tier;
  tier.input = rates->input;
  tier.cached_input = rates->cached_input;
  tier.cache_write = rates->cache_write;
  tier.output = rates->output;
  if (const auto step = object.find("long_context"); step != object.end()) {
    if (auto read = read_long_context(*step, tier, place.in("long_context")); !read) {
      return read.error();
    }
  }
  return tier;
}

Status read_tiers(const Json& entry, ModelPrice& price, const Place& place) {
  const auto tiers = entry.find("tiers");
  if (tiers == entry.end() || !tiers->contains("default")) {
    return place.refuse("\"tiers\" has no \"default\"", "add \"tiers\": {\"default\": {...}}");
  }
  if (auto known = check_keys(*tiers, {"default", "priority", "flex"}, place.in("tiers")); !known) {
    return known;
  }
  for (const auto& [name, object] : tiers->items()) {
    const auto tier = read_tier(object, place.in("tiers." + name));
    if (!tier) return tier.error();
    price.tiers.emplace(name, *tier);
  }
  return {};
}

Status read_maxima(const Json& entry, ModelPrice& price, const Place& place) {
  const auto context = read_count(entry, "context_tokens", place);
  if (!context) return context.error();
  const auto output = read_count(entry, "max_output_tokens", place);
  if (!output) return output.error();
  if (*context != 0 && *output > *context) {
    return place.refuse("max_output_tokens is above context_tokens", "swap the two");
  }
  price.context_tokens = *context;
  price.max_output_tokens = *output;
  return {};
}

Result<ModelPrice> read_model(const Json& entry, const Place& outer) {
  if (auto known = check_keys(
          entry, {"model", "source", "date", "context_tokens", "max_output_tokens", "tiers"},
          outer);
      !known) {
    return known.error();
  }
  auto model = read_text(entry, "model", outer);
  if (!model) return std::move(model).forward();
  const Place place = outer.in(*model);
  auto source = read_text(entry, "source", place);
  if (!source) return std::move(source).forward();
  auto date = read_date(entry, place);
  if (!date) return std::move(date).forward();
  ModelPrice price;
  price.model = *std::move(model);
  price.source = *std::move(source);
  price.date = *std::move(date);
  if (auto read = read_maxima(entry, price, place); !read) return read.error();
  if (auto read = read_tiers(entry, price, place); !read) return read.error();
  return price;
}

Result<NanoUsd> read_per_call(const Json& entry, const Place& place) {
  auto text = read_text(entry, "usd_per_thousand_calls", place);
  if (!text) return std::move(text).forward();
  const std::string hint = "write USD per thousand calls, like \"10.00\"";
  const auto amount = parse_usd(*text);
  if (!amount) return place.refuse("usd_per_thousand_calls: " + amount.error().text, hint);
  if (amount->value < kToolMin || amount->value >= kToolBelow) {
    return place.refuse("usd_per_thousand_calls \"" + *text + "\" is not from 0.1 to below 1000",
                        hint);
  }
  if (amount->value % kCalls != 0) {
    return place.refuse("usd_per_thousand_calls \"" + *text + "\" has more than six places", hint);
  }
  return NanoUsd{amount->value / kCalls};
}

bool is_tool_name(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

Result<ToolPrice> read_tool(const Json& entry, const Place& outer) {
  if (auto known = check_keys(entry, {"tool", "usd_per_thousand_calls", "source", "date"}, outer);
      !known) {
    return known.error();
  }
  auto tool = read_text(entry, "tool", outer);
  if (!tool) return std::move(tool).forward();
  const Place place = outer.in(*tool);
  if (!is_tool_name(*tool)) {
    return place.refuse("tool is not of a-z, 0-9 and _", "write it like \"web_search\"");
  }
  const auto per_call = read_per_call(entry, place);
  if (!per_call) return per_call.error();
  auto source = read_text(entry, "source", place);
  if (!source) return std::move(source).forward();
  auto date = read_date(entry, place);
  if (!date) return std::move(date).forward();
  return ToolPrice{*std::move(tool), *per_call, *std::move(source), *std::move(date)};
}

Result<std::vector<ModelPrice>> read_models(const Json& root, const Place& place) {
  const auto list = root.find("models");
  if (list == root.end() || !list->is_array() || list->empty()) {
    return place.refuse("\"models\" is not a list with entries", "see policy/README.md");
  }
  std::vector<ModelPrice> models;
  std::set<std::string> names;
  for (size_t i = 0; i < list->size(); ++i) {
    auto model = read_model((*list)[i], place.in("models[" + std::to_string(i) + "]"));
    if (!model) return std::move(model).forward();
    if (!names.insert(model->model).second) {
      return place.refuse("model \"" + model->model + "\" is there twice", "keep one entry");
    }
    models.push_back(*std::move(model));
  }
  return models;
}

Result<std::vector<ToolPrice>> read_tools(const Json& root, const Place& place) {
  std::vector<ToolPrice> tools;
  const auto list = root.find("tools");
  if (list == root.end()) return tools;
  if (!list->is_array()) return place.refuse("\"tools\" is not a list", "see policy/README.md");
  std::set<std::string> names;
  for (size_t i = 0; i < list->size(); ++i) {
    auto tool = read_tool((*list)[i], place.in("tools[" + std::to_string(i) + "]"));
    if (!tool) return std::move(tool).forward();
    if (!names.insert(tool->tool).second) {
      return place.refuse("tool \"" + tool->tool + "\" is there twice", "keep one entry");
    }
    tools.push_back(*std::move(tool));
  }
  return tools;
}

}  // namespace

Result<PriceTable> parse_prices(std::string_view json, std::string_view name) {
  const Place place{"read price file " + std::string(name)};
  const auto root = parse_unique(json, place);
  if (!root) return root.error();
  if (auto known = check_keys(*root, {"version", "unit", "models", "tools"}, place); !known) {
    return known.error();
  }
  auto version = read_text(*root, "version", place);
  if (!version) return std::move(version).forward();
  const auto unit = read_text(*root, "unit", place);
  if (!unit) return unit.error();
  if (*unit != kUnit) {
    return place.refuse("unit \"" + *unit + "\"", "the one unit is \"" + std::string(kUnit) + "\"");
  }
  auto models = read_models(*root, place);
  if (!models) return std::move(models).forward();
  auto tools = read_tools(*root, place);
  if (!tools) return std::move(tools).forward();
  return PriceTable(*std::move(version), *std::move(models), *std::move(tools));
}

}  // namespace tollgate::policy
