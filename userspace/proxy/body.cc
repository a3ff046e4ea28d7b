#include "userspace/proxy/body.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "userspace/codec/responses.h"

namespace tollgate::proxy {
namespace {
constexpr size_t kFirstBytes = 16 * 1024;
}

bool BodyMemory::take(uint64_t bytes) {
  uint64_t now = in_use_.load(std::memory_order_relaxed);
  do {
    if (bytes > bytes_max_ || now > bytes_max_ - bytes) return false;
  } while (!in_use_.compare_exchange_weak(now, now + bytes, std::memory_order_relaxed));
  return true;
}

bool Body::append(std::span<const std::byte> bytes, uint64_t expected) {
  if (bytes.empty()) return true;
  const size_t needed = size_ + bytes.size() + codec::kJsonPaddingBytes;
  if (needed > capacity_) {
    size_t wanted = std::max({needed, capacity_ * 2, kFirstBytes});
    // The declared length is where growth stops, so that the last doubling wastes nothing.
    if (expected != 0) {
      wanted = std::max(needed, std::min<size_t>(wanted, expected + codec::kJsonPaddingBytes));
    }
    if (!memory_.take(wanted - capacity_)) return false;
    void* grown = std::realloc(data_, wanted);
    if (grown == nullptr) {
      memory_.give_back(wanted - capacity_);
      return false;
    }
    data_ = static_cast<std::byte*>(grown);
    capacity_ = wanted;
  }
  std::memcpy(data_ + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
  std::memset(data_ + size_, 0, codec::kJsonPaddingBytes);
  return true;
}

void Body::release() {
  std::free(data_);
  memory_.give_back(capacity_);
  data_ = nullptr;
  size_ = capacity_ = 0;
}

}  // namespace tollgate::proxy
