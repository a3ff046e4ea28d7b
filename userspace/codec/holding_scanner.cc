#include "userspace/codec/holding_scanner.h"

#include <string>
#include <utility>

#include "userspace/base/text.h"
#include "userspace/codec/sse_lines.h"

namespace tollgate::codec {
EventScanner::Output HoldingScanner::feed(std::span<const std::byte> in) {
  if (out_.capacity() > kScratchKept) {
    out_ = {};
  } else {
    out_.clear();
  }
  if (!in.empty() && std::exchange(drop_lf_, false) && as_text(in).front() == '\n') {
    in = in.subspan(1);
  }
  if (mode_ == Mode::passing) return {{}, in, {}, false};
  if (mode_ == Mode::keeping) {
    held_.insert(held_.end(), in.begin(), in.end());
    return {};
  }
  hold_from_ = 0;
  keep_from_ = 0;
  oversized_ = false;
  found_.reset();
  scan(as_text(in));
  if (scanning() && holding_ && !fits(in.size())) give_up();
  const auto pass = holding_ ? in.first(hold_from_) : in;
  const auto keep = in.subspan(holding_ ? keep_from_ : in.size());
  held_.insert(held_.end(), keep.begin(), keep.end());
  return {out_, pass, std::exchange(found_, std::nullopt), oversized_};
}

void HoldingScanner::hold_from(size_t at) {
  holding_ = true;
  hold_from_ = at;
  keep_from_ = at;
}

std::string HoldingScanner::event_text(std::string_view in, size_t next) const {
  std::string event(as_text(held_));
  return event += in.substr(hold_from_, next - hold_from_);
}

void HoldingScanner::let_go() {
  if (!holding_) return;
  holding_ = false;
  // Bytes from earlier feeds; those of this one are contiguous and go as part of `pass`. A feed can
  // do this once only with something held, and then nothing went out before it.
  if (!held_.empty()) out_ = std::exchange(held_, {});
}

void HoldingScanner::give_up() {
  oversized_ = true;
  if (is_surely_terminal()) {
    seen_terminal_ = true;
    mode_ = Mode::passing;
  }
  let_go();
}

void HoldingScanner::keep_from_here(ResponseFacts facts) {
  found_ = std::move(facts);
  seen_terminal_ = true;
  mode_ = Mode::keeping;
}

void HoldingScanner::keep_after(std::string_view in, size_t next, ResponseFacts facts) {
  keep_from_here(std::move(facts));
  held_.clear();
  drop_lf_ = in[next - 1] == '\r' && next == in.size();
  keep_from_ = in.substr(next - 1, 2) == "\r\n" ? next + 1 : next;
}

std::vector<std::byte> HoldingScanner::release() {
  mode_ = Mode::passing;
  holding_ = false;
  return std::exchange(held_, {});
}

}  // namespace tollgate::codec
