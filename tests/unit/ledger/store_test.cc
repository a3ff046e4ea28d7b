#include "userspace/ledger/store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/unit/ledger/scratch_folder.h"
#include "tests/unit/ringbuf/sample.h"
#include "userspace/ledger/sqlite.h"

namespace tollgate::ledger {
namespace {

using ringbuf::sample_usage;
using ringbuf::UsageRecord;

std::vector<UsageRecord> all_records(const std::string& folder) {
  std::vector<UsageRecord> records;
  auto reader = open_sqlite_reader(folder);
  EXPECT_TRUE(reader) << reader.error().text;
  if (!reader) return records;
  const auto status = (*reader)->records({.since_unix_ms = INT64_MIN}, [&](const UsageRecord& r) {
    records.push_back(r);
    return true;
  });
  EXPECT_TRUE(status) << status.error().text;
  return records;
}

Status append(Store& store, const std::vector<UsageRecord>& records) {
  return store.append(std::vector<Entry>(records.begin(), records.end()));
}

void execute(const std::string& folder, const char* sql) {
  auto db = Database::open(folder + "/ledger.sqlite", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  ASSERT_TRUE(db) << db.error().text;
  ASSERT_TRUE(db->execute(sql));
}

TEST(SqliteStore, GivesBackEveryField) {
  const ScratchFolder folder;
  auto store = open_sqlite_store(folder.path());
  ASSERT_TRUE(store) << store.error().text;
  const std::vector<UsageRecord> records = {sample_usage(1), sample_usage(2)};
  ASSERT_TRUE(append(**store, records));
  EXPECT_EQ(all_records(folder.path()), records);
}

TEST(SqliteStore, KeepsEdgeValues) {
  const ScratchFolder folder;
  auto store = open_sqlite_store(folder.path());
  ASSERT_TRUE(store);
  UsageRecord edge;
  edge.id = {UINT64_MAX, UINT64_MAX};
  edge.cost = {INT64_MIN};
  edge.peer_id = UINT32_MAX;
  edge.http_status = INT32_MIN;
  edge.flow_id = UINT64_MAX;
  edge.user = std::string("nul\0inside", 10);
  edge.model_asked = "\xff\xfe not UTF-8";
  edge.groups = {"", "a\"b\\c\n"};
  ASSERT_TRUE(append(**store, {edge}));
  EXPECT_EQ(all_records(folder.path()), std::vector{edge});
}

TEST(SqliteStore, ACountBeyondItsIntegersIsTheirLargest) {
  const ScratchFolder folder;
  auto store = open_sqlite_store(folder.path());
  ASSERT_TRUE(store);
  UsageRecord record = sample_usage();
  record.input_tokens = UINT64_MAX;
  record.output_tokens = INT64_MAX;
  ASSERT_TRUE(append(**store, {record}));
  record.input_tokens = INT64_MAX;
  EXPECT_EQ(all_records(folder.path()), std::vector{record});
}

TEST(SqliteStore, ARecordIsTakenOnce) {
  const ScratchFolder folder;
  auto store = open_sqlite_store(folder.path());
  ASSERT_TRUE(store);
  const std::vector<UsageRecord> both = {sample_usage(1), sample_usage(2)};
  const std::vector<UsageRecord> again = {sample_usage(2), sample_usage(2), sample_usage(3)};
  ASSERT_TRUE(append(**store, both));
  ASSERT_TRUE(append(**store, again));
  EXPECT_EQ(all_records(folder.path()),
            (std::vector{sample_usage(1), sample_usage(2), sample_usage(3)}));
}

TEST(SqliteStore, NothingToAppendIsFine) {
  const ScratchFolder folder;
  auto store = open_sqlite_store(folder.path());
  ASSERT_TRUE(store);
  EXPECT_TRUE((*store)->append({}));
}

TEST(SqliteStore, MakesItsFolderPrivateAndReopensIt) {
  const ScratchFolder parent;
  for (const char* name : {"/state", "/slashed/"}) {
    const std::string folder = parent.path() + name;
    ASSERT_TRUE(append(**open_sqlite_store(folder), {sample_usage(1)})) << name;
    struct stat status {};
    ASSERT_EQ(::stat(folder.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07027, 0u) << "no one else writes, others do not look";
    ASSERT_EQ(::stat((folder + "/ledger.sqlite").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0137, 0u);
    auto again = open_sqlite_store(folder);
    ASSERT_TRUE(again);
    EXPECT_EQ(all_records(folder).size(), 1u);
  }
}

TEST(SqliteStore, IsAWalThatSyncs) {
  const ScratchFolder folder;
  auto store = open_sqlite_store(folder.path());
  ASSERT_TRUE(store);
  auto db = Database::open(folder.path() + "/ledger.sqlite", SQLITE_OPEN_READWRITE);
  ASSERT_TRUE(db);
  auto mode = db->prepare("PRAGMA journal_mode");
  ASSERT_TRUE(mode);
  ASSERT_TRUE(mode->step());
  EXPECT_EQ(mode->text(0), "wal");
}

TEST(SqliteStore, RefusesANewerSchemaUntouchedWithAHint) {
  const ScratchFolder folder;
  ASSERT_TRUE(open_sqlite_store(folder.path()));
  execute(folder.path(), "PRAGMA user_version = 4");
  const auto store = open_sqlite_store(folder.path());
  ASSERT_FALSE(store);
  EXPECT_NE(store.error().text.find("schema version 4"), std::string::npos) << store.error().text;
  EXPECT_FALSE(store.error().hint.empty());
  EXPECT_FALSE(open_sqlite_reader(folder.path()));
  execute(folder.path(), "PRAGMA user_version = 3");
  EXPECT_TRUE(open_sqlite_store(folder.path()));
}

TEST(SqliteStore, RefusesWhatIsNotALedger) {
  const ScratchFolder other;
  execute(other.path(), "CREATE TABLE notes (text TEXT)");
  const auto foreign = open_sqlite_store(other.path());
  ASSERT_FALSE(foreign);
  EXPECT_NE(foreign.error().text.find("not a ledger"), std::string::npos) << foreign.error().text;

  const ScratchFolder garbage;
  std::ofstream(garbage.path() + "/ledger.sqlite") << std::string(8192, 'x');
  const auto broken = open_sqlite_store(garbage.path());
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().hint.find("backup"), std::string::npos) << broken.error().hint;
}

TEST(SqliteStore, SaysWhatToDoWithoutAParentFolder) {
  const ScratchFolder folder;
  const auto store = open_sqlite_store(folder.path() + "/missing/state");
  ASSERT_FALSE(store);
  EXPECT_NE(store.error().text.find("/missing/state"), std::string::npos);
  EXPECT_FALSE(store.error().hint.empty());
}

TEST(SqliteStore, AFailedAppendLeavesNothingAndTheNextWorks) {
  const ScratchFolder folder;
  auto store = open_sqlite_store(folder.path());
  ASSERT_TRUE(store);
  execute(folder.path(),
          "CREATE TRIGGER stop BEFORE INSERT ON usage WHEN new.http_status = 599 "
          "BEGIN SELECT RAISE(ABORT, 'stopped'); END");
  std::vector<UsageRecord> batch = {sample_usage(1), sample_usage(2)};
  batch[1].http_status = 599;
  ASSERT_FALSE(append(**store, batch));
  EXPECT_TRUE(all_records(folder.path()).empty());
  batch[1].http_status = 200;
  ASSERT_TRUE(append(**store, batch));
  EXPECT_EQ(all_records(folder.path()), batch);
}

}  // namespace
}  // namespace tollgate::ledger
