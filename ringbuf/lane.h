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
  Lane(SpscRing made, int notify) : ring(std::move(made)), notify_fd(notify) {}
  SpscRing ring;
  std::atomic<uint64_t> durable_sequence{0};
  const int notify_fd;  // eventfd of the worker, written after durable_sequence moved
};

}  // namespace tollgate::ringbuf
