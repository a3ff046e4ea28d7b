#include "userspace/base/random.h"

#include <sys/random.h>

#include "userspace/base/result.h"

namespace tollgate {

void fill_random(std::span<std::byte> bytes) {
  TG_ASSERT(bytes.size() <= 256);
  TG_ASSERT(::getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
}

}  // namespace tollgate
