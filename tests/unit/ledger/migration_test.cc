// Files of earlier versions, made by the SQL that made them then.
#include <gtest/gtest.h>

#include "tests/unit/ledger/scratch_folder.h"
#include "tests/unit/ringbuf/sample.h"
#include "userspace/ledger/columns.h"
#include "userspace/ledger/sqlite.h"
#include "userspace/ledger/store.h"

namespace tollgate::ledger {
namespace {

using ringbuf::sample_usage;
using ringbuf::UsageRecord;

constexpr const char* kVersion1 = R"sql(
  PRAGMA journal_mode = WAL;
  CREATE TABLE usage (
    request_id BLOB PRIMARY KEY CHECK (length(request_id) = 16),
    started_unix_ms INTEGER NOT NULL, first_byte_ms INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL, peer_id INTEGER NOT NULL, peer_address TEXT NOT NULL,
    user_name TEXT NOT NULL, group_names TEXT NOT NULL, policy TEXT NOT NULL,
    provider TEXT NOT NULL, key_name TEXT NOT NULL, endpoint TEXT NOT NULL,
    model_asked TEXT NOT NULL, model_served TEXT NOT NULL, model_reported TEXT NOT NULL,
    tier TEXT NOT NULL, input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, cost_nano_usd INTEGER NOT NULL,
    price_version TEXT NOT NULL, outcome TEXT NOT NULL, refusal_code TEXT NOT NULL,
    http_status INTEGER NOT NULL, estimated INTEGER NOT NULL, events INTEGER NOT NULL,
    bytes_up INTEGER NOT NULL, bytes_down INTEGER NOT NULL, response_id TEXT NOT NULL,
    session_id TEXT NOT NULL, thread_id TEXT NOT NULL, subagent TEXT NOT NULL,
    flow_id INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX usage_by_time ON usage (started_unix_ms);
  PRAGMA user_version = 1;
  INSERT INTO usage VALUES
    (x'01930000000000011122334455667789', 1700000000001, 321, 4321, 7, '10.99.0.2',
     'alice@example.com', '["engineering","on-call"]', 'engineering-codex', 'openai', 'main',
     'POST /v1/responses', 'auto', 'gpt-6-luna', 'gpt-6-luna-2026-09-01', 'default', 12000, 9000,
     100, 800, 300, 12345678, '2026-11-01', 'incomplete', 'none', 200, 1, 42, 65536, 131072,
     'resp_0123', '0199-session', '0199-thread', 'review', -77405618595430399),
    (x'0193000000000002112233445566778a', 1700000000002, -1, 0, 7, '10.99.0.2', 'bob', '[]', '',
     '', '', 'POST /v1/responses', 'gpt-x', '', '', '', 0, 0, 0, 0, 0, 0, '', 'refused',
     'model_denied', 403, 0, 0, 10, 20, '', '', '', '', 0);
)sql";

// What version 2 added, as it did.
constexpr const char* kVersion2 = R"sql(
  ALTER TABLE usage ADD COLUMN hold_input_tokens INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN hold_output_tokens INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN hold_cost_nano_usd INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN tool_calls INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN settled_unix_ms INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN settled_window_ms INTEGER NOT NULL DEFAULT 0;
  UPDATE usage SET settled_unix_ms = started_unix_ms + duration_ms,
                   settled_window_ms = started_unix_ms + duration_ms;
  CREATE INDEX usage_ahead ON usage (settled_window_ms)
    WHERE settled_window_ms > started_unix_ms + 172800000;
  CREATE TABLE holds (
    request_id BLOB PRIMARY KEY CHECK (length(request_id) = 16),
    record BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE adjustment (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, scope TEXT NOT NULL, subject TEXT NOT NULL,
    unit TEXT NOT NULL, amount INTEGER NOT NULL, made_unix_ms INTEGER NOT NULL,
    made_window_ms INTEGER NOT NULL, expires_window_ms INTEGER NOT NULL, uid INTEGER NOT NULL,
    reason TEXT NOT NULL
  ) STRICT;
  CREATE TABLE clock (
    boot_id TEXT PRIMARY KEY, boottime_ms INTEGER NOT NULL, window_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = 2;
)sql";

Database database(const std::string& folder) {
  return std::move(
      *Database::open(folder + "/ledger.sqlite", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
}

std::vector<UsageRecord> all_records(const std::string& folder) {
  std::vector<UsageRecord> records;
  auto reader = open_sqlite_reader(folder);
  EXPECT_TRUE(reader) << reader.error().text;
  if (!reader) return records;
  const auto status = (*reader)->records({}, [&](const UsageRecord& r) {
    records.push_back(r);
    return true;
  });
  EXPECT_TRUE(status) << status.error().text;
  return records;
}

std::string schema_of(const std::string& folder) {
  auto db = database(folder);
  auto statement = db.prepare("SELECT sql FROM sqlite_schema ORDER BY name");
  std::string sql;
  for (auto row = statement->step(); row && *row; row = statement->step())
    sql += std::string(statement->text(0)) + "\n";
  return sql;
}

// What sample_usage(1) was when records had no holds and no settlement times.
UsageRecord sample_of_version_1() {
  UsageRecord record = sample_usage(1);
  record.hold_input_tokens = 0;
  record.hold_output_tokens = 0;
  record.hold_cost = {};
  record.tool_calls = 0;
  record.settled_unix_ms = record.started_unix_ms + record.duration_ms;
  record.settled_window_ms = record.started_unix_ms + record.duration_ms;
  record.upstream_flow_id = 0;
  record.upstream_bytes_up = 0;
  record.upstream_bytes_down = 0;
  return record;
}

TEST(Migration, AVersion1FileKeepsItsRecordsAndTakesNewOnes) {
  const ScratchFolder folder;
  ASSERT_TRUE(database(folder.path()).execute(kVersion1));
  auto store = open_sqlite_store(folder.path());
  ASSERT_TRUE(store) << store.error().text;
  auto records = all_records(folder.path());
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0], sample_of_version_1());
  EXPECT_EQ(records[1].outcome, ringbuf::Outcome::refused);
  EXPECT_EQ(records[1].settled_window_ms, 1'700'000'000'002);

  ASSERT_TRUE((*store)->append(std::vector<Entry>{ringbuf::sample_hold(9), sample_usage(3)}));
  EXPECT_EQ(all_records(folder.path()).back(), sample_usage(3));
  EXPECT_EQ((*store)->open_holds()->size(), 1u);
  EXPECT_TRUE(open_sqlite_journal(folder.path()));
  EXPECT_TRUE(open_sqlite_store(folder.path())) << "and once is enough";
}

TEST(Migration, AVersion2FileKeepsItsRecordsAndTheHoldsOfACrash) {
  const ScratchFolder folder;
  ASSERT_TRUE(database(folder.path()).execute(kVersion1));
  ASSERT_TRUE(database(folder.path()).execute(kVersion2));
  {
    // The hold as version 2 wrote it: without the three numbers about the provider's connection.
    const ringbuf::HoldRecord hold = ringbuf::sample_hold(9);
    std::vector<std::byte> bytes;
    ringbuf::encode({0, hold}, bytes);
    constexpr auto kUpstreamAt = 12 + 178;
    bytes[0] = std::byte{2};
    bytes.erase(bytes.begin() + kUpstreamAt, bytes.begin() + kUpstreamAt + 24);
    auto db = database(folder.path());
    auto insert = db.prepare("INSERT INTO holds VALUES (?1, ?2)");
    const auto id = id_bytes(hold.request.id);
    insert->bind(1, std::span<const uint8_t>(id));
    insert->bind(2, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    ASSERT_TRUE(insert->run());
  }
  auto store = open_sqlite_store(folder.path());
  ASSERT_TRUE(store) << store.error().text;
  const auto records = all_records(folder.path());
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0], sample_of_version_1());
  const auto holds = (*store)->open_holds();
  ASSERT_TRUE(holds) << holds.error().text;
  ASSERT_EQ(holds->size(), 1u);
  EXPECT_EQ(holds->front(), ringbuf::sample_hold(9));
  EXPECT_EQ(*database(folder.path()).integer("PRAGMA user_version"), 3);
}

TEST(Migration, AnUpgradedFileIsLikeANewOne) {
  const ScratchFolder upgraded;
  const ScratchFolder fresh;
  ASSERT_TRUE(database(upgraded.path()).execute(kVersion1));
  ASSERT_TRUE(open_sqlite_store(upgraded.path()));
  ASSERT_TRUE(open_sqlite_store(fresh.path()));
  const auto columns = [](const std::string& folder) {
    auto db = database(folder);
    auto statement = db.prepare(
        "SELECT group_concat(name || type || dflt_value) "
        "FROM pragma_table_info('usage')");
    EXPECT_TRUE(*statement->step());
    return std::string(statement->text(0));
  };
  EXPECT_EQ(columns(upgraded.path()), columns(fresh.path()));
  const std::string schema = schema_of(fresh.path());
  for (const char* name : {"holds", "adjustment", "clock", "usage_ahead", "revocation"}) {
    EXPECT_NE(schema.find(name), std::string::npos) << name;
    EXPECT_NE(schema_of(upgraded.path()).find(name), std::string::npos) << name;
  }
}

TEST(Migration, AVersion2FileKeepsItsRecordsAndCanRevoke) {
  const ScratchFolder folder;
  ASSERT_TRUE(database(folder.path()).execute(kVersion1));
  ASSERT_TRUE(database(folder.path()).execute(kVersion2));
  ASSERT_TRUE(open_sqlite_store(folder.path()));
  const auto records = all_records(folder.path());
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0], sample_of_version_1());
  auto journal = open_sqlite_journal(folder.path());
  ASSERT_TRUE(journal) << journal.error().text;
  EXPECT_TRUE((*journal)->revocations()->empty());
  ASSERT_TRUE((*journal)->revoke({"user", "alice@example.com", 1, 0, ""}));
  EXPECT_EQ((*journal)->revocations()->size(), 1u);
}

TEST(Migration, OneThatFailsLeavesTheFileAsItWas) {
  const ScratchFolder folder;
  ASSERT_TRUE(database(folder.path()).execute(kVersion1));
  ASSERT_TRUE(database(folder.path()).execute("CREATE TABLE clock (mine TEXT)"));
  const std::string before = schema_of(folder.path());
  ASSERT_FALSE(open_sqlite_store(folder.path()));
  EXPECT_EQ(schema_of(folder.path()), before);
  EXPECT_EQ(*database(folder.path()).integer("PRAGMA user_version"), 1);
  ASSERT_TRUE(database(folder.path()).execute("DROP TABLE clock"));
  EXPECT_TRUE(open_sqlite_store(folder.path()));
}

TEST(Migration, IsTheWritersAlone) {
  const ScratchFolder folder;
  ASSERT_TRUE(database(folder.path()).execute(kVersion1));
  const auto reader = open_sqlite_reader(folder.path());
  ASSERT_FALSE(reader);
  EXPECT_NE(reader.error().text.find("schema version 1"), std::string::npos);
  EXPECT_NE(reader.error().hint.find("up to date"), std::string::npos) << reader.error().hint;
  EXPECT_FALSE(open_sqlite_journal(folder.path()));
  EXPECT_EQ(*database(folder.path()).integer("PRAGMA user_version"), 1);
}

}  // namespace
}  // namespace tollgate::ledger
