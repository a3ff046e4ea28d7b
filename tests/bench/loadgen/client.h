// One client connection: sends the request, checks the answer, tells what came of it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "tests/bench/common/stream.h"
#include "tests/bench/loadgen/answer.h"
#include "tests/bench/loadgen/histogram.h"
#include "tests/bench/loadgen/options.h"

namespace tollgate::bench {

// What all connections of a run share.
struct Load {
  Load(const Options& run_options, std::string bytes)
      : options(run_options), request(std::move(bytes)) {}

  const Options& options;
  std::string request;
  SSL_CTX* tls = nullptr;
  int epoll_fd = -1;
  bool measuring = false;

  // Right answers and their times are counted within the window, wrong ones in the whole run.
  uint64_t ok = 0;
  uint64_t events = 0;
  uint64_t not_200 = 0;
  uint64_t incomplete = 0;
  uint64_t errors = 0;
  uint64_t reconnects = 0;
  std::map<std::string, uint64_t> reasons;
  Histogram first_byte;
  Histogram last_byte;
  Histogram event_delay;
  Histogram event_gap;
  Histogram handshake;

  uint64_t bad() const { return not_200 + incomplete + errors; }
};

class Client final : private Answer::Listener {
 public:
  Client(Load& load, int number);
  Client(const Client&) = delete;

  // `intended_ns`: when the request should have been sent; latency counts from there, so that a
  // late load generator does not hide a slow gateway.
  void begin(int64_t intended_ns);
  void on_event(uint32_t events);
  bool is_idle() const { return state_ == State::kIdle; }
  bool is_open() const { return stream_.is_open(); }

 private:
  enum class State { kIdle, kConnecting, kHandshake, kSending, kReceiving };
  void on_delta(Answer::EventTimes times) override;
  void connect();
  void on_connected();
  void advance_handshake();
  void send();
  void receive();
  void finish();
  void fail(const std::string& reason);
  void disconnect();

  Load& load_;
  Endpoint source_;
  Stream stream_;
  State state_ = State::kIdle;
  Answer answer_;
  size_t sent_ = 0;
  int64_t intended_ns_ = 0;
  int64_t connect_ns_ = 0;
  int64_t first_byte_ns_ = 0;
};

}  // namespace tollgate::bench
