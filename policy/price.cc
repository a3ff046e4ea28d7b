#include "policy/price.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace tollgate::policy {
namespace {

__extension__ using Wide = unsigned __int128;

// "-2026-04-23": OpenAI's dated snapshots cost what the undated name costs.
constexpr std::string_view kSnapshotShape = "-dddd-dd-dd";

bool ends_in_snapshot(std::string_view model) {
  if (model.size() <= kSnapshotShape.size()) return false;
  const std::string_view suffix = model.substr(model.size() - kSnapshotShape.size());
  for (size_t i = 0; i < suffix.size(); ++i) {
    const bool digit = suffix[i] >= '0' && suffix[i] <= '9';
    if (kSnapshotShape[i] == 'd' ? !digit : suffix[i] != '-') return false;
  }
  return true;
}

Wide product(Wide tokens, int64_t price) {
  return tokens * static_cast<uint64_t>(price);
}

}  // namespace

PriceTable::PriceTable(std::string version, std::vector<ModelPrice> models)
    : version_(std::move(version)), models_(std::move(models)) {
  std::sort(models_.begin(), models_.end(),
            [](const ModelPrice& a, const ModelPrice& b) { return a.model < b.model; });
}

const ModelPrice* PriceTable::find(std::string_view model) const {
  const auto exact = [&](std::string_view name) -> const ModelPrice* {
    const auto found = std::lower_bound(
        models_.begin(), models_.end(), name,
        [](const ModelPrice& price, std::string_view wanted) { return price.model < wanted; });
    return found != models_.end() && found->model == name ? &*found : nullptr;
  };
  if (const ModelPrice* price = exact(model)) return price;
  if (!ends_in_snapshot(model)) return nullptr;
  return exact(model.substr(0, model.size() - kSnapshotShape.size()));
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
  if (sum > Wide{static_cast<uint64_t>(std::numeric_limits<int64_t>::max())}) return std::nullopt;
  return NanoUsd{static_cast<int64_t>(sum)};
}

}  // namespace tollgate::policy
