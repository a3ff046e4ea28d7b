// The scanner's output is its input, in order, less at most one event when usage is hidden; its
// findings do not depend on the splits; between events nothing is held. The first byte of the input
// chooses the size of the pieces, the second the bound.
#include "userspace/codec/chat_scanner.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "userspace/base/result.h"

namespace {

struct Seen {
  std::string all;
  uint64_t terminals = 0;
  uint64_t tokens = 0;
  uint64_t events = 0;
  uint64_t delta_bytes = 0;
  bool seen_terminal = false;
  bool oversized = false;
  bool operator==(const Seen&) const = default;
};

Seen run(std::span<const std::byte> bytes, size_t piece, size_t max, bool hide_usage) {
  tollgate::codec::ChatScanner scanner(max, hide_usage);
  Seen seen;
  size_t fed = 0;
  const auto append = [&](std::span<const std::byte> part) {
    seen.all.append(reinterpret_cast<const char*>(part.data()), part.size());
  };
  while (!bytes.empty()) {
    const auto in = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(in.size());
    const auto out = scanner.feed(in);
    append(out.held);
    append(out.pass);
    seen.oversized |= out.oversized;
    seen.terminals += out.terminal ? 1u : 0u;
    if (out.terminal && out.terminal->usage) seen.tokens = out.terminal->usage->total_tokens;
    fed += in.size();
    TG_ASSERT(!scanner.between_events() || seen.all.size() == fed);
  }
  append(scanner.release());
  seen.events = scanner.events();
  seen.delta_bytes = scanner.delta_bytes();
  seen.seen_terminal = scanner.seen_terminal();
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const auto bytes = std::as_bytes(std::span(data + 2, size - 2));
  const size_t piece = size_t{data[0]} % 64 + 1;
  const size_t max = data[1] < 128 ? size : data[1];
  const Seen whole = run(bytes, size, max, false);
  TG_ASSERT(whole == run(bytes, piece, max, false));
  TG_ASSERT(whole.all.size() == bytes.size() && whole.terminals <= 1);
  TG_ASSERT(std::equal(bytes.begin(), bytes.end(), std::as_bytes(std::span(whole.all)).begin()));
  const Seen hidden = run(bytes, size, max, true);
  TG_ASSERT(hidden == run(bytes, piece, max, true));
  TG_ASSERT(hidden.all.size() == bytes.size() || hidden.terminals == 1);
  TG_ASSERT(hidden.tokens == whole.tokens && hidden.terminals == whole.terminals);
  return 0;
}
