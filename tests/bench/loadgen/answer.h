// Checks one answer as its bytes arrive: status 200, exactly the usage that the mock wrote, and for
// a stream all of its events and response.completed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/bench/common/http_message.h"

namespace tollgate::bench {

class Answer {
 public:
  // An event that just arrived: how long ago the mock wrote it, and since the one before (-1: it is
  // the first).
  struct EventTimes {
    int64_t delay_ns;
    int64_t gap_ns;
  };
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_delta(EventTimes times) = 0;
  };
  enum class Progress { kMore, kEnded, kBroken };

  void start();
  Progress take(std::string_view bytes, Listener& listener);

  int status() const { return message_.status(); }
  bool is_whole(uint64_t events_expected) const;
  bool keeps_alive() const { return keeps_alive_; }
  // The connection closed: was that the end of this answer?
  bool may_end_here() const { return has_head_ && message_.ends_with_connection(); }

 private:
  void take_piece(std::string_view piece, Listener& listener);
  void take_event(std::string_view event, Listener& listener);

  HttpMessage message_;
  bool has_head_ = false;
  bool is_stream_ = false;
  bool keeps_alive_ = true;
  std::string text_;  // the JSON body, or the part of an event that has arrived
  std::string completed_;
  uint64_t deltas_ = 0;
  int64_t last_delta_ns_ = -1;
};

}  // namespace tollgate::bench
