// The durable ledger behind one interface (SQLite now, PostgreSQL for fleets later). One writer
// (the ledger thread), any number of readers on connections of their own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "ringbuf/record.h"
#include "userspace/base/result.h"

namespace tollgate::ledger {

using Entry = std::variant<ringbuf::UsageRecord, ringbuf::HoldRecord>;

class Store {
 public:
  virtual ~Store() = default;
  // One transaction, in order; durable (on disk) when it returns ok, and nothing of it is kept when
  // it does not. A usage record resolves the hold of its id. A record whose id is already there is
  // the same record: accepted, not doubled; a hold whose usage record is there is not opened again.
  virtual Status append(std::span<const Entry> entries) = 0;
  // Holds without a usage record, oldest first: at start, what a crash left behind.
  virtual Result<std::vector<ringbuf::HoldRecord>> open_holds() = 0;
};

enum class GroupBy : uint8_t { user, group, model, policy, day, session };

struct UsageQuery {
  int64_t since_unix_ms = 0;
  int64_t until_unix_ms = INT64_MAX;  // exclusive
  std::string user{};                 // empty: all
  std::string model{};  // as served; of a request that none served (refused): as asked
  std::optional<ringbuf::Outcome> outcome{};
};

struct UsageRow {
  // User, group, model (as in UsageQuery), policy, session, or the day in UTC ("2026-11-21"). A
  // user in two groups counts in both rows of --by group; one without a group, in the row "".
  std::string key;
  uint64_t requests = 0;  // admitted ones
  uint64_t refused = 0;
  uint64_t estimated = 0;
  uint64_t input_tokens = 0;
  uint64_t cached_tokens = 0;
  uint64_t output_tokens = 0;
  uint64_t reasoning_tokens = 0;
  NanoUsd cost;
};

// A settled request as limits count it.
struct ChargeRow {
  RequestId id;
  std::string user;
  std::vector<std::string> groups;
  std::string model_served;
  NanoUsd cost;
  uint64_t input_tokens = 0;
  uint64_t output_tokens = 0;
  uint64_t bytes_up = 0;
  // Its tokens tell what so many bytes take: they are the provider's figures, and the body was the
  // whole request. A message on a WebSocket continues what was sent before.
  bool calibrates = false;
  int64_t settled_unix_ms = 0;
  int64_t settled_window_ms = 0;
};

class Reader {
 public:
  virtual ~Reader() = default;
  // Rows by cost, highest first; days by date.
  virtual Result<std::vector<UsageRow>> usage(GroupBy by, const UsageQuery& query) = 0;
  // Single records by time, oldest first; `visit` returning false stops.
  virtual Status records(const UsageQuery& query,
                         const std::function<bool(const ringbuf::UsageRecord&)>& visit) = 0;
  // Every record that was admitted and not void (outcome is not refused, and it cost something or
  // has tokens), settled at or after that moment of the window clock; in no order.
  virtual Status charges(int64_t since_window_ms,
                         const std::function<void(const ChargeRow&)>& visit) = 0;
  // Those of these requests that have a usage record, void ones too.
  virtual Status settled(std::span<const RequestId> ids,
                         const std::function<void(const ChargeRow&)>& visit) = 0;
};

// What an administrator changed about a limit's consumption.
struct Adjustment {
  enum class Kind : uint8_t {
    grant,  // `amount` more for every limit of that subject and unit, until it expires
    reset,  // what the subject consumed before counts no more
  };
  int64_t id = 0;  // given by add()
  Kind kind = Kind::grant;
  std::string scope;    // "user" | "group"
  std::string subject;  // its name
  std::string unit;     // grant: "usd" | "tokens" | "requests"
  int64_t amount = 0;   // grant: in the unit (nano-USD, tokens, requests)
  int64_t made_unix_ms = 0;
  int64_t made_window_ms = 0;
  int64_t expires_window_ms = 0;  // grant
  uint32_t uid = 0;               // who
  std::string reason;
};

// Who may do nothing until it is taken back.
struct Revocation {
  std::string scope;    // "user" | "address"
  std::string subject;  // the user's name, or the peer's address
  int64_t made_unix_ms = 0;
  uint32_t uid = 0;  // who did it
  std::string reason;
  bool operator==(const Revocation&) const = default;
};

// Small facts beside the usage: a connection of its own, used by the control thread. A write that
// meets the ledger thread's waits for it.
class Journal {
 public:
  virtual ~Journal() = default;
  virtual Result<int64_t> add(const Adjustment& adjustment) = 0;  // durable; returns the id
  virtual Result<std::vector<Adjustment>> adjustments(int64_t since_window_ms) = 0;  // made since
  virtual Status revoke(const Revocation& revocation) = 0;  // durable; replaces the subject's
  virtual Status restore(const std::string& scope, const std::string& subject) = 0;  // durable
  virtual Result<std::vector<Revocation>> revocations() = 0;
  // The window clock's anchor of this boot: what anchored() was first told. A clock of an earlier
  // boot or record that is ahead of `wall_unix_ms` moves the new anchor up to it.
  struct Anchor {
    int64_t boottime_ms = 0;
    int64_t window_ms = 0;
  };
  virtual Result<Anchor> anchored(const std::string& boot_id, int64_t boottime_ms,
                                  int64_t wall_unix_ms) = 0;
};

// Two processes share a ledger, during an upgrade, only when both say the same.
int64_t ledger_version();

// Creates or opens FOLDER/ledger.sqlite: WAL, synchronous=FULL, schema version checked (a newer one
// is refused), folder fsynced on creation.
Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& folder);
Result<std::unique_ptr<Reader>> open_sqlite_reader(const std::string& folder);
// After the store has made the file.
Result<std::unique_ptr<Journal>> open_sqlite_journal(const std::string& folder);

}  // namespace tollgate::ledger
