#include "userspace/ledger/writer.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <condition_variable>

#include "tests/unit/ledger/scratch_folder.h"
#include "tests/unit/ringbuf/sample.h"

namespace tollgate::ledger {
namespace {

using ringbuf::Record;
using ringbuf::sample_hold;
using ringbuf::sample_usage;
using ringbuf::UsageRecord;
using std::chrono::milliseconds;

constexpr int kPatienceMs = 20'000;  // how long a test waits for what must happen

// The disk: keeps what it is given, and can be told to fail or to stand still.
struct Disk {
  std::mutex mutex;
  std::condition_variable changed;
  bool failing = false;
  bool held = false;
  size_t attempts = 0;
  std::vector<std::vector<Entry>> batches;

  void set(bool Disk::*flag, bool value) {
    const std::lock_guard lock(mutex);
    this->*flag = value;
    changed.notify_all();
  }
  void await_attempts(size_t at_least) {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(
        changed.wait_for(lock, milliseconds(kPatienceMs), [&] { return attempts >= at_least; }));
  }
  size_t stored() {
    const std::lock_guard lock(mutex);
    size_t records = 0;
    for (const auto& batch : batches)
      records += batch.size();
    return records;
  }
};

class DiskStore : public Store {
 public:
  explicit DiskStore(Disk& disk) : disk_(disk) {}
  Status append(std::span<const Entry> entries) override {
    std::unique_lock lock(disk_.mutex);
    ++disk_.attempts;
    disk_.changed.notify_all();
    disk_.changed.wait(lock, [&] { return !disk_.held; });
    if (disk_.failing) return Error{Fault::system, ENOSPC, "commit: disk full", "free space"};
    disk_.batches.emplace_back(entries.begin(), entries.end());
    return {};
  }
  Result<std::vector<ringbuf::HoldRecord>> open_holds() override {
    return std::vector<ringbuf::HoldRecord>();
  }

 private:
  Disk& disk_;
};

struct TestLane {
  TestLane()
      : notify(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        lane(std::move(*ringbuf::SpscRing::make(1 << 18)), notify.get()) {}

  bool push(const Record& record) {
    std::vector<std::byte> bytes;
    ringbuf::encode(record, bytes);
    return lane.ring.push(bytes);
  }
  bool push(uint64_t sequence) { return push(Record{sequence, sample_usage(sequence)}); }
  void await(uint64_t sequence) {
    while (lane.durable_sequence.load(std::memory_order_acquire) < sequence) {
      pollfd polled{notify.get(), POLLIN, 0};
      ASSERT_EQ(::poll(&polled, 1, kPatienceMs), 1) << "not told about " << sequence;
      uint64_t count = 0;
      ASSERT_EQ(::read(notify.get(), &count, sizeof count), 8);
    }
  }
  bool told() {
    pollfd polled{notify.get(), POLLIN, 0};
    return ::poll(&polled, 1, 0) == 1;
  }

  UniqueFd notify;
  Lane lane;
};

class LedgerWriter : public testing::Test {
 protected:
  std::unique_ptr<Writer> make(Writer::Options options = {}, Writer::Observer observer = {}) {
    return std::make_unique<Writer>(std::make_unique<DiskStore>(disk_),
                                    std::vector<Lane*>{&a_.lane, &b_.lane}, options,
                                    std::move(observer));
  }

  Disk disk_;
  TestLane a_;
  TestLane b_;
};

TEST_F(LedgerWriter, CommitsThenTellsOnlyTheLaneThatMoved) {
  auto writer = make();
  writer->start();
  ASSERT_TRUE(a_.push(1));
  a_.await(1);
  ASSERT_TRUE(a_.push(2));
  a_.await(2);
  EXPECT_EQ(disk_.stored(), 2u);
  EXPECT_EQ(b_.lane.durable_sequence, 0u);
  EXPECT_FALSE(b_.told());
  EXPECT_TRUE(writer->stop(milliseconds(0)));
  EXPECT_EQ(writer->counters().committed, 2u);
  EXPECT_TRUE(writer->healthy());
  EXPECT_EQ(writer->last_error(), "");
}

TEST_F(LedgerWriter, NothingIsDurableBeforeTheCommitReturns) {
  disk_.held = true;
  auto writer = make();
  writer->start();
  ASSERT_TRUE(a_.push(1));
  disk_.await_attempts(1);
  EXPECT_EQ(a_.lane.durable_sequence, 0u);
  EXPECT_FALSE(a_.told());
  EXPECT_EQ(writer->pending(), 1u);
  disk_.set(&Disk::held, false);
  a_.await(1);
}

TEST_F(LedgerWriter, WhatGathersDuringACommitIsTheNextBatch) {
  disk_.held = true;
  auto writer = make({.batch_records_max = 8, .retry = milliseconds(1)});
  writer->start();
  ASSERT_TRUE(a_.push(1));
  disk_.await_attempts(1);
  for (uint64_t n = 2; n <= 12; ++n)
    ASSERT_TRUE(a_.push(n));
  disk_.set(&Disk::held, false);
  a_.await(12);
  EXPECT_TRUE(writer->stop(milliseconds(0)));
  ASSERT_EQ(disk_.batches.size(), 3u);
  EXPECT_EQ(disk_.batches[0].size(), 1u);
  EXPECT_EQ(disk_.batches[1].size(), 8u) << "no more than the bound";
  EXPECT_EQ(disk_.batches[2].size(), 3u);
}

TEST_F(LedgerWriter, ABusyLaneDoesNotHoldUpAnother) {
  for (uint64_t n = 1; n <= 100; ++n)
    ASSERT_TRUE(a_.push(n));
  ASSERT_TRUE(b_.push(1));
  auto writer = make({.batch_records_max = 4, .retry = milliseconds(1)});
  writer->start();
  b_.await(1);
  a_.await(100);
  EXPECT_TRUE(writer->stop(milliseconds(0)));
  const auto& first = disk_.batches.front();
  EXPECT_EQ(std::count(first.begin(), first.end(), Entry(sample_usage(1))), 2)
      << "one of each lane";
}

TEST_F(LedgerWriter, AFailingStoreStopsHealthAndLosesNothing) {
  disk_.failing = true;
  auto writer = make({.batch_records_max = 4, .retry = milliseconds(1)});
  writer->start();
  for (uint64_t n = 1; n <= 10; ++n)
    ASSERT_TRUE(a_.push(n));
  disk_.await_attempts(3);
  EXPECT_FALSE(writer->healthy());
  EXPECT_NE(writer->last_error().find("disk full; free space"), std::string::npos)
      << writer->last_error();
  EXPECT_GE(writer->counters().store_errors, 2u);
  EXPECT_FALSE(a_.told());
  EXPECT_EQ(a_.lane.durable_sequence, 0u);
  EXPECT_GE(writer->pending(), 1u);

  disk_.set(&Disk::failing, false);
  a_.await(10);
  EXPECT_TRUE(writer->stop(milliseconds(0)));
  EXPECT_TRUE(writer->healthy());
  EXPECT_EQ(writer->last_error(), "");
  std::vector<Entry> stored;
  for (const auto& batch : disk_.batches)
    stored.insert(stored.end(), batch.begin(), batch.end());
  ASSERT_EQ(stored.size(), 10u);
  for (uint64_t n = 1; n <= 10; ++n)
    EXPECT_EQ(stored[n - 1], Entry(sample_usage(n)));
}

TEST_F(LedgerWriter, StopDrainsWhatIsInTheRings) {
  disk_.held = true;
  auto writer = make({.batch_records_max = 16, .retry = milliseconds(1)});
  writer->start();
  ASSERT_TRUE(a_.push(1));
  disk_.await_attempts(1);
  for (uint64_t n = 2; n <= 100; ++n)
    ASSERT_TRUE(a_.push(n));
  for (uint64_t n = 1; n <= 100; ++n)
    ASSERT_TRUE(b_.push(n));
  disk_.set(&Disk::held, false);
  EXPECT_TRUE(writer->stop(milliseconds(0)));
  EXPECT_EQ(disk_.stored(), 200u);
  EXPECT_EQ(a_.lane.durable_sequence, 100u);
  EXPECT_EQ(b_.lane.durable_sequence, 100u);
  EXPECT_TRUE(writer->stop(milliseconds(0))) << "again";
}

TEST_F(LedgerWriter, StopTellsHowMuchTheStoreNeverTook) {
  disk_.failing = true;
  auto writer = make({.batch_records_max = 4, .retry = milliseconds(60'000)});
  writer->start();
  for (uint64_t n = 1; n <= 10; ++n)
    ASSERT_TRUE(a_.push(n));
  EXPECT_FALSE(writer->stop(milliseconds(5)));
  EXPECT_EQ(writer->pending(), 10u);
  EXPECT_FALSE(writer->stop(milliseconds(5))) << "again";
  EXPECT_EQ(a_.lane.durable_sequence, 0u);
}

TEST_F(LedgerWriter, StopTriesOnceMoreWithoutPatience) {
  disk_.failing = true;
  auto writer = make({.batch_records_max = 4, .retry = milliseconds(60'000)});
  writer->start();
  ASSERT_TRUE(a_.push(1));
  disk_.await_attempts(1);
  disk_.set(&Disk::failing, false);
  EXPECT_TRUE(writer->stop(milliseconds(0)));
  EXPECT_EQ(disk_.stored(), 1u);
}

TEST_F(LedgerWriter, ObserverSeesRecordsAfterTheirCommit) {
  std::vector<UsageRecord> seen;
  size_t stored_at_first = 0;
  auto writer = make({}, [&](const UsageRecord& record) {
    if (seen.empty()) stored_at_first = disk_.stored();
    seen.push_back(record);
  });
  for (uint64_t n = 1; n <= 3; ++n)
    ASSERT_TRUE(a_.push(n));
  writer->start();
  EXPECT_TRUE(writer->stop(milliseconds(0)));
  EXPECT_EQ(seen, (std::vector{sample_usage(1), sample_usage(2), sample_usage(3)}));
  EXPECT_EQ(stored_at_first, 3u);
}

TEST_F(LedgerWriter, AHoldIsDurableAsUsageIsAndObservedByNone) {
  std::vector<UsageRecord> seen;
  auto writer = make({}, [&](const UsageRecord& record) { seen.push_back(record); });
  writer->start();
  ASSERT_TRUE(a_.push(Record{1, sample_hold(7)}));
  a_.await(1);
  ASSERT_TRUE(a_.push(Record{2, sample_usage(7)}));
  a_.await(2);
  EXPECT_TRUE(writer->stop(milliseconds(0)));
  ASSERT_EQ(disk_.batches.size(), 2u);
  EXPECT_EQ(disk_.batches[0], std::vector<Entry>{sample_hold(7)});
  EXPECT_EQ(disk_.batches[1], std::vector<Entry>{sample_usage(7)});
  EXPECT_EQ(seen, std::vector{sample_usage(7)});
  EXPECT_EQ(writer->counters().committed, 1u) << "usage records";
  EXPECT_TRUE(writer->healthy());
}

TEST_F(LedgerWriter, ARefusedRequestIsARecordLikeAnyOther) {
  UsageRecord refused = sample_usage(1);
  refused.outcome = ringbuf::Outcome::refused;
  refused.refusal_code = "model_denied";
  auto writer = make();
  writer->start();
  ASSERT_TRUE(a_.push(Record{1, refused}));
  a_.await(1);
  EXPECT_EQ(disk_.batches.at(0).at(0), Entry(refused));
}

// Each way in which a lane can be wrong: the good records around it are stored, the lane's mark
// stands before the fault, the other lane goes on, and health does not come back.
TEST_F(LedgerWriter, AWrongLaneIsHeldAndNothingIsAcknowledged) {
  const auto bytes_of = [](const Record& record) {
    std::vector<std::byte> bytes;
    ringbuf::encode(record, bytes);
    return bytes;
  };
  const std::vector<std::byte> garbage(10, std::byte{0x5a});
  const struct {
    const char* what;
    std::vector<std::byte> wrong;
    uint64_t next;
    uint64_t undecodable;
    uint64_t gaps;
    size_t stored;
  } rows[] = {
      {"garbage", garbage, 3, 1, 0, 3},
      {"a flow record", bytes_of({2, ringbuf::sample_flow()}), 3, 1, 0, 3},
      {"a gap", bytes_of({3, sample_usage(3)}), 4, 0, 1, 4},
      {"a sequence again", bytes_of({1, sample_usage(1)}), 2, 0, 1, 4},
  };
  for (const auto& row : rows) {
    Disk disk;
    TestLane lane;
    TestLane other;
    Writer writer(std::make_unique<DiskStore>(disk), {&lane.lane, &other.lane}, {}, {});
    ASSERT_TRUE(lane.push(1));
    writer.start();
    lane.await(1);
    ASSERT_TRUE(lane.lane.ring.push(row.wrong));
    ASSERT_TRUE(lane.push(row.next));
    ASSERT_TRUE(other.push(1));
    other.await(1);
    EXPECT_TRUE(writer.stop(milliseconds(0)));
    EXPECT_EQ(lane.lane.durable_sequence, 1u) << row.what;
    EXPECT_FALSE(writer.healthy()) << row.what;
    EXPECT_NE(writer.last_error().find("worker 0"), std::string::npos) << writer.last_error();
    EXPECT_EQ(writer.counters().undecodable, row.undecodable) << row.what;
    EXPECT_EQ(writer.counters().sequence_gaps, row.gaps) << row.what;
    EXPECT_EQ(disk.stored(), row.stored) << row.what;
  }
}

TEST_F(LedgerWriter, CorruptRingMemoryIsCountedOnceAndDoesNotSpin) {
  auto writer = make();
  ASSERT_TRUE(a_.push(1));
  const uint64_t tail = UINT64_MAX - 7;
  ASSERT_EQ(::pwrite(a_.lane.ring.memory_fd(), &tail, sizeof tail, 0), 8);
  writer->start();
  ASSERT_TRUE(b_.push(1));
  b_.await(1);
  EXPECT_TRUE(writer->stop(milliseconds(0)));
  EXPECT_EQ(writer->counters().undecodable, 1u);
  EXPECT_FALSE(writer->healthy());
}

TEST_F(LedgerWriter, NeverStartedStopsAtOnce) {
  EXPECT_TRUE(make()->stop(milliseconds(0)));
}

// The whole way, against SQLite, with producers that wait for their own record as workers do.
TEST(LedgerWriterWithSqlite, EveryAcknowledgedRecordIsThereAtOnce) {
  constexpr uint64_t kRecords = 300;
  const ScratchFolder folder;
  TestLane lanes[3];
  Writer writer(std::move(*open_sqlite_store(folder.path())),
                {&lanes[0].lane, &lanes[1].lane, &lanes[2].lane}, {}, {});
  writer.start();
  std::vector<std::thread> workers;
  for (uint64_t w = 0; w < 3; ++w) {
    workers.emplace_back([&, w] {
      for (uint64_t n = 1; n <= kRecords; ++n) {
        UsageRecord usage = sample_usage(n);
        usage.id.low = w;
        ASSERT_TRUE(lanes[w].push(Record{n, usage}));
        if (n % 7 == w) lanes[w].await(n);
      }
      lanes[w].await(kRecords);
    });
  }
  for (auto& worker : workers)
    worker.join();
  auto reader = open_sqlite_reader(folder.path());
  ASSERT_TRUE(reader);
  auto rows = (*reader)->usage(GroupBy::user, {});
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->at(0).requests, 3 * kRecords);
  EXPECT_TRUE(writer.stop(milliseconds(0)));
  EXPECT_EQ(writer.counters().committed, 3 * kRecords);
}

}  // namespace
}  // namespace tollgate::ledger
