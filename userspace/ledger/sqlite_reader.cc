// Reports. Sums are made in SQL by wide_sum(), which saturates: SQLite's own sum() fails the whole
// report on an overflow, and one absurd row must not hide all the others.
#include <algorithm>
#include <cstring>
#include <limits>

#include "userspace/ledger/columns.h"
#include "userspace/ledger/group_names.h"
#include "userspace/ledger/schema.h"
#include "userspace/ledger/store.h"

namespace tollgate::ledger {
namespace {

// So many records are read at once; the read transaction ends before they are visited. A slow
// visitor (an export over a socket) would otherwise keep the WAL from being reset, and it would
// grow.
constexpr int64_t kPageRecords = 256;

// A refused request was served by no model: it is listed under the one that was asked for.
constexpr std::string_view kModel =
    "CASE WHEN model_served = '' THEN model_asked ELSE model_served END";

constexpr std::string_view kWhere =
    " WHERE started_unix_ms >= ?1 AND started_unix_ms < ?2 AND (?3 = '' OR user_name = ?3)"
    " AND (?4 = '' OR (CASE WHEN model_served = '' THEN model_asked ELSE model_served END) = ?4)"
    " AND (?5 = '' OR outcome = ?5)";

// A row started before it was settled: by as much as the request ran, and by another clock, which
// steps of the wall clock have moved against that of the windows. Two days cover both, so that the
// index by time finds the rows; what lies further apart than that is in usage_ahead, which is empty
// but for accidents. The settlement itself is compared exactly. INDEXED BY: without its index each
// half would be a search of years.
constexpr int64_t kSlackMs = 172'800'000;
constexpr std::string_view kChargeColumns =
    "SELECT request_id, user_name, group_names, model_served, cost_nano_usd, input_tokens,"
    " output_tokens, bytes_up, estimated = 0 AND endpoint NOT LIKE 'WS %', settled_unix_ms,"
    " settled_window_ms FROM usage";
constexpr std::string_view kCharged =
    " AND settled_window_ms >= ?1 AND outcome <> 'refused'"
    " AND (cost_nano_usd <> 0 OR input_tokens <> 0 OR output_tokens <> 0)";

std::string charges_sql() {
  std::string sql(kChargeColumns);
  sql.append(" INDEXED BY usage_by_time WHERE started_unix_ms >= ?2").append(kCharged);
  sql.append(" UNION ALL ").append(kChargeColumns);
  sql.append(
      " INDEXED BY usage_ahead WHERE settled_window_ms > started_unix_ms + 172800000"
      " AND started_unix_ms < ?2");
  sql.append(kCharged);
  return sql;
}

std::string_view bucket_of(GroupBy by) {
  switch (by) {
    case GroupBy::user:
      return "user_name";
    case GroupBy::group:
      return "coalesce(member_of.value, '')";
    case GroupBy::model:
      return kModel;
    case GroupBy::policy:
      return "policy";
    case GroupBy::day:
      return "strftime('%Y-%m-%d', started_unix_ms / 1000, 'unixepoch')";
    case GroupBy::session:
      return "session_id";
  }
  return "''";
}

// LEFT JOIN: a user without a group still counts, in the row with the empty key.
std::string usage_sql(GroupBy by) {
  std::string sql = "SELECT " + std::string(bucket_of(by)) +
                    " AS bucket, sum(outcome <> 'refused'), sum(outcome = 'refused'),"
                    " sum(estimated <> 0 OR outcome = 'recovered'), wide_sum(input_tokens), "
                    "wide_sum(cached_tokens),"
                    " wide_sum(output_tokens), wide_sum(reasoning_tokens),"
                    " wide_sum(cost_nano_usd) AS cost FROM usage";
  if (by == GroupBy::group) sql += " LEFT JOIN json_each(group_names) AS member_of ON TRUE";
  sql += kWhere;
  sql += " GROUP BY bucket ORDER BY ";
  sql += by == GroupBy::day ? "bucket" : "cost DESC, bucket";
  return sql;
}

void bind_query(const UsageQuery& query, Statement& statement) {
  statement.bind(1, query.since_unix_ms);
  statement.bind(2, query.until_unix_ms);
  statement.bind(3, std::string_view(query.user));
  statement.bind(4, std::string_view(query.model));
  statement.bind(5, query.outcome ? ringbuf::to_string(*query.outcome) : std::string_view());
}

// SQLite aligns its memory to 8 bytes, an __int128 wants 16: it goes in and out by copy. The
// context starts as zeroes.
void wide_sum_step(sqlite3_context* context, int, sqlite3_value** values) {
  void* kept = ::sqlite3_aggregate_context(context, sizeof(__int128));
  if (kept == nullptr) return ::sqlite3_result_error_nomem(context);
  __int128 total = 0;
  std::memcpy(&total, kept, sizeof total);
  total += ::sqlite3_value_int64(values[0]);
  std::memcpy(kept, &total, sizeof total);
}

void wide_sum_final(sqlite3_context* context) {
  __int128 total = 0;
  const void* kept = ::sqlite3_aggregate_context(context, 0);
  if (kept != nullptr) std::memcpy(&total, kept, sizeof total);
  constexpr __int128 kMin = std::numeric_limits<int64_t>::min();
  constexpr __int128 kMax = std::numeric_limits<int64_t>::max();
  ::sqlite3_result_int64(context, static_cast<int64_t>(std::clamp(total, kMin, kMax)));
}

uint64_t count(const Statement& statement, int column) {
  return static_cast<uint64_t>(std::max(statement.integer(column), int64_t{0}));
}

class SqliteReader : public Reader {
 public:
  explicit SqliteReader(Database db) : db_(std::move(db)) {}

  Result<std::vector<UsageRow>> usage(GroupBy by, const UsageQuery& query) override {
    auto statement = db_.prepare(usage_sql(by));
    if (!statement) return std::move(statement).forward();
    bind_query(query, *statement);
    std::vector<UsageRow> rows;
    for (;;) {
      auto row = statement->step();
      if (!row) return std::move(row).forward();
      if (!*row) return rows;
      rows.push_back({std::string(statement->text(0)), count(*statement, 1), count(*statement, 2),
                      count(*statement, 3), count(*statement, 4), count(*statement, 5),
                      count(*statement, 6), count(*statement, 7), NanoUsd{statement->integer(8)}});
    }
  }

  Status records(const UsageQuery& query,
                 const std::function<bool(const ringbuf::UsageRecord&)>& visit) override {
    auto statement = db_.prepare("SELECT " + column_names() + " FROM usage" + std::string(kWhere) +
                                 " AND (started_unix_ms, request_id) > (?6, ?7)"
                                 " ORDER BY started_unix_ms, request_id LIMIT ?8");
    if (!statement) return std::move(statement).forward();
    bind_query(query, *statement);
    statement->bind(8, kPageRecords);
    int64_t after_unix_ms = std::numeric_limits<int64_t>::min();
    std::array<uint8_t, 16> after_id{};
    for (;;) {
      // The page starts where the last ended; from there the index is entered, not counted to.
      statement->bind(1, std::max(query.since_unix_ms, after_unix_ms));
      statement->bind(6, after_unix_ms);
      statement->bind(7, std::span<const uint8_t>(after_id));
      auto page = read_page(*statement);
      if (!page) return std::move(page).forward();
      for (const auto& record : *page) {
        if (!visit(record)) return {};
      }
      if (page->size() < static_cast<size_t>(kPageRecords)) return {};
      after_unix_ms = page->back().started_unix_ms;
      after_id = id_bytes(page->back().id);
    }
  }

  Status charges(int64_t since_window_ms,
                 const std::function<void(const ChargeRow&)>& visit) override {
    auto statement = db_.prepare(charges_sql());
    if (!statement) return std::move(statement).forward();
    statement->bind(1, since_window_ms);
    statement->bind(
        2, std::max(since_window_ms, std::numeric_limits<int64_t>::min() + kSlackMs) - kSlackMs);
    return visit_charges(*statement, visit);
  }

  Status settled(std::span<const RequestId> ids,
                 const std::function<void(const ChargeRow&)>& visit) override {
    auto statement = db_.prepare(std::string(kChargeColumns) + " WHERE request_id = ?1");
    if (!statement) return std::move(statement).forward();
    for (const RequestId& id : ids) {
      const std::array<uint8_t, 16> key = id_bytes(id);
      statement->bind(1, std::span<const uint8_t>(key));
      if (Status visited = visit_charges(*statement, visit); !visited) return visited;
      statement->reset();
    }
    return {};
  }

 private:
  static Status visit_charges(Statement& statement,
                              const std::function<void(const ChargeRow&)>& visit) {
    ChargeRow charge;  // one for all rows: its texts keep their room
    for (;;) {
      auto row = statement.step();
      if (!row) return std::move(row).forward();
      if (!*row) return {};
      parse_id_bytes(statement.blob(0), charge.id);  // 16 bytes: the table checks it
      charge.user = statement.text(1);
      if (!parse_group_names(statement.text(2), charge.groups)) {
        return foreign_value(charge.id, "group_names");
      }
      charge.model_served = statement.text(3);
      charge.cost = {statement.integer(4)};
      charge.input_tokens = count(statement, 5);
      charge.output_tokens = count(statement, 6);
      charge.bytes_up = count(statement, 7);
      charge.calibrates = statement.integer(8) != 0;
      charge.settled_unix_ms = statement.integer(9);
      charge.settled_window_ms = statement.integer(10);
      visit(charge);
    }
  }

  static Result<std::vector<ringbuf::UsageRecord>> read_page(Statement& statement) {
    std::vector<ringbuf::UsageRecord> page;
    for (;;) {
      auto row = statement.step();
      if (!row || !*row) {
        statement.reset();
        if (!row) return std::move(row).forward();
        return page;
      }
      auto record = read_record(statement);
      if (!record) return std::move(record).forward();
      page.push_back(std::move(*record));
    }
  }

  Database db_;
};

}  // namespace

Result<std::unique_ptr<Reader>> open_sqlite_reader(const std::string& folder) {
  auto db = open_for_reading(folder);
  if (!db) return std::move(db).forward();
  const int code = ::sqlite3_create_function_v2(
      db->handle(), "wide_sum", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, nullptr,
      nullptr, wide_sum_step, wide_sum_final, nullptr);
  if (code != SQLITE_OK) return sqlite_error(db->handle(), "prepare reports of");
  return std::unique_ptr<Reader>(new SqliteReader(std::move(*db)));
}

}  // namespace tollgate::ledger
