// Bytes as a tollgate.toml: either problems that each say something, or values within the bounds
// that the rest of the gateway counts on.
#include <cstdint>
#include <string_view>

#include "policy/policy_parse.h"
#include "userspace/base/result.h"

using namespace tollgate::policy;

namespace {

constexpr int64_t kRollingMaxMs = int64_t{31} * 86'400'000;

void check(const Limit& limit) {
  TG_ASSERT(limit.amount > 0);
  TG_ASSERT((limit.on_exceed == OnExceed::downgrade) == !limit.downgrade_model.empty());
  TG_ASSERT(!to_string(limit.window).empty());
  if (limit.unit == LimitUnit::concurrent) {
    TG_ASSERT(limit.window == Window{} && limit.on_exceed != OnExceed::downgrade);
  } else if (limit.window.kind == Window::Kind::rolling) {
    TG_ASSERT(limit.window.rolling_ms >= 1000 && limit.window.rolling_ms <= kRollingMaxMs);
    TG_ASSERT(limit.window.timezone.empty());
  } else {
    TG_ASSERT(limit.window.rolling_ms == 0 && !limit.window.timezone.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = parse_config(text);
  if (const auto* problems = std::get_if<std::vector<Problem>>(&parsed)) {
    TG_ASSERT(!problems->empty());
    for (const Problem& problem : *problems)
      TG_ASSERT(!problem.text.empty() && !problem.remedy.empty());
    return 0;
  }
  const Config& config = std::get<Config>(parsed);
  for (const Rule& rule : config.rules) {
    for (const Limit& limit : rule.limits)
      check(limit);
  }
  uint32_t before = 0;
  for (const uint32_t threshold : config.alerts.thresholds_percent) {
    TG_ASSERT(threshold > before && threshold <= 1000);
    before = threshold;
  }
  return 0;
}
