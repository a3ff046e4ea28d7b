// The usage object of an answer, as text: the mock writes it, the load generator expects exactly
// it. A gateway forwards bytes, so any other spelling means that it changed the body.
#pragma once

#include <cstdint>
#include <string>

namespace tollgate::bench {

inline constexpr uint64_t kJsonOutputTokens = 42;  // of an answer that is not streamed

inline std::string usage_text(uint64_t output_tokens) {
  constexpr uint64_t kInputTokens = 1200;
  return "\"usage\":{\"input_tokens\":" + std::to_string(kInputTokens) +
         ",\"input_tokens_details\":{\"cached_tokens\":1024},\"output_tokens\":" +
         std::to_string(output_tokens) +
         ",\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":" +
         std::to_string(kInputTokens + output_tokens) + "}";
}

}  // namespace tollgate::bench
