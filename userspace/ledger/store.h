// The durable ledger behind one interface (SQLite now, PostgreSQL for fleets later). One writer
// (the ledger thread), any number of readers on connections of their own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ringbuf/record.h"
#include "userspace/base/result.h"

namespace tollgate::ledger {

class Store {
 public:
  virtual ~Store() = default;
  // One transaction; durable (on disk) when it returns ok, and nothing of it is kept when it does
  // not. A record whose id is already there is the same record: accepted, not doubled.
  virtual Status append(std::span<const ringbuf::UsageRecord> records) = 0;
};

enum class GroupBy : uint8_t { user, group, model, policy, day, session };

struct UsageQuery {
  int64_t since_unix_ms = 0;
  int64_t until_unix_ms = INT64_MAX;  // exclusive
  std::string user{};                 // empty: all
  std::string model{};  // as served; of a request that none served (refused): as asked
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

class Reader {
 public:
  virtual ~Reader() = default;
  // Rows by cost, highest first; days by date.
  virtual Result<std::vector<UsageRow>> usage(GroupBy by, const UsageQuery& query) = 0;
  // Single records by time, oldest first; `visit` returning false stops.
  virtual Status records(const UsageQuery& query,
                         const std::function<bool(const ringbuf::UsageRecord&)>& visit) = 0;
};

// Creates or opens FOLDER/ledger.sqlite: WAL, synchronous=FULL, schema version checked (a newer one
// is refused), folder fsynced on creation.
Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& folder);
Result<std::unique_ptr<Reader>> open_sqlite_reader(const std::string& folder);

}  // namespace tollgate::ledger
