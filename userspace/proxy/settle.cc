#include "userspace/proxy/settle.h"

#include <algorithm>

namespace tollgate::proxy {
namespace {

// Bytes of visible output for one token, rounded to the dear side: English prose is near 4, code
// and JSON syntax are shorter tokens.
constexpr uint64_t kBytesPerToken = 3;

void take_reported(const codec::Usage& usage, ringbuf::UsageRecord& record) {
  record.input_tokens = usage.input_tokens;
  record.cached_tokens = usage.cached_tokens;
  record.cache_write_tokens = usage.cache_write_tokens;
  record.output_tokens = usage.output_tokens;
  record.reasoning_tokens = usage.reasoning_tokens;
  record.estimated = false;
}

// The input counts in full, the output as far as it was seen; one token of it at least, since the
// provider had begun.
void estimate(const Settlement& settlement, ringbuf::UsageRecord& record) {
  const uint64_t seen = (settlement.visible_output_bytes + kBytesPerToken - 1) / kBytesPerToken;
  record.input_tokens = std::min(settlement.expected_input_tokens, record.hold_input_tokens);
  record.output_tokens = std::min(std::max<uint64_t>(seen, 1), record.hold_output_tokens);
  record.estimated = true;
}

// What the provider charges for calls of its tools, apart from tokens.
NanoUsd price_calls(const policy::PriceTable& prices, const std::vector<codec::ToolCalls>& calls,
                    ringbuf::UsageRecord& record) {
  NanoUsd sum;
  for (const codec::ToolCalls& called : calls) {
    record.tool_calls += called.count;
    const policy::ToolPrice* price = prices.find_tool(called.tool);
    if (price == nullptr) continue;  // not a charged one, or admission would have refused it
    const auto cost = policy::cost_of_calls(*price, called.count);
    sum += cost.value_or(NanoUsd{});
    record.estimated = record.estimated || !cost;
  }
  return sum;
}

// The served model and tier, as the provider reports them, set the price. Where the report has no
// line in the price file, the line that the request was admitted under does, and the record says
// that the figure is ours.
void price(const policy::Policy& policy, ringbuf::UsageRecord& record) {
  const policy::PriceTable& prices = policy.prices();
  record.price_version = prices.version();
  const policy::UsageTokens tokens{.input = record.input_tokens,
                                   .cached_input = record.cached_tokens,
                                   .cache_write = record.cache_write_tokens,
                                   .output = record.output_tokens,
                                   .reasoning = record.reasoning_tokens};
  const policy::ModelPrice* admitted = prices.find(record.model_served);
  const policy::ModelPrice* reported =
      record.model_reported.empty() ? admitted : prices.find(record.model_reported);
  std::optional<NanoUsd> cost;
  if (reported != nullptr) cost = policy::cost_of(*reported, record.tier, tokens);
  if (!cost && admitted != nullptr) {
    cost = policy::cost_of(*admitted, record.tier, tokens);
    if (!cost) cost = policy::cost_of(*admitted, "", tokens);
    record.estimated = true;
  }
  record.cost = cost.value_or(record.hold_cost);
  if (!cost) record.estimated = true;
}

}  // namespace

ringbuf::Outcome outcome_of(codec::ResponseEnd end) {
  switch (end) {
    case codec::ResponseEnd::completed:
      return ringbuf::Outcome::completed;
    case codec::ResponseEnd::failed:
      return ringbuf::Outcome::failed;
    case codec::ResponseEnd::incomplete:
      return ringbuf::Outcome::incomplete;
  }
  return ringbuf::Outcome::upstream_error;
}

void settle(const policy::Policy& policy, const Settlement& settlement,
            ringbuf::UsageRecord& record) {
  record.outcome = settlement.outcome;
  const codec::ResponseFacts* facts = settlement.facts;
  if (facts != nullptr) {
    record.model_reported = facts->model;
    record.response_id = facts->response_id;
    if (!facts->service_tier.empty()) record.tier = facts->service_tier;
  }
  // Nothing left, or the provider refused the request: both cost nothing.
  if (settlement.free || !settlement.sent_upstream || settlement.upstream_status >= 300) {
    record.price_version = policy.prices().version();
    return;
  }
  if (facts != nullptr && facts->usage) {
    take_reported(*facts->usage, record);
  } else {
    estimate(settlement, record);
  }
  const bool guessed = record.estimated;
  price(policy, record);
  if (facts != nullptr) record.cost += price_calls(policy.prices(), facts->tool_calls, record);
  if (guessed) record.cost = std::min(record.cost, record.hold_cost);
}

}  // namespace tollgate::proxy
