// What limits count after a restart.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/ledger/scratch_folder.h"
#include "tests/unit/ringbuf/sample.h"
#include "userspace/ledger/sqlite.h"
#include "userspace/ledger/store.h"

namespace tollgate::ledger {
namespace {

using ringbuf::Outcome;
using ringbuf::sample_usage;
using ringbuf::UsageRecord;

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kNow = 1'800'000'000'000;

class Charges : public testing::Test {
 protected:
  Charges() : store_(std::move(*open_sqlite_store(folder_.path()))) {}

  void add(const UsageRecord& record) {
    const auto status = store_->append(std::vector<Entry>{record});
    ASSERT_TRUE(status) << status.error().text;
  }
  std::vector<ChargeRow> charges(int64_t since_window_ms) {
    std::vector<ChargeRow> rows;
    auto reader = open_sqlite_reader(folder_.path());
    EXPECT_TRUE(reader) << reader.error().text;
    const auto status =
        (*reader)->charges(since_window_ms, [&](const ChargeRow& row) { rows.push_back(row); });
    EXPECT_TRUE(status) << status.error().text;
    return rows;
  }

  ScratchFolder folder_;
  std::unique_ptr<Store> store_;
};

TEST_F(Charges, OfNamedRequestsAreThoseThatHaveARecord) {
  UsageRecord settled = sample_usage(1);
  UsageRecord given_back = sample_usage(2);
  given_back.cost = {};
  given_back.input_tokens = given_back.output_tokens = 0;
  const UsageRecord running = sample_usage(3);
  const UsageRecord not_asked = sample_usage(4);
  ASSERT_TRUE(store_->append(
      std::vector<Entry>{ringbuf::HoldRecord{running}, settled, given_back, not_asked}));
  auto reader = open_sqlite_reader(folder_.path());
  ASSERT_TRUE(reader) << reader.error().text;
  std::vector<ChargeRow> rows;
  const std::vector<RequestId> ids = {running.id, settled.id, given_back.id};
  ASSERT_TRUE((*reader)->settled(ids, [&](const ChargeRow& row) { rows.push_back(row); }));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].id, settled.id);
  EXPECT_EQ(rows[0].cost, settled.cost);
  EXPECT_EQ(rows[0].settled_window_ms, settled.settled_window_ms);
  EXPECT_EQ(rows[1].id, given_back.id);
  EXPECT_EQ(rows[1].cost.value, 0);
}

TEST_F(Charges, HaveEveryField) {
  const UsageRecord record = sample_usage(1);
  add(record);
  const auto rows = charges(0);
  ASSERT_EQ(rows.size(), 1u);
  const ChargeRow& row = rows.front();
  EXPECT_EQ(row.id, record.id);
  EXPECT_EQ(row.user, record.user);
  EXPECT_EQ(row.groups, record.groups);
  EXPECT_EQ(row.model_served, record.model_served);
  EXPECT_EQ(row.cost, record.cost);
  EXPECT_EQ(row.input_tokens, record.input_tokens);
  EXPECT_EQ(row.output_tokens, record.output_tokens);
  EXPECT_EQ(row.bytes_up, record.bytes_up);
  EXPECT_EQ(row.settled_unix_ms, record.settled_unix_ms);
  EXPECT_EQ(row.settled_window_ms, record.settled_window_ms);
}

TEST_F(Charges, CalibrateWhereTheBodyWasTheWholeRequestAndItsUsageReported) {
  const struct {
    const char* endpoint;
    bool estimated;
    bool calibrates;
  } rows[] = {
      {"POST /v1/responses", false, true},
      {"POST /v1/responses", true, false},
      {"WS /v1/responses", false, false},
  };
  uint64_t number = 1;
  for (const auto& row : rows) {
    SCOPED_TRACE(row.endpoint);
    UsageRecord record = sample_usage(number++);
    record.endpoint = row.endpoint;
    record.estimated = row.estimated;
    add(record);
    const auto found = charges(0);
    EXPECT_TRUE(std::any_of(found.begin(), found.end(), [&](const ChargeRow& charge) {
      return charge.id == record.id && charge.calibrates == row.calibrates;
    }));
  }
}

TEST_F(Charges, AreAdmittedAndNotVoid) {
  const struct {
    const char* what;
    Outcome outcome;
    int64_t cost;
    uint64_t input_tokens;
    uint64_t output_tokens;
    bool counts;
  } rows[] = {
      {"completed", Outcome::completed, 5, 1, 1, true},
      {"recovered at its hold", Outcome::recovered, 5, 1, 1, true},
      {"an abort before any output", Outcome::client_abort, 0, 1, 0, true},
      {"output alone", Outcome::cut, 0, 0, 1, true},
      {"a cost without tokens: a hosted tool", Outcome::failed, 5, 0, 0, true},
      {"void: the provider refused it", Outcome::upstream_error, 0, 0, 0, false},
      {"refused by us", Outcome::refused, 0, 0, 0, false},
      {"refused by us, whatever it says", Outcome::refused, 5, 1, 1, false},
  };
  uint64_t serial = 0;
  for (const auto& row : rows) {
    UsageRecord record = sample_usage(++serial);
    record.outcome = row.outcome;
    record.cost = {row.cost};
    record.input_tokens = row.input_tokens;
    record.output_tokens = row.output_tokens;
    add(record);
    const auto found = charges(0);
    const bool counted = std::any_of(found.begin(), found.end(),
                                     [&](const ChargeRow& c) { return c.id == record.id; });
    EXPECT_EQ(counted, row.counts) << row.what;
  }
}

// The two clocks may lie far apart: what counts is the windows' alone.
TEST_F(Charges, AreCountedByTheWindowClockAlone) {
  const struct {
    const char* what;
    int64_t started_unix_ms;
    int64_t settled_window_ms;
    bool counts;
  } rows[] = {
      {"at the moment", kNow, kNow, true},
      {"just before it", kNow, kNow - 1, false},
      {"a request of a day", kNow - 24 * kHourMs, kNow, true},
      {"at the edge of the slack", kNow - 48 * kHourMs, kNow, true},
      {"just beyond the slack", kNow - 48 * kHourMs - 1, kNow, true},
      {"a wall clock that is months behind", kNow - 2'000 * kHourMs, kNow + 1, true},
      {"the same, just before the moment", kNow - 2'000 * kHourMs, kNow - 1, false},
      {"a wall clock that is months ahead", kNow + 2'000 * kHourMs, kNow + 1, true},
      {"the same, just before the moment", kNow + 2'000 * kHourMs, kNow - 1, false},
  };
  uint64_t serial = 0;
  for (const auto& row : rows) {
    UsageRecord record = sample_usage(++serial);
    record.started_unix_ms = row.started_unix_ms;
    record.settled_window_ms = row.settled_window_ms;
    add(record);
    const auto found = charges(kNow);
    const auto times = std::count_if(found.begin(), found.end(),
                                     [&](const ChargeRow& c) { return c.id == record.id; });
    EXPECT_EQ(times, row.counts ? 1 : 0) << row.what;
  }
  EXPECT_EQ(charges(INT64_MIN).size(), std::size(rows));
  EXPECT_TRUE(charges(INT64_MAX).empty());
}

TEST_F(Charges, AForeignValueIsAnErrorNotAGuess) {
  add(sample_usage(1));
  auto db = Database::open(folder_.path() + "/ledger.sqlite", SQLITE_OPEN_READWRITE);
  ASSERT_TRUE(db->execute("UPDATE usage SET group_names = 'engineering'"));
  auto reader = open_sqlite_reader(folder_.path());
  const auto status = (*reader)->charges(0, [](const ChargeRow&) {});
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().text.find("group_names"), std::string::npos) << status.error().text;
}

}  // namespace
}  // namespace tollgate::ledger
