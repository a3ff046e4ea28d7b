// A head gets the same verdict whole and byte by byte, and its views stay inside the buffer.
#include <cstdint>

#include "userspace/base/result.h"
#include "userspace/codec/http1.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tollgate::codec;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const HeadLimits limits{4096, 16};
  size_t scanned = 0;
  ResponseHead whole_head;
  const auto whole = parse_response_head(text, limits, "POST", scanned, whole_head);
  ResponseHead head;
  HeadResult grown;
  scanned = 0;
  for (size_t n = 0; n <= size && grown.state == HeadState::need_more; ++n) {
    grown = parse_response_head(text.substr(0, n), limits, "POST", scanned, head);
  }
  TG_ASSERT(whole.state == grown.state && whole.fault == grown.fault);
  TG_ASSERT(whole.head_bytes == grown.head_bytes && whole.head_bytes <= size);
  if (whole.state != HeadState::complete) return 0;
  for (const auto& field : whole_head.fields) {
    TG_ASSERT(field.name.data() >= text.data());
    TG_ASSERT(field.value.data() + field.value.size() <= text.data() + size);
  }
  return 0;
}
