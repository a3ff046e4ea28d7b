#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/unit/ledger/scratch_folder.h"
#include "tests/unit/ringbuf/sample.h"
#include "userspace/ledger/sqlite.h"
#include "userspace/ledger/store.h"

namespace tollgate::ledger {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kDayMs = 24 * kHourMs;
constexpr int64_t kNow = 1'800'000'000'000;

Adjustment sample_grant() {
  Adjustment grant;
  grant.kind = Adjustment::Kind::grant;
  grant.scope = "user";
  grant.subject = "alice@example.com";
  grant.unit = "usd";
  grant.amount = 10'000'000'000;
  grant.made_unix_ms = kNow + 1;
  grant.made_window_ms = kNow + 2;
  grant.expires_window_ms = kNow + 3;
  grant.uid = UINT32_MAX;
  grant.reason = "release week; \"urgent\"";
  return grant;
}

Adjustment sample_reset(int64_t made_window_ms) {
  Adjustment reset;
  reset.kind = Adjustment::Kind::reset;
  reset.scope = "group";
  reset.subject = "engineering";
  reset.made_window_ms = made_window_ms;
  return reset;
}

class InJournal : public testing::Test {
 protected:
  InJournal()
      : store_(std::move(*open_sqlite_store(folder_.path()))),
        journal_(std::move(*open_sqlite_journal(folder_.path()))) {}

  void settle(int64_t started_unix_ms, int64_t settled_window_ms) {
    auto record = ringbuf::sample_usage(++serial_);
    record.started_unix_ms = started_unix_ms;
    record.settled_window_ms = settled_window_ms;
    ASSERT_TRUE(store_->append(std::vector<Entry>{record}));
  }
  std::vector<int64_t> found(int64_t since_window_ms) {
    auto adjustments = journal_->adjustments(since_window_ms);
    EXPECT_TRUE(adjustments) << adjustments.error().text;
    std::vector<int64_t> ids;
    for (const auto& adjustment : *adjustments)
      ids.push_back(adjustment.id);
    return ids;
  }
  int64_t window_of(const std::string& boot_id, int64_t boottime_ms, int64_t wall_unix_ms) {
    auto anchor = journal_->anchored(boot_id, boottime_ms, wall_unix_ms);
    EXPECT_TRUE(anchor) << anchor.error().text;
    EXPECT_EQ(anchor->boottime_ms, boottime_ms);
    return anchor->window_ms;
  }

  ScratchFolder folder_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Journal> journal_;
  uint64_t serial_ = 0;
};

TEST_F(InJournal, AdjustmentsComeBackWithEveryField) {
  const Adjustment grant = sample_grant();
  const Adjustment reset = sample_reset(kNow);
  const auto first = journal_->add(grant);
  const auto second = journal_->add(reset);
  ASSERT_TRUE(first && second);
  EXPECT_LT(*first, *second);
  journal_ = std::move(*open_sqlite_journal(folder_.path()));
  const auto all = journal_->adjustments(0);
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 2u);
  const Adjustment& read = all->at(0);
  EXPECT_EQ(read.id, *first);
  EXPECT_EQ(read.kind, grant.kind);
  EXPECT_EQ(read.scope, grant.scope);
  EXPECT_EQ(read.subject, grant.subject);
  EXPECT_EQ(read.unit, grant.unit);
  EXPECT_EQ(read.amount, grant.amount);
  EXPECT_EQ(read.made_unix_ms, grant.made_unix_ms);
  EXPECT_EQ(read.made_window_ms, grant.made_window_ms);
  EXPECT_EQ(read.expires_window_ms, grant.expires_window_ms);
  EXPECT_EQ(read.uid, grant.uid);
  EXPECT_EQ(read.reason, grant.reason);
  EXPECT_EQ(all->at(1).kind, Adjustment::Kind::reset);
  EXPECT_EQ(all->at(1).scope, "group");
}

TEST_F(InJournal, AdjustmentsAreThoseMadeSince) {
  for (const int64_t made : {kNow, kNow + 1, kNow + 2})
    ASSERT_TRUE(journal_->add(sample_reset(made)));
  EXPECT_EQ(found(kNow), (std::vector<int64_t>{1, 2, 3})) << "since is inclusive";
  EXPECT_EQ(found(kNow + 1), (std::vector<int64_t>{2, 3}));
  EXPECT_TRUE(found(kNow + 3).empty());
}

TEST_F(InJournal, AForeignKindIsAnErrorNotAGuess) {
  ASSERT_TRUE(journal_->add(sample_reset(kNow)));
  auto db = Database::open(folder_.path() + "/ledger.sqlite", SQLITE_OPEN_READWRITE);
  ASSERT_TRUE(db->execute("UPDATE adjustment SET kind = 'gift'"));
  const auto read = journal_->adjustments(0);
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().text.find("gift"), std::string::npos) << read.error().text;
}

TEST_F(InJournal, RevocationsStandUntilTheirSubjectIsRestored) {
  const Revocation user{"user", "alice@example.com", kNow, UINT32_MAX, "laptop; \"stolen\""};
  const Revocation address{"address", "10.99.0.2", kNow + 1, 0, ""};
  const auto found_again = [&] {
    journal_ = std::move(*open_sqlite_journal(folder_.path()));
    auto revocations = journal_->revocations();
    EXPECT_TRUE(revocations) << revocations.error().text;
    return *revocations;
  };
  EXPECT_TRUE(found_again().empty());
  ASSERT_TRUE(journal_->revoke(user));
  ASSERT_TRUE(journal_->revoke(address));
  EXPECT_EQ(found_again(), (std::vector{user, address}));
  Revocation renewed = user;
  renewed.reason = "and found";
  ASSERT_TRUE(journal_->revoke(renewed));
  EXPECT_EQ(found_again(), (std::vector{renewed, address})) << "one for each subject";
  ASSERT_TRUE(journal_->restore("address", "alice@example.com"));
  EXPECT_EQ(found_again().size(), 2u) << "another scope, another subject";
  ASSERT_TRUE(journal_->restore("user", "alice@example.com"));
  EXPECT_EQ(found_again(), std::vector{address});
}

TEST_F(InJournal, AnAnchorHoldsForItsBootWhateverTheWallClockDoes) {
  ASSERT_EQ(window_of("boot-1", 500, kNow), kNow);
  for (const int64_t wall : {kNow - 30 * kDayMs, kNow + 30 * kDayMs}) {
    journal_ = std::move(*open_sqlite_journal(folder_.path()));
    const auto again = journal_->anchored("boot-1", 9'000, wall);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->boottime_ms, 500);
    EXPECT_EQ(again->window_ms, kNow);
  }
}

TEST_F(InJournal, ANewBootBeginsAtTheWallClockOrAtWhatWasWrittenLater) {
  EXPECT_EQ(window_of("boot-1", 500, kNow), kNow);
  EXPECT_EQ(window_of("boot-2", 10, kNow + 7), kNow + 7) << "the wall clock went on";
  EXPECT_EQ(window_of("boot-3", 11, kNow), kNow + 7) << "it was set back: the last anchor";
  settle(kNow - kHourMs, kNow + 20);
  settle(kNow, kNow + 10);
  EXPECT_EQ(window_of("boot-4", 12, kNow), kNow + 20) << "a record later than the newest";
  ASSERT_TRUE(journal_->add(sample_reset(kNow + 30)));
  EXPECT_EQ(window_of("boot-5", 13, kNow), kNow + 30) << "an adjustment";
  EXPECT_EQ(window_of("boot-1", 14, kNow), kNow + 30) << "the first boot is long forgotten";
  settle(kNow - 90 * kDayMs, kNow + 40);
  EXPECT_EQ(window_of("boot-6", 15, kNow), kNow + 40) << "a record of a wall clock months behind";
  settle(kNow + 90 * kDayMs, kNow + 35);
  EXPECT_EQ(window_of("boot-7", 16, kNow), kNow + 40) << "and one of a wall clock months ahead";
  auto db = Database::open(folder_.path() + "/ledger.sqlite", SQLITE_OPEN_READWRITE);
  EXPECT_EQ(*db->integer("SELECT count(*) FROM clock"), 1);
}

TEST_F(InJournal, ABootWithoutANameIsAnchoredAnew) {
  EXPECT_EQ(window_of("", 500, kNow), kNow);
  EXPECT_EQ(window_of("", 20, kNow + 5), kNow + 5);
  EXPECT_EQ(window_of("", 30, kNow), kNow + 5);
}

TEST_F(InJournal, NeedsALedger) {
  const ScratchFolder empty;
  EXPECT_FALSE(open_sqlite_journal(empty.path()));
}

// Both write as fast as they can; neither is ever told that the other is busy.
TEST_F(InJournal, WritesBesideTheLedgerThreadWaitAndSucceed) {
  std::atomic<uint64_t> failures{0};
  std::thread ledger([&] {
    for (uint64_t n = 1; n <= 500; ++n) {
      const std::vector<Entry> batch = {ringbuf::sample_hold(n), ringbuf::sample_usage(n)};
      if (!store_->append(batch)) ++failures;
    }
  });
  for (int64_t i = 1; i <= 20; ++i) {
    const auto added = journal_->add(sample_reset(kNow + i));
    EXPECT_TRUE(added) << added.error().text;
    const auto anchor = journal_->anchored("boot-" + std::to_string(i), i, kNow);
    EXPECT_TRUE(anchor) << anchor.error().text;
  }
  ledger.join();
  EXPECT_EQ(failures, 0u);
  EXPECT_EQ(found(0).size(), 20u);
}

// However long the write has been at it when the transaction ends: it is never done before.
TEST_F(InJournal, AWriteWaitsForAnOpenTransaction) {
  auto holder = Database::open(folder_.path() + "/ledger.sqlite", SQLITE_OPEN_READWRITE);
  ASSERT_TRUE(holder->execute("BEGIN IMMEDIATE"));
  std::atomic<bool> done{false};
  bool added = false;
  std::thread journal([&] {
    added = journal_->add(sample_reset(kNow)).has_value();
    done = true;
  });
  for (int i = 0; i < 1000; ++i)
    std::this_thread::yield();
  EXPECT_FALSE(done);
  ASSERT_TRUE(holder->execute("COMMIT"));
  journal.join();
  EXPECT_TRUE(added);
  EXPECT_EQ(found(0).size(), 1u);
}

}  // namespace
}  // namespace tollgate::ledger
