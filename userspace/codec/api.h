// Which of the provider's interfaces a body belongs to: they differ in where the facts stand.
#pragma once

#include <cstdint>

namespace tollgate::codec {

enum class Api : uint8_t {
  responses,         // POST /responses, /responses/compact, and WebSocket messages
  chat_completions,  // POST /chat/completions
  embeddings,        // POST /embeddings
  images,            // POST /images/generations
};

}  // namespace tollgate::codec
