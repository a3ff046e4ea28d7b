#include "userspace/proxy/settle.h"

namespace tollgate::proxy {
namespace {

// Bytes of JSON for one token, rounded to the dear side: English prose is near 4, code and JSON
// syntax are shorter tokens. Calibration from settled requests replaces it with the budgets.
constexpr uint64_t kBytesPerToken = 3;

uint64_t tokens_of_bytes(uint64_t bytes) {
  return (bytes + kBytesPerToken - 1) / kBytesPerToken;
}

void take_reported(const codec::Usage& usage, ringbuf::UsageRecord& record) {
  record.input_tokens = usage.input_tokens;
  record.cached_tokens = usage.cached_tokens;
  record.cache_write_tokens = usage.cache_write_tokens;
  record.output_tokens = usage.output_tokens;
  record.reasoning_tokens = usage.reasoning_tokens;
  record.estimated = false;
}

void estimate(const Settlement& settlement, ringbuf::UsageRecord& record) {
  record.input_tokens = tokens_of_bytes(record.bytes_up);
  record.output_tokens = tokens_of_bytes(settlement.visible_output_bytes);
  record.estimated = true;
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
  record.cost = cost.value_or(NanoUsd{0});
  if (!cost) record.estimated = true;
}

}  // namespace

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
  if (!settlement.sent_upstream || settlement.upstream_status >= 300) {
    record.price_version = policy.prices().version();
    return;
  }
  if (facts != nullptr && facts->usage) {
    take_reported(*facts->usage, record);
  } else {
    estimate(settlement, record);
  }
  price(policy, record);
}

}  // namespace tollgate::proxy
