// Bytes as a price file: refused, or a table whose every entry is found and has rates above zero.
#include <cstdint>
#include <string_view>

#include "policy/price.h"
#include "userspace/base/result.h"

using namespace tollgate::policy;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto table = parse_prices(text, "prices.json");
  if (!table) {
    TG_ASSERT(!table.error().text.empty());
    return 0;
  }
  for (const ModelPrice& model : table->models()) {
    TG_ASSERT(table->find(model.model) == &model);
    TG_ASSERT(model.context_tokens == 0 || model.max_output_tokens <= model.context_tokens);
    for (const auto& [name, tier] : model.tiers) {
      TG_ASSERT(tier.input > 0 && tier.output > 0 && tier.cached_input > 0 && tier.cache_write > 0);
      TG_ASSERT(cost_of(model, name, UsageTokens{1, 0, 0, 1, 0}).has_value());
    }
  }
  for (const ToolPrice& tool : table->tools()) {
    TG_ASSERT(table->find_tool(tool.tool) == &tool);
    TG_ASSERT(tool.per_call.value > 0);
  }
  return 0;
}
