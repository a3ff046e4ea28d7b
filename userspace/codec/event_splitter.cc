#include "userspace/codec/event_splitter.h"

namespace tollgate::codec {

std::optional<std::string_view> EventSplitter::next(std::span<const std::byte>& in) {
  std::string_view rest(reinterpret_cast<const char*>(in.data()), in.size());
  std::optional<std::string_view> found;
  while (!found && !overflowed_ && !rest.empty()) {
    const EventLines::Step step = lines_.next(rest);
    overflowed_ = lines_.oversized();
    if (step == EventLines::Step::event_end && lines_.data().any()) found = lines_.data().text();
  }
  in = in.last(overflowed_ ? 0 : rest.size());
  return found;
}

}  // namespace tollgate::codec
