#include "policy/price.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace tollgate::policy {
namespace {

__extension__ using Wide = unsigned __int128;

// "gpt-5.5-2026-04-23", "web_search_2025_08_26": what is dated costs what the undated name costs.
constexpr std::string_view kModelDate = "-dddd-dd-dd";
constexpr std::string_view kToolDate = "_dddd_dd_dd";

// The name less a suffix of that shape ('d' is a digit); empty when it has none.
std::string_view undated(std::string_view name, std::string_view shape) {
  if (name.size() <= shape.size()) return {};
  const std::string_view suffix = name.substr(name.size() - shape.size());
  for (size_t i = 0; i < suffix.size(); ++i) {
    const bool digit = suffix[i] >= '0' && suffix[i] <= '9';
    if (shape[i] == 'd' ? !digit : suffix[i] != shape[i]) return {};
  }
  return name.substr(0, name.size() - shape.size());
}

// Of entries sorted by the name: the one of exactly this name.
template <typename Entry>
const Entry* exact(const std::vector<Entry>& sorted, std::string Entry::*name,
                   std::string_view wanted) {
  const auto found = std::lower_bound(
      sorted.begin(), sorted.end(), wanted,
      [name](const Entry& entry, std::string_view text) { return entry.*name < text; });
  return found != sorted.end() && (*found).*name == wanted ? &*found : nullptr;
}

template <typename Entry>
const Entry* exact_or_undated(const std::vector<Entry>& sorted, std::string Entry::*name,
                              std::string_view wanted, std::string_view shape) {
  if (const Entry* entry = exact(sorted, name, wanted)) return entry;
  const std::string_view rest = undated(wanted, shape);
  return rest.empty() ? nullptr : exact(sorted, name, rest);
}

constexpr Wide kNanoUsdMax{static_cast<uint64_t>(std::numeric_limits<int64_t>::max())};

Wide product(Wide tokens, int64_t price) {
  return tokens * static_cast<uint64_t>(price);
}

}  // namespace

PriceTable::PriceTable(std::string version, std::vector<ModelPrice> models,
                       std::vector<ToolPrice> tools)
    : version_(std::move(version)), models_(std::move(models)), tools_(std::move(tools)) {
  std::sort(models_.begin(), models_.end(),
            [](const ModelPrice& a, const ModelPrice& b) { return a.model < b.model; });
  std::sort(tools_.begin(), tools_.end(),
            [](const ToolPrice& a, const ToolPrice& b) { return a.tool < b.tool; });
}

const ModelPrice* PriceTable::find(std::string_view model) const {
  return exact_or_undated(models_, &ModelPrice::model, model, kModelDate);
}

const ToolPrice* PriceTable::find_tool(std::string_view tool) const {
  return exact_or_undated(tools_, &ToolPrice::tool, tool, kToolDate);
}

bool bills_by_call(std::string_view tool) {
  constexpr std::string_view kBilled[] = {"web_search", "web_search_preview", "file_search",
                                          "code_interpreter", "image_generation"};
  return std::find(std::begin(kBilled), std::end(kBilled), undated_tool(tool)) != std::end(kBilled);
}

std::string_view undated_tool(std::string_view tool) {
  const std::string_view rest = undated(tool, kToolDate);
  return rest.empty() ? tool : rest;
}

std::string_view effective_tier(std::string_view tier) {
  return tier.empty() || tier == "auto" ? std::string_view("default") : tier;
}

std::optional<NanoUsd> cost_of(const ModelPrice& price, std::string_view tier,
                               const UsageTokens& tokens) {
  const auto found = price.tiers.find(effective_tier(tier));
  if (found == price.tiers.end()) return std::nullopt;
  const TierPrice& entry = found->second;
  const Wide parts = Wide{tokens.cached_input} + tokens.cache_write;
  const Wide input = std::max(Wide{tokens.input}, parts);
  const bool is_long = entry.long_context_above != 0 && input > entry.long_context_above;
  const TokenRates rates =
      is_long ? entry.long_context
              : TokenRates{entry.input, entry.cached_input, entry.cache_write, entry.output};
  Wide sum = product(std::max(tokens.output, tokens.reasoning), rates.output);
  if (parts > tokens.input) {
    sum += product(input, std::max(rates.input, rates.cache_write));
  } else {
    sum += product(input - parts, rates.input);
    sum += product(tokens.cached_input, rates.cached_input);
    sum += product(tokens.cache_write, rates.cache_write);
  }
  if (sum > kNanoUsdMax) return std::nullopt;
  return NanoUsd{static_cast<int64_t>(sum)};
}

std::optional<NanoUsd> cost_of_calls(const ToolPrice& price, uint64_t calls) {
  const Wide sum = product(calls, price.per_call.value);
  if (sum > kNanoUsdMax) return std::nullopt;
  return NanoUsd{static_cast<int64_t>(sum)};
}

}  // namespace tollgate::policy
