// Any bytes may come as a body, an answer or an event: no crash, and facts only without a fault.
#include "userspace/codec/responses.h"

#include <cstdint>

#include "userspace/base/result.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tollgate::codec;
  std::string padded(reinterpret_cast<const char*>(data), size);
  padded.resize(size + kJsonPaddingBytes);
  BodyInspector inspector;
  const auto result = inspector.inspect(std::as_bytes(std::span(padded)).first(size));
  TG_ASSERT((result.fault == BodyFault::none) == !result.facts.model.empty());
  const std::string_view text(padded.data(), size);
  for (const auto& facts : {read_terminal_event(text), read_response_object(text)}) {
    TG_ASSERT(!facts || !facts->usage || facts->usage->cached_tokens <= facts->usage->input_tokens);
  }
  return 0;
}
