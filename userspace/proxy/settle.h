// What did it cost? Runs exactly once for each admitted request, on every exit: completed, failed,
// incomplete, aborted, cut. Without the provider's usage the tokens are estimated and flagged,
// never silently zero and never above what was held; a request of which nothing was sent costs
// nothing.
#pragma once

#include <cstdint>
#include <optional>

#include "policy/policy.h"
#include "ringbuf/record.h"
#include "userspace/codec/responses.h"

namespace tollgate::proxy {

struct Settlement {
  ringbuf::Outcome outcome;
  // Of the terminal event or the JSON answer, when there was one.
  const codec::ResponseFacts* facts = nullptr;
  bool free = false;                   // asks no model: whatever it answers was paid for before
  bool sent_upstream = false;          // at least one byte of the request left
  int upstream_status = 0;             // 0: no answer head came
  uint64_t visible_output_bytes = 0;   // of delta events so far
  uint64_t expected_input_tokens = 0;  // what such a body usually is
};

ringbuf::Outcome outcome_of(codec::ResponseEnd end);

// Fills tokens, cost, served and reported model, tier, outcome and `estimated` of the record, which
// holds the request's side already (model_asked, model_served, tier, bytes_up, the hold).
void settle(const policy::Policy& policy, const Settlement& settlement,
            ringbuf::UsageRecord& record);

}  // namespace tollgate::proxy
