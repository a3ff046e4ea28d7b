// Bytes of another daemon: cut into frames at a split that the input chooses, parsed as messages.
// What is accepted says the same when it is written again.
#include <cstdint>
#include <string_view>

#include "userspace/daemon/handover.h"

using namespace tollgate;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t split = size == 0 ? 0 : data[0] % size;
  daemon::FrameReader frames;
  for (const std::string_view part : {bytes.substr(0, split), bytes.substr(split)}) {
    frames.append(part);
    for (;;) {
      const auto frame = frames.next();
      if (!frame || !*frame) break;
      TG_ASSERT((*frame)->fds.empty());
    }
  }
  const auto message = daemon::parse_message(bytes);
  if (!message) return 0;
  const std::string text = daemon::to_text(*message);
  const auto again = daemon::parse_message(text);
  TG_ASSERT(again.has_value() && daemon::to_text(*again) == text);
  return 0;
}
