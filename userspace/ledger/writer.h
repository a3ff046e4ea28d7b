// The ledger thread: drains the workers' rings, commits each batch in one transaction, then tells
// every worker how far its own entries are durable. A failing store loses nothing: the batch is
// kept and tried again, `healthy()` turns false (admission stops), and turns true by itself.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ringbuf/record.h"
#include "ringbuf/spsc.h"
#include "userspace/ledger/store.h"

namespace tollgate::ledger {

// One worker's way to the ledger. The worker pushes encoded records (ringbuf::encode) with
// sequences 1, 2, 3, … and may let a response end once durable_sequence() has reached its own.
struct Lane {
  ringbuf::SpscRing ring;
  std::atomic<uint64_t> durable_sequence{0};
  int notify_fd = -1;  // eventfd of the worker's loop, written after durable_sequence moved
};

class Writer {
 public:
  struct Options {
    size_t batch_records_max = 512;
    std::chrono::milliseconds retry{250};  // after a store error
  };
  struct Counters {
    std::atomic<uint64_t> committed{0};
    std::atomic<uint64_t> batches{0};
    std::atomic<uint64_t> store_errors{0};
    std::atomic<uint64_t> undecodable{0};    // must stay 0
    std::atomic<uint64_t> sequence_gaps{0};  // must stay 0
  };
  // Called on the ledger thread after the commit, for `tail`. Must not block.
  using Observer = std::function<void(const ringbuf::UsageRecord&)>;

  Writer(std::unique_ptr<Store> store, std::vector<Lane*> lanes, Options options,
         Observer observer);
  ~Writer();  // stop(), if still running

  void start();
  // Drains what is in the rings, commits it, ends the thread. Producers must have stopped.
  // False when the store failed to the end: what was left is logged by the caller with pending().
  bool stop(std::chrono::milliseconds patience);

  bool healthy() const { return healthy_.load(std::memory_order_acquire); }
  std::string last_error() const;
  size_t pending() const { return pending_.load(); }
  const Counters& counters() const { return counters_; }

 private:
  // the implementation's
  std::atomic<bool> healthy_{true};
  std::atomic<size_t> pending_{0};
  Counters counters_;
};

}  // namespace tollgate::ledger
