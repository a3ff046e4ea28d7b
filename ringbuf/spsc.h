// Single-producer single-consumer byte ring in shared memory (a sealed memfd): worker → ledger.
// Entries are length-prefixed and contiguous. The consumer may be another thread or, with the fds,
// another process; head and tail live in the mapping. Wake-ups go by an eventfd, written only when
// the consumer said that it sleeps:
//
//   loop: while (!(e = front()).empty()) { use e; pop(); }
//         if (!prepare_sleep()) continue;
//         poll(wake_fd); finish_sleep(); read wake_fd if it was readable
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace tollgate::ringbuf {

class SpscRing {
 public:
  static constexpr size_t kCapacityMin = 64 * 1024;

  // capacity: power of two, at least kCapacityMin.
  static Result<SpscRing> make(size_t capacity_bytes);
  // The consumer's side in another process, from memory_fd() and wake_fd() of the ring made there.
  // Refuses memory that is not sealed: the producer could shrink it under our reads.
  static Result<SpscRing> attach(UniqueFd memory, UniqueFd wake);
  SpscRing(SpscRing&&) noexcept;
  SpscRing& operator=(SpscRing&&) noexcept;
  ~SpscRing();

  // Producer. False when there is no room: the caller must keep the entry and try again, never
  // drop it. An entry is 1 to entry_bytes_max() bytes; that bound is what an empty ring can always
  // take, wherever its head stands.
  [[nodiscard]] bool push(std::span<const std::byte> entry);
  size_t entry_bytes_max() const;

  // Consumer. Empty span: nothing there. The span is valid until pop().
  std::span<const std::byte> front() const;
  void pop();
  // True once the memory made no sense (an impossible length or position): nothing more is read.
  bool corrupt() const { return consumer_.corrupt; }
  // Says "about to sleep"; false when something arrived meanwhile, so do not.
  bool prepare_sleep();
  // Says "awake again", whatever the reason. Left out, it costs the producer a needless write.
  void finish_sleep();
  int wake_fd() const { return wake_.get(); }  // readable when the producer pushed while we slept
  int memory_fd() const { return memory_.get(); }

 private:
  struct Control;
  struct Unmap {
    size_t bytes;  // an initializer here would need the complete SpscRing
    void operator()(Control* control) const;
  };
  // What each side believes is its own; the mapping only publishes it. So neither side can be sent
  // out of bounds by the other. A cache line each, as they are written by different threads.
  struct alignas(64) Producer {
    uint64_t tail = 0;
    uint64_t head_seen = 0;
  };
  struct alignas(64) Consumer {
    uint64_t head = 0;
    uint64_t tail_seen = 0;
    uint64_t front_bytes = 0;  // of the entry that front() showed, length and padding included
    bool corrupt = false;
  };

  SpscRing() = default;
  static Result<SpscRing> map(UniqueFd memory, UniqueFd wake, size_t capacity_bytes);
  std::byte* data() const;
  bool has_room(uint64_t bytes);
  void wake();

  UniqueFd memory_;
  UniqueFd wake_;
  std::unique_ptr<Control, Unmap> control_;
  size_t capacity_ = 0;
  Producer producer_;
  mutable Consumer consumer_;  // front() looks, and remembers what it saw
};

}  // namespace tollgate::ringbuf
