// Bytes of a caller: cut into lines at a split that the input chooses, parsed as requests and as
// answers. What is accepted is within its bounds, and what is refused can be answered.
#include <cstdint>
#include <string_view>

#include "userspace/admin/lines.h"
#include "userspace/admin/protocol.h"

using namespace tollgate::admin;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t split = size == 0 ? 0 : data[0] % size;
  LineBuffer lines(4096);
  for (const std::string_view part : {bytes.substr(0, split), bytes.substr(split)}) {
    lines.append(part);
    while (const auto line = lines.next()) {
      TG_ASSERT(line->size() <= 4096);
      const ParsedRequest parsed = parse_request(*line);
      if (const Failure* failure = std::get_if<Failure>(&parsed.outcome)) {
        const std::string answer = error_line(parsed.id, *failure);
        TG_ASSERT(answer.find('\n') == answer.size() - 1);
        TG_ASSERT(parse_answer(answer).has_value());
      } else {
        const Request& request = std::get<Request>(parsed.outcome);
        TG_ASSERT(request.by < kUsageKeys.size());
        TG_ASSERT(request.since_unix_ms < request.until_unix_ms);
        TG_ASSERT(request.user.size() <= kArgumentBytesMax);
      }
      (void)parse_answer(*line).has_value();
    }
  }
  return 0;
}
