// One run: ramps the connections up, warms, measures, and says what it saw.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "tests/bench/common/tls_context.h"
#include "tests/bench/loadgen/client.h"
#include "tests/bench/loadgen/process_watch.h"

namespace tollgate::bench {

class Run {
 public:
  explicit Run(const Options& options);
  void go();
  bool all_right() const { return load_.bad() == 0 && load_.ok > 0; }
  nlohmann::ordered_json to_json() const;

 private:
  void open_connections(int64_t elapsed_ns);
  void begin_requests(int64_t elapsed_ns);
  void wait(int64_t until_ns);
  int64_t next_turn_ns() const;
  void start_measuring();
  void stop_measuring();

  const Options& options_;
  TlsContext tls_;
  UniqueFd epoll_;
  Load load_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<Client*> idle_;  // may begin a request
  std::deque<int64_t> due_;    // open loop: intended times that wait for a connection
  uint64_t scheduled_ = 0;
  std::vector<std::pair<std::string, ProcessWatch>> watches_;
  std::vector<int> kernel_threads_;
  std::thread memory_thread_;  // reading smaps takes long enough to delay events

  // Since start_ns_.
  int64_t start_ns_ = 0;
  int64_t ramp_ns_ = 0;
  int64_t warm_end_ns_ = 0;
  int64_t end_ns_ = 0;
  bool looked_at_memory_ = false;

  struct Snapshot {
    int64_t at_ns;
    double own_cpu;
    std::vector<double> kernel_threads_cpu;  // one may end in between, so they are not summed
    MachineCpu machine;
  };
  Snapshot snapshot() const;
  Snapshot before_{};
  Snapshot after_{};
};

}  // namespace tollgate::bench
