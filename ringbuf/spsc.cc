// The mapping: one page of control words, then `capacity` bytes of entries.
//
//   | length u64 | bytes, padded to 8 | length | bytes | … | kSkip |
//
// Positions count bytes from the start of time and never wrap; an offset is the position modulo the
// capacity. Everything is a multiple of 8, so at least a length (or kSkip) fits before the end.
#include "ringbuf/spsc.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

namespace tollgate::ringbuf {
namespace {

constexpr size_t kControlBytes = 4096;
constexpr uint64_t kLengthBytes = sizeof(uint64_t);
// In place of a length: the next entry is at the start of the data.
constexpr uint64_t kSkip = std::numeric_limits<uint64_t>::max();
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;

uint64_t entry_bytes(uint64_t length) {
  return kLengthBytes + ((length + 7) & ~uint64_t{7});
}

bool fits_a_ring(size_t capacity) {
  return std::has_single_bit(capacity) && capacity >= SpscRing::kCapacityMin &&
         capacity <= std::numeric_limits<uint32_t>::max();
}

}  // namespace

// On separate cache lines: each is written by one side and read by the other.
struct SpscRing::Control {
  alignas(64) std::atomic<uint64_t> tail;
  alignas(64) std::atomic<uint64_t> head;
  alignas(64) std::atomic<uint32_t> sleeping;
};

void SpscRing::Unmap::operator()(Control* control) const {
  ::munmap(control, bytes);
}

SpscRing::SpscRing(SpscRing&&) noexcept = default;
SpscRing& SpscRing::operator=(SpscRing&&) noexcept = default;
SpscRing::~SpscRing() = default;

Result<SpscRing> SpscRing::make(size_t capacity_bytes) {
  if (!fits_a_ring(capacity_bytes)) {
    return Error{Fault::config, 0,
                 "make ring of " + std::to_string(capacity_bytes) + " bytes: not a ring size",
                 "take a power of two, at least " + std::to_string(kCapacityMin)};
  }
  UniqueFd memory(::memfd_create("tollgate-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return system_error(errno, "create memory for a ring");
  if (::ftruncate(memory.get(), static_cast<off_t>(kControlBytes + capacity_bytes)) != 0 ||
      ::fcntl(memory.get(), F_ADD_SEALS, kSeals | F_SEAL_SEAL) != 0) {
    return system_error(errno, "size and seal memory for a ring");
  }
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return system_error(errno, "create eventfd for a ring");
  return map(std::move(memory), std::move(wake), capacity_bytes);
}

Result<SpscRing> SpscRing::attach(UniqueFd memory, UniqueFd wake) {
  const int seals = ::fcntl(memory.get(), F_GET_SEALS);
  struct stat status {};
  if (seals < 0 || ::fstat(memory.get(), &status) != 0) {
    return system_error(errno, "attach to a ring");
  }
  const auto bytes = static_cast<size_t>(status.st_size);
  if ((seals & kSeals) != kSeals || bytes < kControlBytes || !fits_a_ring(bytes - kControlBytes)) {
    return Error{Fault::self, 0, "attach to a ring: memory unsealed or of the wrong size", {}};
  }
  auto ring = map(std::move(memory), std::move(wake), bytes - kControlBytes);
  if (ring) {
    Consumer& consumer = ring->consumer_;
    consumer.head = ring->control_->head.load(std::memory_order_acquire);
    consumer.tail_seen = consumer.head;
    consumer.corrupt = consumer.head % kLengthBytes != 0;
  }
  return ring;
}

Result<SpscRing> SpscRing::map(UniqueFd memory, UniqueFd wake, size_t capacity_bytes) {
  static_assert(sizeof(Control) <= kControlBytes);
  static_assert(std::atomic<uint64_t>::is_always_lock_free, "a lock would be one process's own");
  const size_t bytes = kControlBytes + capacity_bytes;
  void* address =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memory.get(), 0);
  if (address == MAP_FAILED) return system_error(errno, "map memory of a ring");
  SpscRing ring;
  ring.memory_ = std::move(memory);
  ring.wake_ = std::move(wake);
  // Fresh memfd pages are zero, which is what all three control words start as.
  ring.control_ = {static_cast<Control*>(address), Unmap{bytes}};
  ring.capacity_ = capacity_bytes;
  return ring;
}

std::byte* SpscRing::data() const {
  return reinterpret_cast<std::byte*>(control_.get()) + kControlBytes;
}

size_t SpscRing::entry_bytes_max() const {
  return capacity_ / 2 - kLengthBytes;
}

bool SpscRing::push(std::span<const std::byte> entry) {
  TG_ASSERT(!entry.empty() && entry.size() <= entry_bytes_max());
  const uint64_t length = entry.size();
  size_t offset = producer_.tail & (capacity_ - 1);
  const uint64_t to_end = capacity_ - offset;
  const uint64_t skipped = entry_bytes(length) > to_end ? to_end : 0;
  const uint64_t needed = skipped + entry_bytes(length);
  if (!has_room(needed)) return false;
  if (skipped != 0) {
    std::memcpy(data() + offset, &kSkip, kLengthBytes);
    offset = 0;
  }
  std::memcpy(data() + offset, &length, kLengthBytes);
  std::memcpy(data() + offset + kLengthBytes, entry.data(), entry.size());
  producer_.tail += needed;
  // Sequentially consistent against prepare_sleep(): we write tail, then read sleeping; it writes
  // sleeping, then reads tail. In any one order of the four, at least one side sees the other.
  control_->tail.store(producer_.tail, std::memory_order_seq_cst);
  if (control_->sleeping.load(std::memory_order_seq_cst) != 0) wake();
  return true;
}

bool SpscRing::has_room(uint64_t bytes) {
  if (producer_.tail - producer_.head_seen + bytes <= capacity_) return true;
  const uint64_t head = control_->head.load(std::memory_order_acquire);
  // A head that never was: treat the ring as full, so that nothing is written over.
  if (head < producer_.head_seen || head > producer_.tail) return false;
  producer_.head_seen = head;
  return producer_.tail - head + bytes <= capacity_;
}

// The exchange makes one of many pushes the one that writes.
void SpscRing::wake() {
  if (control_->sleeping.exchange(0, std::memory_order_seq_cst) == 0) return;
  const uint64_t one = 1;
  // Fails only with the counter full, and then the fd is readable anyway.
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

std::span<const std::byte> SpscRing::front() const {
  Consumer& c = consumer_;
  if (c.corrupt) return {};
  if (c.head == c.tail_seen) {
    c.tail_seen = control_->tail.load(std::memory_order_acquire);
    if (c.head == c.tail_seen) return {};
  }
  // The length is read once into our own memory, checked, and only then used.
  const auto refuse = [&]() -> std::span<const std::byte> {
    c.corrupt = true;
    return {};
  };
  if (c.tail_seen - c.head > capacity_ || c.tail_seen % kLengthBytes != 0) return refuse();
  size_t offset = c.head & (capacity_ - 1);
  uint64_t length = 0;
  std::memcpy(&length, data() + offset, kLengthBytes);
  if (length == kSkip) {
    // The skip and the entry after it were published together.
    const uint64_t to_end = capacity_ - offset;
    if (offset == 0 || to_end >= c.tail_seen - c.head) return refuse();
    c.head += to_end;
    offset = 0;
    std::memcpy(&length, data(), kLengthBytes);
  }
  if (length == 0 || length > capacity_ - offset - kLengthBytes ||
      entry_bytes(length) > c.tail_seen - c.head) {
    return refuse();
  }
  c.front_bytes = entry_bytes(length);
  return {data() + offset + kLengthBytes, static_cast<size_t>(length)};
}

void SpscRing::pop() {
  TG_ASSERT(consumer_.front_bytes != 0);
  consumer_.head += std::exchange(consumer_.front_bytes, 0);
  control_->head.store(consumer_.head, std::memory_order_release);
}

bool SpscRing::prepare_sleep() {
  control_->sleeping.store(1, std::memory_order_seq_cst);
  if (consumer_.corrupt) return true;
  if (control_->tail.load(std::memory_order_seq_cst) == consumer_.head) return true;
  finish_sleep();
  return false;
}

void SpscRing::finish_sleep() {
  control_->sleeping.store(0, std::memory_order_seq_cst);
}

}  // namespace tollgate::ringbuf
