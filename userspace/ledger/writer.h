// The ledger thread: drains the workers' rings, commits each batch in one transaction, then tells
// every worker how far its own entries are durable. A failing store loses nothing: the batch is
// kept and tried again, `healthy()` turns false (admission stops), and turns true by itself.
//
// A lane that brings what cannot be right (an entry that does not decode, a flow record, a gap in
// the sequence, corrupt memory) has lost a record. That is our bug and no retry mends it: whatever
// else can be read is still committed, but the lane's durable_sequence stands still from there on,
// so no response ends without its record, and `healthy()` stays false until the restart.
#pragma once

#include <poll.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "ringbuf/lane.h"
#include "ringbuf/record.h"
#include "userspace/base/fd.h"
#include "userspace/ledger/store.h"

namespace tollgate::ledger {

using ringbuf::Lane;

class Writer {
 public:
  struct Options {
    size_t batch_records_max = 512;
    std::chrono::milliseconds retry{250};  // after a store error
    // On average at least this long from one commit to the next, so that a busy second costs at
    // most 500 disk flushes; so many may come ahead of their time after a quieter moment.
    std::chrono::microseconds commit_spacing{2000};
    int64_t commit_burst = 8;
  };
  struct Counters {
    std::atomic<uint64_t> committed{0};  // usage records; holds are not counted
    std::atomic<uint64_t> batches{0};
    std::atomic<uint64_t> store_errors{0};
    std::atomic<uint64_t> undecodable{0};    // must stay 0; a flow record counts here too
    std::atomic<uint64_t> sequence_gaps{0};  // must stay 0
  };
  // Called on the ledger thread after the commit, for `tail`: usage, no holds. Must not block.
  using Observer = std::function<void(const ringbuf::UsageRecord&)>;

  Writer(std::unique_ptr<Store> store, std::vector<Lane*> lanes, Options options,
         Observer observer);
  ~Writer();  // stop(), if still running

  void start();
  // Drains what is in the rings, commits it, ends the thread. Producers must have stopped.
  // Tries at least once, and a failing store until `patience` is over. False when the store failed
  // to the end: what was left is logged by the caller with pending(). Again: the same answer.
  bool stop(std::chrono::milliseconds patience);

  bool healthy() const { return healthy_.load(std::memory_order_acquire); }
  // Why healthy() is false, with what to do about it; empty while it is true.
  std::string last_error() const;
  size_t pending() const { return pending_.load(); }
  const Counters& counters() const { return counters_; }

 private:
  // A lane as this thread sees it.
  struct Intake {
    Lane* lane = nullptr;
    uint64_t next_sequence = 1;
    uint64_t taken = 0;  // highest sequence in the batch, 0: none
    bool broken = false;
  };

  void run();
  void collect();
  bool take_one(Intake& intake);
  void break_lane(Intake& intake, std::atomic<uint64_t>& counter, const std::string& why);
  bool commit();
  void publish();
  void sleep();
  void wait_for_company();
  void wait_for_retry();
  bool out_of_patience() const;
  size_t count_unread();
  void refresh_health();

  const std::unique_ptr<Store> store_;
  std::vector<Intake> intakes_;
  const Options options_;
  const Observer observer_;
  UniqueFd control_;  // eventfd: stop() writes it
  std::thread thread_;

  // The ledger thread's own.
  std::vector<Entry> batch_;
  std::vector<pollfd> polled_;
  size_t first_intake_ = 0;  // turns, so that no lane is always last
  std::string store_error_;
  std::string broken_lane_;

  std::atomic<bool> healthy_{true};
  std::atomic<size_t> pending_{0};
  std::atomic<bool> stopping_{false};
  int64_t next_commit_ns_ = 0;  // when the next is due, were there no bursts
  std::atomic<int64_t> stop_deadline_ns_{0};
  Counters counters_;
  mutable std::mutex error_mutex_;
  std::string last_error_;
};

}  // namespace tollgate::ledger
