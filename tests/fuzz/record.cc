// Whatever decode() accepts is what encode() writes: the same bytes come back, and decode to the
// same record. Everything else is refused without a read out of bounds (the sanitizers watch).
#include <algorithm>

#include "ringbuf/record.h"

using namespace tollgate;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto record = ringbuf::decode(bytes);
  // A hold of version 2 is read, not written: it comes back as the present version.
  if (!record || bytes[0] == std::byte{2}) return 0;
  std::vector<std::byte> again;
  ringbuf::encode(*record, again);
  TG_ASSERT(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()));
  const auto twice = ringbuf::decode(again);
  TG_ASSERT(twice && *twice == *record);
  return 0;
}
