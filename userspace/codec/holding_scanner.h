// What the scanners of event streams share: the bytes of an event that may be terminal are held,
// from the event's first line on, and go out in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "userspace/codec/event_scanner.h"

namespace tollgate::codec {

class HoldingScanner : public EventScanner {
 public:
  Output feed(std::span<const std::byte> in) final;
  std::vector<std::byte> release() final;
  uint64_t events() const final { return events_; }
  bool seen_terminal() const final { return seen_terminal_; }
  uint64_t delta_bytes() const final { return delta_bytes_; }

 protected:
  explicit HoldingScanner(size_t event_bytes_max) : event_bytes_max_(event_bytes_max) {}
  // Reads on while scanning(); `next` below is how far of `in` it has come.
  virtual void scan(std::string_view in) = 0;
  // Of the event held: for one that outgrows the bound.
  virtual bool is_surely_terminal() const { return false; }

  bool scanning() const { return mode_ == Mode::scanning; }
  bool holding() const { return holding_; }
  void hold_from(size_t at);
  bool fits(size_t next) const { return held_.size() + next - hold_from_ <= event_bytes_max_; }
  // What is held of the event that `in` goes on with.
  std::string event_text(std::string_view in, size_t next) const;
  void let_go();
  void give_up();
  void keep_from_here(ResponseFacts facts);
  // The same, yet without the event that ends at `next`.
  void keep_after(std::string_view in, size_t next, ResponseFacts facts);

  uint64_t events_ = 0;
  uint64_t delta_bytes_ = 0;

 private:
  enum class Mode : uint8_t { scanning, keeping, passing };

  size_t event_bytes_max_;
  std::vector<std::byte> held_;  // of the current event, or everything from the terminal one on
  std::vector<std::byte> out_;   // what the last Output's `held` points at
  bool seen_terminal_ = false;
  Mode mode_ = Mode::scanning;
  bool holding_ = false;
  bool drop_lf_ = false;  // it belongs to the CR that ended a dropped event

  // Of the feed in progress.
  bool oversized_ = false;
  size_t hold_from_ = 0;  // what is before it goes
  size_t keep_from_ = 0;  // what is between them is dropped
  std::optional<ResponseFacts> found_;
};

}  // namespace tollgate::codec
