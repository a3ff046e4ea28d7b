#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/ledger/scratch_folder.h"
#include "tests/unit/ringbuf/sample.h"
#include "userspace/ledger/sqlite.h"
#include "userspace/ledger/store.h"

namespace tollgate::ledger {
namespace {

using ringbuf::Outcome;
using ringbuf::UsageRecord;

constexpr int64_t kDayMs = 86'400'000;

struct Line {
  const char* user;
  std::vector<std::string> groups;
  const char* model;
  const char* policy;
  const char* session;
  int64_t at_unix_ms;
  int64_t cost;
  Outcome outcome = Outcome::completed;
  bool estimated = false;
};

class Reports : public testing::Test {
 protected:
  Reports() : store_(std::move(*open_sqlite_store(folder_.path()))) {}

  void add(const std::vector<Line>& lines) {
    std::vector<Entry> records;
    for (const Line& line : lines) {
      UsageRecord r;
      r.id = {static_cast<uint64_t>(line.at_unix_ms) << 16, ++serial_};
      r.started_unix_ms = line.at_unix_ms;
      r.user = line.user;
      r.groups = line.groups;
      r.outcome = line.outcome;
      r.model_asked = line.model;
      if (line.outcome != Outcome::refused) r.model_served = line.model;
      r.policy = line.policy;
      r.session_id = line.session;
      r.cost = {line.cost};
      r.estimated = line.estimated;
      r.input_tokens = 100;
      r.cached_tokens = 10;
      r.output_tokens = 7;
      r.reasoning_tokens = 3;
      records.emplace_back(std::move(r));
    }
    const auto status = store_->append(records);
    ASSERT_TRUE(status) << status.error().text;
  }

  std::string report(GroupBy by, const UsageQuery& query = {}) {
    auto reader = open_sqlite_reader(folder_.path());
    if (!reader) return reader.error().text;
    auto rows = (*reader)->usage(by, query);
    if (!rows) return rows.error().text;
    std::string text;
    for (const auto& row : *rows) {
      text += row.key + ":" + std::to_string(row.requests) + "+" + std::to_string(row.refused) +
              "=" + std::to_string(row.cost.value) + " ";
    }
    return text;
  }

  std::vector<uint64_t> listed(const UsageQuery& query, size_t stop_after = SIZE_MAX) {
    std::vector<uint64_t> serials;
    auto reader = open_sqlite_reader(folder_.path());
    EXPECT_TRUE(reader);
    const auto status = (*reader)->records(query, [&](const UsageRecord& r) {
      serials.push_back(r.id.low);
      return serials.size() < stop_after;
    });
    EXPECT_TRUE(status) << status.error().text;
    return serials;
  }

  ScratchFolder folder_;
  std::unique_ptr<Store> store_;
  uint64_t serial_ = 0;
};

TEST_F(Reports, GroupByEachKey) {
  add({{"alice", {"eng", "ops"}, "gpt-a", "p1", "s1", kDayMs, 500},
       {"alice", {"eng", "ops"}, "gpt-b", "p1", "s1", kDayMs - 1, 30},
       {"bob", {"eng"}, "gpt-a", "p2", "s2", 2 * kDayMs, 7},
       {"carol", {}, "gpt-a", "p2", "s2", 2 * kDayMs - 1, 9000},
       {"bob", {"eng"}, "gpt-x", "", "", 2 * kDayMs, 0, Outcome::refused}});
  EXPECT_EQ(report(GroupBy::user), "carol:1+0=9000 alice:2+0=530 bob:1+1=7 ");
  EXPECT_EQ(report(GroupBy::group), ":1+0=9000 eng:3+1=537 ops:2+0=530 ");
  EXPECT_EQ(report(GroupBy::model), "gpt-a:3+0=9507 gpt-b:1+0=30 gpt-x:0+1=0 ");
  EXPECT_EQ(report(GroupBy::policy), "p2:2+0=9007 p1:2+0=530 :0+1=0 ");
  EXPECT_EQ(report(GroupBy::session), "s2:2+0=9007 s1:2+0=530 :0+1=0 ");
  EXPECT_EQ(report(GroupBy::day), "1970-01-01:1+0=30 1970-01-02:2+0=9500 1970-01-03:1+1=7 ");
}

TEST_F(Reports, SumEveryColumn) {
  add({{"alice", {}, "m", "p", "s", 1, 5}, {"alice", {}, "m", "p", "s", 2, 6, Outcome::cut, true}});
  auto rows = (*open_sqlite_reader(folder_.path()))->usage(GroupBy::user, {});
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 1u);
  const UsageRow& row = rows->front();
  EXPECT_EQ(row.requests, 2u);
  EXPECT_EQ(row.estimated, 1u);
  EXPECT_EQ(row.input_tokens, 200u);
  EXPECT_EQ(row.cached_tokens, 20u);
  EXPECT_EQ(row.output_tokens, 14u);
  EXPECT_EQ(row.reasoning_tokens, 6u);
  EXPECT_EQ(row.cost.value, 11);
}

TEST_F(Reports, ARecoveredRequestIsARequestAndEstimated) {
  add({{"alice", {}, "m", "p", "s", 1, 5, Outcome::recovered},
       {"alice", {}, "m", "p", "s", 2, 6, Outcome::recovered, true}});
  auto rows = (*open_sqlite_reader(folder_.path()))->usage(GroupBy::user, {});
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(rows->front().requests, 2u);
  EXPECT_EQ(rows->front().refused, 0u);
  EXPECT_EQ(rows->front().estimated, 2u);
}

TEST_F(Reports, ARepeatedGroupCountsOnce) {
  add({{"alice", {"eng", "eng"}, "m", "p", "s", 1, 5}});
  EXPECT_EQ(report(GroupBy::group), "eng:1+0=5 ");
}

TEST_F(Reports, FilterByTimeUserAndModel) {
  add({{"alice", {}, "gpt-a", "p", "s", 1000, 1},
       {"alice", {}, "gpt-b", "p", "s", 2000, 20},
       {"bob", {}, "gpt-a", "p", "s", 3000, 300},
       {"bob", {}, "gpt-a", "p", "s", 3000, 0, Outcome::refused}});
  const struct {
    const char* what;
    UsageQuery query;
    const char* want;
  } rows[] = {
      {"since is inclusive", {.since_unix_ms = 2000}, "bob:1+1=300 alice:1+0=20 "},
      {"just after", {.since_unix_ms = 2001}, "bob:1+1=300 "},
      {"until is exclusive", {.until_unix_ms = 2000}, "alice:1+0=1 "},
      {"just after", {.until_unix_ms = 2001}, "alice:2+0=21 "},
      {"user", {.user = "alice"}, "alice:2+0=21 "},
      {"unknown user", {.user = "alic"}, ""},
      {"model, with who was refused it", {.model = "gpt-a"}, "bob:1+1=300 alice:1+0=1 "},
      {"outcome", {.outcome = Outcome::refused}, "bob:0+1=0 "},
      {"an outcome that none has", {.outcome = Outcome::recovered}, ""},
      {"all at once",
       {.since_unix_ms = 1000,
        .until_unix_ms = 1001,
        .user = "alice",
        .model = "gpt-a",
        .outcome = Outcome::completed},
       "alice:1+0=1 "},
  };
  for (const auto& row : rows)
    EXPECT_EQ(report(GroupBy::user, row.query), row.want) << row.what;
}

TEST_F(Reports, AnAbsurdRowSaturatesAndHidesNoOther) {
  add({{"mad", {}, "m", "p", "s", 1, INT64_MAX},
       {"mad", {}, "m", "p", "s", 2, INT64_MAX},
       {"alice", {}, "m", "p", "s", 3, 5}});
  EXPECT_EQ(report(GroupBy::user), "mad:2+0=" + std::to_string(INT64_MAX) + " alice:1+0=5 ");
}

TEST_F(Reports, AnEmptyLedgerHasNoRows) {
  for (const GroupBy by : {GroupBy::user, GroupBy::group, GroupBy::model, GroupBy::policy,
                           GroupBy::day, GroupBy::session}) {
    EXPECT_EQ(report(by), "");
  }
  EXPECT_TRUE(listed({}).empty());
}

// More than two pages, with one moment that spans a page's end.
TEST_F(Reports, ListRecordsOldestFirstAcrossPages) {
  std::vector<Line> lines;
  for (int64_t i = 0; i < 700; ++i)
    lines.push_back({"u", {}, "m", "p", "s", 1000 - i / 300, 1});
  add(lines);
  const auto serials = listed({});
  ASSERT_EQ(serials.size(), 700u);
  EXPECT_EQ(serials.front(), 601u);
  EXPECT_EQ(serials.back(), 300u);
  std::vector<uint64_t> sorted = serials;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(std::adjacent_find(sorted.begin(), sorted.end()), sorted.end());
  EXPECT_EQ(listed({.since_unix_ms = 1000}).size(), 300u);
  EXPECT_EQ(listed({}, 300).size(), 300u) << "the visitor stops it";
}

TEST_F(Reports, SeeCommitsWhileTheWriterWrites) {
  auto reader = open_sqlite_reader(folder_.path());
  ASSERT_TRUE(reader);
  for (uint64_t n = 1; n <= 20; ++n) {
    add({{"alice", {}, "m", "p", "s", 1, 1}});
    auto rows = (*reader)->usage(GroupBy::user, {});
    ASSERT_TRUE(rows);
    ASSERT_EQ(rows->front().requests, n);
  }
}

TEST_F(Reports, ASlowVisitorDoesNotHoldTheWriter) {
  add({{"alice", {}, "m", "p", "s", 1, 1}, {"alice", {}, "m", "p", "s", 2, 1}});
  auto reader = open_sqlite_reader(folder_.path());
  ASSERT_TRUE(reader);
  const auto status = (*reader)->records({}, [&](const UsageRecord&) {
    add({{"bob", {}, "m", "p", "s", 0, 1}});
    auto db = Database::open(folder_.path() + "/ledger.sqlite", SQLITE_OPEN_READWRITE);
    EXPECT_TRUE(db);
    // Busy (first column) is 1 when a reader keeps the WAL from being emptied.
    auto busy = db->integer("PRAGMA wal_checkpoint(TRUNCATE)");
    EXPECT_TRUE(busy && *busy == 0);
    return true;
  });
  EXPECT_TRUE(status);
}

TEST_F(Reports, ReaderCannotWriteAndNeedsALedger) {
  const ScratchFolder empty;
  EXPECT_FALSE(open_sqlite_reader(empty.path()));
  EXPECT_FALSE(open_sqlite_reader(empty.path() + "/missing"));
}

TEST_F(Reports, AForeignValueIsAnErrorNotAGuess) {
  add({{"alice", {}, "m", "p", "s", 1, 1}});
  {
    auto db = Database::open(folder_.path() + "/ledger.sqlite", SQLITE_OPEN_READWRITE);
    ASSERT_TRUE(db->execute("UPDATE usage SET outcome = 'perhaps'"));
  }
  auto reader = open_sqlite_reader(folder_.path());
  const auto status = (*reader)->records({}, [](const UsageRecord&) { return true; });
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().text.find("outcome"), std::string::npos) << status.error().text;
}

}  // namespace
}  // namespace tollgate::ledger
