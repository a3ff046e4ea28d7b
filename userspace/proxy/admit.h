// May it pass? The one place that can say yes. Straight-line: each gate is one statement, in the
// order in which a person wants to hear the reasons; the last one holds the request's cost.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "policy/budget.h"
#include "policy/policy.h"
#include "userspace/codec/responses.h"
#include "userspace/codec/rewrite.h"
#include "userspace/proxy/body_changes.h"
#include "userspace/proxy/budget_table.h"
#include "userspace/proxy/snapshot.h"

namespace tollgate::proxy {

struct Admission {
  std::shared_ptr<const Snapshot> snapshot;  // keeps all that follows alive
  const policy::Peer* peer = nullptr;
  const policy::Rule* rule = nullptr;
  std::shared_ptr<const Target> target;
  std::string served_model;
  std::string tier;                         // as it will be asked for
  std::vector<codec::FieldChange> changes;  // of the body, by policy
  MetadataRule metadata;                    // of the head's fields
  policy::Hold hold;                        // held: it must be settled, whatever happens
  uint64_t expected_input_tokens = 0;       // for an estimate, should no usage come
  std::vector<policy::Standing> standing;
  std::string warning;
};

struct Denial {
  policy::Refusal refusal;
  std::vector<policy::Standing> standing{};  // of the limits, when it got so far
};

struct AdmitAsk {
  std::shared_ptr<const Snapshot> snapshot;
  PeerTag tag;  // of the connection
  RequestId id;
  const codec::RequestFacts* facts = nullptr;
  BodyForm form{};
  uint64_t body_bytes = 0;
  bool free = false;  // asks no model, so nothing is held
  BudgetTable* budgets = nullptr;
  bool store_healthy = false;  // the ledger can record, and its ring has room
  bool draining = false;
  bool unmetered = false;  // traffic without a record was seen, and policy is to refuse
};

std::variant<Admission, Denial> admit(const AdmitAsk& ask);
// The same without holding anything, and without the gateway's own state: for `explain`.
struct Forecast {
  policy::Hold hold;
  policy::HoldMode mode = policy::HoldMode::typical;
  policy::Budgets::Outcome outcome;
};
std::variant<Forecast, policy::Refusal> forecast(const policy::Policy& policy,
                                                 const policy::Peer& peer,
                                                 const codec::RequestFacts& facts,
                                                 uint64_t body_bytes, BudgetTable& budgets);

// A policy came into force while a request runs: why it may not go on, or nothing.
struct RunningAsk {
  PeerTag tag;              // of the connection; the generation may be an older one
  std::string_view remote;  // address, for the sentence
  std::string_view model;   // as served
  std::string_view tier;
};
std::optional<policy::Refusal> stops_now(const Snapshot& snapshot, const RunningAsk& running);

// The first gate alone, for requests that need no body: who is it?
std::variant<const policy::Peer*, policy::Refusal> identify(const Snapshot& snapshot, PeerTag tag,
                                                            std::string_view remote);

// The one sentence for a ledger that cannot write.
policy::Refusal store_refusal(const std::string& contact);
// And for request bodies that together have reached their bound.
policy::Refusal overloaded_refusal();

}  // namespace tollgate::proxy
