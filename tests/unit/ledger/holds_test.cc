// The store's other half: requests that were admitted and are not settled yet.
#include <gtest/gtest.h>

#include "tests/unit/ledger/scratch_folder.h"
#include "tests/unit/ringbuf/sample.h"
#include "userspace/ledger/sqlite.h"
#include "userspace/ledger/store.h"

namespace tollgate::ledger {
namespace {

using ringbuf::HoldRecord;
using ringbuf::sample_hold;
using ringbuf::sample_usage;

class Holds : public testing::Test {
 protected:
  Holds() : store_(std::move(*open_sqlite_store(folder_.path()))) {}

  void append(const std::vector<Entry>& entries) {
    const auto status = store_->append(entries);
    ASSERT_TRUE(status) << status.error().text;
  }
  void reopen() {
    store_.reset();
    store_ = std::move(*open_sqlite_store(folder_.path()));
  }
  std::vector<HoldRecord> open_holds() {
    auto holds = store_->open_holds();
    EXPECT_TRUE(holds) << holds.error().text;
    return holds ? *holds : std::vector<HoldRecord>();
  }
  Database database() {
    return std::move(*Database::open(folder_.path() + "/ledger.sqlite", SQLITE_OPEN_READWRITE));
  }
  size_t usage_rows() {
    auto rows = database().integer("SELECT count(*) FROM usage");
    return rows ? static_cast<size_t>(*rows) : SIZE_MAX;
  }

  ScratchFolder folder_;
  std::unique_ptr<Store> store_;
};

TEST_F(Holds, OutliveTheProcessOldestFirstWithEveryField) {
  EXPECT_TRUE(open_holds().empty());
  append({sample_hold(3), sample_hold(1)});
  append({sample_hold(2)});
  reopen();
  EXPECT_EQ(open_holds(), (std::vector{sample_hold(1), sample_hold(2), sample_hold(3)}));
  EXPECT_EQ(usage_rows(), 0u) << "a hold is no usage";
}

TEST_F(Holds, AreResolvedByTheUsageOfTheirIdAlone) {
  const struct {
    const char* what;
    std::vector<std::vector<Entry>> batches;
    std::vector<HoldRecord> open;
    size_t settled;
  } rows[] = {
      {"in a later batch",
       {{sample_hold(1), sample_hold(2)}, {sample_usage(1)}},
       {sample_hold(2)},
       1},
      {"in the same batch",
       {{sample_hold(1), sample_hold(2), sample_usage(2)}},
       {sample_hold(1)},
       1},
      {"another id's usage", {{sample_hold(1)}, {sample_usage(3)}}, {sample_hold(1)}, 1},
      {"usage without a hold", {{sample_usage(1)}}, {}, 1},
      {"the hold again", {{sample_hold(1)}, {sample_hold(1), sample_hold(1)}}, {sample_hold(1)}, 0},
      {"the hold again after its usage",
       {{sample_hold(1)}, {sample_usage(1)}, {sample_hold(1)}},
       {},
       1},
      {"the usage again", {{sample_hold(1), sample_usage(1)}, {sample_usage(1)}}, {}, 1},
      {"both again, as after a commit whose success was not seen",
       {{sample_hold(1), sample_usage(1)}, {sample_hold(1), sample_usage(1)}},
       {},
       1},
  };
  for (const auto& row : rows) {
    {
      auto db = database();
      ASSERT_TRUE(db.execute("DELETE FROM usage; DELETE FROM holds"));
    }
    for (const auto& batch : row.batches)
      append(batch);
    EXPECT_EQ(open_holds(), row.open) << row.what;
    EXPECT_EQ(usage_rows(), row.settled) << row.what;
  }
}

TEST_F(Holds, AFailedBatchOpensAndResolvesNone) {
  append({sample_hold(1)});
  ASSERT_TRUE(
      database().execute("CREATE TRIGGER stop BEFORE INSERT ON usage WHEN new.http_status = 599 "
                         "BEGIN SELECT RAISE(ABORT, 'stopped'); END"));
  auto failing = sample_usage(3);
  failing.http_status = 599;
  ASSERT_FALSE(store_->append(std::vector<Entry>{sample_hold(2), sample_usage(1), failing}));
  EXPECT_EQ(open_holds(), std::vector{sample_hold(1)});
  EXPECT_EQ(usage_rows(), 0u);
  append({sample_hold(2), sample_usage(1)});
  EXPECT_EQ(open_holds(), std::vector{sample_hold(2)});
}

TEST_F(Holds, OneThatCannotBeReadIsAnErrorNotSkipped) {
  const struct {
    const char* what;
    const char* damage;
  } rows[] = {
      {"cut short", "UPDATE holds SET record = substr(record, 1, 40)"},
      {"another version", "UPDATE holds SET record = CAST(x'0100' || substr(record, 3) AS BLOB)"},
      {"usage in its place",
       "UPDATE holds SET record = CAST(x'02000100' || substr(record, 5) AS BLOB)"},
      {"another's id", "UPDATE holds SET request_id = zeroblob(16)"},
  };
  for (const auto& row : rows) {
    append({sample_hold(1)});
    EXPECT_EQ(open_holds().size(), 1u);
    ASSERT_TRUE(database().execute(row.damage)) << row.what;
    const auto holds = store_->open_holds();
    ASSERT_FALSE(holds) << row.what;
    EXPECT_NE(holds.error().text.find("read open hold gw_"), std::string::npos) << row.what;
    EXPECT_FALSE(holds.error().hint.empty()) << row.what;
    ASSERT_TRUE(database().execute("DELETE FROM holds"));
  }
}

}  // namespace
}  // namespace tollgate::ledger
