#include "userspace/codec/event_scanner.h"

#include "userspace/base/result.h"
#include "userspace/codec/chat_scanner.h"
#include "userspace/codec/sse.h"

namespace tollgate::codec {

std::unique_ptr<EventScanner> make_event_scanner(Api api, size_t event_bytes_max, bool hide_usage) {
  // Embeddings and images do not stream; the caller asks for no scanner.
  TG_ASSERT(api == Api::responses || api == Api::chat_completions);
  if (api == Api::responses) return std::make_unique<SseScanner>(event_bytes_max);
  return std::make_unique<ChatScanner>(event_bytes_max, hide_usage);
}

}  // namespace tollgate::codec
