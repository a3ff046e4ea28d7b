// Any bytes may come as a body, an answer or an event, of any interface: no crash, facts only
// without a fault, and no part larger than its whole.
#include "userspace/codec/responses.h"

#include <cstdint>

#include "userspace/base/result.h"

namespace {

using namespace tollgate::codec;

void check(const std::optional<ResponseFacts>& facts) {
  if (!facts || !facts->usage) return;
  TG_ASSERT(facts->usage->cached_tokens <= facts->usage->input_tokens);
  TG_ASSERT(facts->usage->reasoning_tokens <= facts->usage->output_tokens);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string padded(reinterpret_cast<const char*>(data), size);
  padded.resize(size + kJsonPaddingBytes);
  const std::string_view text(padded.data(), size);
  BodyInspector inspector;
  for (const Api api : {Api::responses, Api::chat_completions, Api::embeddings, Api::images}) {
    const auto result = inspector.inspect(std::as_bytes(std::span(text)), api);
    TG_ASSERT((result.fault == BodyFault::none) == !result.facts.model.empty());
    TG_ASSERT(result.facts.choices > 0);
    check(read_response_object(text, api));
  }
  check(read_terminal_event(text));
  return 0;
}
