// The scanner's output is its input, in order, and its findings do not depend on the splits;
// between events nothing is held. The splitter finds the same events at every split.
// The first byte of the input chooses the size of the pieces.
#include "userspace/codec/sse.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "userspace/base/result.h"
#include "userspace/codec/event_splitter.h"

namespace {

struct Seen {
  std::string all;
  bool terminal = false;
  uint64_t events = 0;
  uint64_t delta_bytes = 0;
};

Seen run(std::span<const std::byte> bytes, size_t piece) {
  tollgate::codec::SseScanner scanner(1 << 20);
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
    seen.terminal |= out.terminal.has_value();
    fed += in.size();
    TG_ASSERT(!scanner.between_events() || seen.all.size() == fed);
  }
  append(scanner.release());
  seen.events = scanner.events();
  seen.delta_bytes = scanner.delta_bytes();
  return seen;
}

std::vector<std::string> events_of(std::span<const std::byte> bytes, size_t piece, size_t max) {
  tollgate::codec::EventSplitter splitter(max);
  std::vector<std::string> events;
  while (!bytes.empty()) {
    auto in = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(in.size());
    while (const auto data = splitter.next(in))
      events.emplace_back(*data);
    TG_ASSERT(in.empty());
  }
  if (splitter.overflowed()) events.emplace_back("overflowed");
  return events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  const Seen whole = run(bytes, size);
  const Seen split = run(bytes, size_t{data[0]} % 64 + 1);
  TG_ASSERT(whole.all == split.all && whole.all.size() == bytes.size());
  TG_ASSERT(std::equal(bytes.begin(), bytes.end(), std::as_bytes(std::span(whole.all)).begin()));
  TG_ASSERT(whole.terminal == split.terminal && whole.events == split.events);
  TG_ASSERT(whole.delta_bytes == split.delta_bytes);
  const auto events = events_of(bytes, size, size);
  TG_ASSERT(events == events_of(bytes, size_t{data[0]} % 64 + 1, size));
  TG_ASSERT(whole.terminal || events.size() == whole.events);
  TG_ASSERT(events_of(bytes, size, 16) == events_of(bytes, size_t{data[0]} % 64 + 1, 16));
  return 0;
}
