// May it pass? The one place that can say yes. Straight-line: each gate is one statement, in the
// order in which a person wants to hear the reasons.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "policy/policy.h"
#include "userspace/codec/responses.h"
#include "userspace/proxy/snapshot.h"

namespace tollgate::proxy {

struct Admission {
  std::shared_ptr<const Snapshot> snapshot;  // keeps all that follows alive
  const policy::Peer* peer = nullptr;
  const policy::Rule* rule = nullptr;
  std::shared_ptr<const Target> target;
  std::string served_model;
};

struct AdmitAsk {
  std::shared_ptr<const Snapshot> snapshot;
  PeerTag tag;  // of the connection
  const codec::RequestFacts* facts = nullptr;
  bool store_healthy = false;  // the ledger can record, and its ring has room
  bool draining = false;
};

std::variant<Admission, policy::Refusal> admit(const AdmitAsk& ask);

// The first gate alone, for requests that need no body: who is it?
std::variant<const policy::Peer*, policy::Refusal> identify(const Snapshot& snapshot, PeerTag tag,
                                                            std::string_view remote);

// The one sentence for a ledger that cannot write.
policy::Refusal store_refusal(const std::string& contact);

}  // namespace tollgate::proxy
