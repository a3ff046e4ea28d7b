#include "userspace/proxy/body.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "userspace/base/result.h"
#include "userspace/codec/responses.h"

namespace tollgate::proxy {
namespace {

constexpr size_t kFirstBytes = 16 * 1024;
// Behind what is counted: the padding, and the fields that policy writes into a body, so that one
// which was admitted does not ask for memory again.
constexpr size_t kRoomBytes = 1024;
static_assert(kRoomBytes > codec::kJsonPaddingBytes);

}  // namespace

bool BodyMemory::take(uint64_t bytes) {
  const std::scoped_lock lock(mutex_);
  return take_locked(bytes);
}

void BodyMemory::give_back(uint64_t bytes) {
  if (bytes == 0) return;
  const std::scoped_lock lock(mutex_);
  in_use_ -= bytes;
  serve_locked();
}

uint64_t BodyMemory::in_use() const {
  const std::scoped_lock lock(mutex_);
  return in_use_;
}

bool BodyMemory::has_line() const {
  const std::scoped_lock lock(mutex_);
  return !line_.empty();
}

bool BodyMemory::take_locked(uint64_t bytes) {
  if (bytes > bytes_max_ || in_use_ > bytes_max_ - bytes) return false;
  in_use_ += bytes;
  return true;
}

void BodyMemory::serve_locked() {
  while (!line_.empty() && take_locked(line_.front()->bytes_)) {
    line_.front()->granted_ = true;
    line_.front()->wake_();
    line_.pop_front();
  }
}

BodyMemory::Place::Place(BodyMemory& memory, uint64_t bytes, std::function<void()> wake)
    : memory_(memory), bytes_(bytes), wake_(std::move(wake)) {
  const std::scoped_lock lock(memory_.mutex_);
  granted_ = memory_.line_.empty() && memory_.take_locked(bytes_);
  if (!granted_) memory_.line_.push_back(this);
}

BodyMemory::Place::~Place() {
  const std::scoped_lock lock(memory_.mutex_);
  if (claimed_) return;
  if (granted_) {
    memory_.in_use_ -= bytes_;
  } else {
    std::erase(memory_.line_, this);
  }
  memory_.serve_locked();  // who stood behind a large one may fit
}

bool BodyMemory::Place::granted() const {
  const std::scoped_lock lock(memory_.mutex_);
  return granted_;
}

uint64_t BodyMemory::Place::claim() {
  const std::scoped_lock lock(memory_.mutex_);
  TG_ASSERT(granted_ && !claimed_);
  claimed_ = true;
  return bytes_;
}

Body& Body::operator=(Body&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
  other.release();
  return *this;
}

bool Body::adopt(uint64_t bytes) {
  TG_ASSERT(data_ == nullptr);
  if (bytes == 0) return true;
  data_ = static_cast<std::byte*>(std::malloc(bytes + kRoomBytes));
  if (data_ == nullptr) {
    memory_->give_back(bytes);
    return false;
  }
  capacity_ = bytes;
  return true;
}

bool Body::append(std::span<const std::byte> bytes, uint64_t expected) {
  if (bytes.empty()) return true;
  const size_t needed = size_ + bytes.size();
  if (needed > capacity_) {
    size_t wanted = std::max({needed, capacity_ * 2, kFirstBytes});
    // The expected length is where growth stops, so that the last doubling wastes nothing.
    if (expected != 0) wanted = std::max(needed, std::min<size_t>(wanted, expected));
    if (!resize_room(wanted)) return false;
  }
  put(size_, bytes);
  return true;
}

bool Body::assign(std::span<const std::byte> bytes) {
  const bool fits =
      data_ != nullptr && bytes.size() + codec::kJsonPaddingBytes <= capacity_ + kRoomBytes;
  if (!fits && !resize_room(bytes.size())) return false;
  put(0, bytes);
  return true;
}

void Body::put(size_t at, std::span<const std::byte> bytes) {
  if (!bytes.empty()) std::memcpy(data_ + at, bytes.data(), bytes.size());
  size_ = at + bytes.size();
  std::memset(data_ + size_, 0, codec::kJsonPaddingBytes);
}

bool Body::resize_room(size_t capacity) {
  if (capacity > capacity_ && !memory_->take(capacity - capacity_)) return false;
  void* moved = std::realloc(data_, capacity + kRoomBytes);
  if (moved == nullptr) {
    if (capacity > capacity_) memory_->give_back(capacity - capacity_);
    return false;
  }
  data_ = static_cast<std::byte*>(moved);
  if (capacity < capacity_) memory_->give_back(capacity_ - capacity);
  capacity_ = capacity;
  return true;
}

void Body::shrink() {
  if (size_ < capacity_) static_cast<void>(resize_room(size_));
}

void Body::release() {
  std::free(data_);
  memory_->give_back(capacity_);
  data_ = nullptr;
  size_ = capacity_ = 0;
}

}  // namespace tollgate::proxy
