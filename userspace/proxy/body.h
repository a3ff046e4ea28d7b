// A request body in memory: contiguous and padded, as the inspector needs it; grown while bytes
// arrive, so that a declared length reserves nothing; counted against one bound for all workers.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

namespace tollgate::proxy {

class BodyMemory {
 public:
  explicit BodyMemory(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  [[nodiscard]] bool take(uint64_t bytes);
  void give_back(uint64_t bytes) { in_use_.fetch_sub(bytes, std::memory_order_relaxed); }
  uint64_t in_use() const { return in_use_.load(std::memory_order_relaxed); }

 private:
  const uint64_t bytes_max_;
  std::atomic<uint64_t> in_use_{0};
};

class Body {
 public:
  explicit Body(BodyMemory& memory) : memory_(memory) {}
  ~Body() { release(); }
  Body(Body&& other) noexcept
      : memory_(other.memory_),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}

  // `expected` is the declared length or 0; it bounds growth, it is not reserved. False when the
  // memory bound is reached: nothing was appended.
  [[nodiscard]] bool append(std::span<const std::byte> bytes, uint64_t expected);
  void release();

  size_t size() const { return size_; }
  // Followed by codec::kJsonPaddingBytes readable bytes.
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  BodyMemory& memory_;
  std::byte* data_ = nullptr;  // realloc'd: a large block moves by page tables, not by copying
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace tollgate::proxy
