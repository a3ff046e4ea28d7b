// One worker's way to the ledger: the ring out, the durable mark back. The worker pushes encoded
// records (record.h) with sequences 1, 2, 3, …; it may let a response end once durable_sequence
// has reached the record's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "ringbuf/spsc.h"

namespace tollgate::ringbuf {

struct Lane {
  explicit Lane(SpscRing made) : ring(std::move(made)) {}
  SpscRing ring;
  std::atomic<uint64_t> durable_sequence{0};
  int notify_fd = -1;  // eventfd of the worker, written after durable_sequence moved
};

}  // namespace tollgate::ringbuf
