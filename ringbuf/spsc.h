// Single-producer single-consumer byte ring in shared memory (a sealed memfd): worker → ledger.
// Entries are length-prefixed and contiguous. The consumer may be another thread or, with the fd,
// another process; head and tail live in the mapping. Wake-ups go by an eventfd, written only when
// the consumer said that it sleeps.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace tollgate::ringbuf {

class SpscRing {
 public:
  // capacity: power of two, at least 64 KiB.
  static Result<SpscRing> make(size_t capacity_bytes);
  SpscRing(SpscRing&&) noexcept;
  SpscRing& operator=(SpscRing&&) noexcept;
  ~SpscRing();

  // Producer. False when there is no room: the caller must keep the entry and try again, never
  // drop it.
  [[nodiscard]] bool push(std::span<const std::byte> entry);

  // Consumer. Empty span: nothing there. The span is valid until pop().
  std::span<const std::byte> front() const;
  void pop();
  // Says "about to sleep"; false when something arrived meanwhile, so do not.
  bool prepare_sleep();
  int wake_fd() const;  // readable when the producer pushed while we slept; read it to clear
  int memory_fd() const;

 private:
  SpscRing() = default;
  // the implementation's
};

}  // namespace tollgate::ringbuf
