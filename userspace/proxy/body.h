// Request bodies in memory, under one bound for all workers.
//
// A body with a declared length has all of it taken from the bound before its first byte is read,
// and waits in line for it, holding nothing: so whoever began can finish, and nobody is refused
// because many came at once. What is taken is not resident before it arrives. The price is that a
// client which declares and does not send keeps others waiting; the sweep ends those (upkeep.cc).
// A chunked body is of unknown length: it takes as it grows, and is refused when there is no more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <span>
#include <utility>

namespace tollgate::proxy {

class BodyMemory {
 public:
  explicit BodyMemory(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  BodyMemory(const BodyMemory&) = delete;

  // A place in the line, first come first served. All of it from any thread.
  class Place {
   public:
    // Where the memory is there, and nobody waits, it is granted at once. Else `wake` is called
    // when it is granted, on the thread that gave memory back and under the lock: it may only post.
    Place(BodyMemory& memory, uint64_t bytes, std::function<void()> wake);
    ~Place();  // leaves the line; what was granted and not claimed goes back
    Place(const Place&) = delete;
    bool granted() const;
    uint64_t claim();  // so many bytes are the caller's now, to give back

   private:
    friend class BodyMemory;
    BodyMemory& memory_;
    const uint64_t bytes_;
    const std::function<void()> wake_;
    bool granted_ = false;
    bool claimed_ = false;
  };

  // Now or not at all, past the line: for those who hold memory already and end the sooner.
  [[nodiscard]] bool take(uint64_t bytes);
  void give_back(uint64_t bytes);
  uint64_t in_use() const;
  bool has_line() const;
  uint64_t bytes_max() const { return bytes_max_; }

 private:
  bool take_locked(uint64_t bytes);
  void serve_locked();

  const uint64_t bytes_max_;
  mutable std::mutex mutex_;
  uint64_t in_use_ = 0;
  std::deque<Place*> line_;
};

// Contiguous and padded, as the inspector needs it.
class Body {
 public:
  explicit Body(BodyMemory& memory) : memory_(&memory) {}
  ~Body() { release(); }
  Body(Body&& other) noexcept
      : memory_(other.memory_),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Body& operator=(Body&& other) noexcept;

  // Room for this many bytes, already taken from the memory; of an empty body. False, and they are
  // given back, when the system has none.
  [[nodiscard]] bool adopt(uint64_t bytes);
  // `expected` is the length it will have, or 0; it bounds growth. False when the memory bound is
  // reached: nothing was appended.
  [[nodiscard]] bool append(std::span<const std::byte> bytes, uint64_t expected);
  // Other bytes instead of these; a little more than before always fits. False: as append().
  [[nodiscard]] bool assign(std::span<const std::byte> bytes);
  void shrink();  // gives back what it does not fill
  void release();

  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  // Followed by codec::kJsonPaddingBytes readable bytes.
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  bool resize_room(size_t capacity);
  void put(size_t at, std::span<const std::byte> bytes);

  BodyMemory* memory_;
  std::byte* data_ = nullptr;  // realloc'd: a large block moves by page tables, not by copying
  size_t size_ = 0;
  size_t capacity_ = 0;  // as counted; the block is kRoomBytes larger
};

}  // namespace tollgate::proxy
