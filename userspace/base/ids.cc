#include "userspace/base/ids.h"

#include "userspace/base/random.h"

namespace tollgate {

RequestId make_request_id(int64_t wall_unix_ms) {
  uint64_t random[2] = {};
  fill_random(std::as_writable_bytes(std::span(random)));
  return {(static_cast<uint64_t>(wall_unix_ms) << 16) | (random[0] & 0xffff), random[1]};
}

std::string to_string(const RequestId& id) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text = "gw_";
  for (const uint64_t half : {id.high, id.low}) {
    for (int shift = 60; shift >= 0; shift -= 4)
      text += kHex[(half >> shift) & 0xf];
  }
  return text;
}

}  // namespace tollgate
