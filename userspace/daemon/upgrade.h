// The other process of an upgrade, as each of the two sees it.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "policy/policy_parse.h"
#include "userspace/base/ids.h"
#include "userspace/daemon/handover.h"
#include "userspace/ledger/store.h"

namespace tollgate::daemon {

Hello own_hello(const policy::GatewayConfig& gateway);
// Refuses when the two could not share a ledger, maps or sockets: "stop and start instead".
Status check_alike(const Hello& ours, const Hello& theirs);

// Tells systemd which process the service is from now on; nothing without it.
void notify_main_pid(pid_t pid);

// The process that serves now, or did until a moment ago.
struct Predecessor {
  explicit Predecessor(Connection link) : connection(std::move(link)) {}

  std::optional<Connection> connection;  // empty: it hung up
  pid_t pid = 0;
  UniqueFd process;  // pidfd: readable when it has ended
  // What it gave us, until somebody takes it.
  std::vector<UniqueFd> fds;  // State::Fd
  std::vector<std::vector<UniqueFd>> listeners;
  std::string notify_socket;

  uint64_t running = 0;                  // requests, as it last said
  std::unique_ptr<ledger::Store> store;  // its holds are read and recovered here
  // Its requests that are not settled yet, as far as we know.
  std::map<RequestId, ringbuf::HoldRecord> holds;

  // The limits are filled in two parts: from the ledger while it still serves, and at the end from
  // what was settled since. Overlapping by this much, as a record is durable after it is settled.
  static constexpr int64_t kOverlapMs = 600'000;
  int64_t overlap_since_ms = std::numeric_limits<int64_t>::max();
  std::set<RequestId> counted;  // in the first part, within the overlap
  // Whether this charge is one to count now.
  bool counts(const ledger::ChargeRow& row) {
    if (holds.count(row.id) != 0) return false;  // settle_inherited() will
    return row.settled_window_ms < overlap_since_ms || counted.insert(row.id).second;
  }
};

// The process that takes over from us.
struct Successor {
  explicit Successor(Connection link) : connection(std::move(link)) {}

  Connection connection;
  pid_t pid = 0;
  bool serves = false;  // it said so: we admit nothing any more
  bool told_quiet = false;
  bool gone = false;  // it hung up after that
  int64_t callers_until_ms = 0;
  int64_t reported_ms = 0;
};

}  // namespace tollgate::daemon
