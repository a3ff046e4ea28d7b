// Price file → table. Every refusal names the entry, since a wrong price is a wrong bill.
#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "policy/price.h"

namespace tollgate::policy {
namespace {

using Json = nlohmann::json;

// USD per million × 1,000 = nano-USD per token. A price per token written here falls below the
// floor (or is no whole number of nano-USD); a price in cents or per thousand leaves the ceiling.
constexpr int64_t kNanoPerUnit = 1'000'000;
constexpr int64_t kRateMin = 1;           // 0.001 USD per million
constexpr int64_t kInputMax = 1'000'000;  // 1,000 USD per million
constexpr int64_t kOutputMax = 10'000'000;
constexpr int64_t kRatioMax = 10;
constexpr int64_t kOutputRatioMax = 100;
constexpr std::string_view kUnit = "usd_per_million_tokens";

struct Place {  // where we are, for errors
  std::string text;
  Place in(const std::string& key) const { return {text + ": " + key}; }
  Error refuse(const std::string& what, std::string hint) const {
    return Error{Fault::config, 0, text + ": " + what, std::move(hint)};
  }
};

// nlohmann keeps the last of two equal keys; a price written twice is refused instead.
Result<Json> parse_unique(std::string_view text, const Place& place) {
  std::vector<std::set<std::string>> scopes;
  std::string duplicate;
  const auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) scopes.emplace_back();
    if (event == Json::parse_event_t::object_end) scopes.pop_back();
    if (event == Json::parse_event_t::key &&
        !scopes.back().insert(parsed.get<std::string>()).second) {
      duplicate = parsed.get<std::string>();
    }
    return true;
  };
  Json root = Json::parse(text.begin(), text.end(), watch, false);
  if (root.is_discarded()) return place.refuse("not JSON", "check commas, quotes and brackets");
  if (!duplicate.empty()) {
    return place.refuse("key \"" + duplicate + "\" is there twice", "keep one of the two");
  }
  if (!root.is_object()) return place.refuse("not a JSON object", "see policy/README.md");
  return root;
}

Status check_keys(const Json& object, std::initializer_list<std::string_view> known,
                  const Place& place) {
  if (!object.is_object()) return place.refuse("not an object", "see policy/README.md");
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string list;
    for (const std::string_view name : known)
      list += (list.empty() ? "" : ", ") + std::string(name);
    return place.refuse("unknown key \"" + key + "\"", "known keys: " + list);
  }
  return {};
}

Result<std::string> read_text(const Json& object, const char* key, const Place& place) {
  const auto found = object.find(key);
  if (found == object.end()) {
    return place.refuse(std::string("\"") + key + "\" is missing",
                        std::string("add \"") + key + "\"");
  }
  if (!found->is_string() || found->get_ref<const std::string&>().empty()) {
    return place.refuse(std::string("\"") + key + "\" is not a text", "write it in quotes");
  }
  return found->get<std::string>();
}

bool is_date(std::string_view text) {
  constexpr std::string_view kShape = "dddd-dd-dd";
  if (text.size() != kShape.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (kShape[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != '-') return false;
  }
  return true;
}

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
  if (rates.input < kRateMin || rates.input > kInputMax) {
    return place.refuse("input is not between 0.001 and 1000", hint);
  }
  if (rates.output < kRateMin || rates.output > kOutputMax ||
      rates.output < rates.input / kRatioMax || rates.output > rates.input * kOutputRatioMax) {
    return place.refuse("output is not between a tenth and a hundred times input", hint);
  }
  if (rates.cached_input < kRateMin || rates.cached_input > rates.input) {
    return place.refuse("cached_input is not between 0.001 and input", hint);
  }
  if (rates.cache_write < rates.input / kRatioMax || rates.cache_write > rates.input * kRatioMax) {
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
  const auto above = object.find("above_input_tokens");
  if (above == object.end() || !above->is_number_unsigned() || above->get<uint64_t>() == 0) {
    return place.refuse("\"above_input_tokens\" is not a positive whole number",
                        "write it like 272000");
  }
  const auto rates = read_rates(object, place);
  if (!rates) return rates.error();
  if (rates->input < tier.input || rates->output < tier.output) {
    return place.refuse("long context is cheaper than short", "swap the two, or leave it out");
  }
  tier.long_context_above = above->get<uint64_t>();
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

Result<ModelPrice> read_model(const Json& entry, const Place& outer) {
  if (auto known = check_keys(entry, {"model", "source", "date", "tiers"}, outer); !known) {
    return known.error();
  }
  auto model = read_text(entry, "model", outer);
  if (!model) return std::move(model).forward();
  const Place place = outer.in(*model);
  auto source = read_text(entry, "source", place);
  if (!source) return std::move(source).forward();
  auto date = read_text(entry, "date", place);
  if (!date) return std::move(date).forward();
  if (!is_date(*date))
    return place.refuse("date \"" + *date + "\"", "write it like \"2026-09-30\"");
  ModelPrice price;
  price.model = *std::move(model);
  price.source = *std::move(source);
  price.date = *std::move(date);
  if (auto read = read_tiers(entry, price, place); !read) return read.error();
  return price;
}

}  // namespace

Result<PriceTable> parse_prices(std::string_view json, std::string_view name) {
  const Place place{"read price file " + std::string(name)};
  const auto root = parse_unique(json, place);
  if (!root) return root.error();
  if (auto known = check_keys(*root, {"version", "unit", "models"}, place); !known) {
    return known.error();
  }
  auto version = read_text(*root, "version", place);
  if (!version) return std::move(version).forward();
  const auto unit = read_text(*root, "unit", place);
  if (!unit) return unit.error();
  if (*unit != kUnit) {
    return place.refuse("unit \"" + *unit + "\"", "the one unit is \"" + std::string(kUnit) + "\"");
  }
  const auto list = root->find("models");
  if (list == root->end() || !list->is_array() || list->empty()) {
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
  return PriceTable(*std::move(version), std::move(models));
}

}  // namespace tollgate::policy
