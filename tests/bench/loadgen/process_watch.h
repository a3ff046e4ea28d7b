// CPU seconds and memory of process trees, over exactly the measured window.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <vector>

namespace tollgate::bench {

struct Memory {  // kB
  double rss = 0;
  double pss = 0;
};

class ProcessWatch {
 public:
  explicit ProcessWatch(std::vector<int> roots);  // notes the memory before the load
  void start();                                   // cheap: one clock_gettime a process
  void look_at_memory();
  void stop();
  nlohmann::ordered_json to_json() const;

 private:
  std::vector<int> roots_;
  std::map<int, double> cpu_at_start_;
  double cpu_seconds_ = 0;
  bool died_ = false;
  Memory before_;
  Memory middle_;
  Memory after_;
};

// The process clock: ns-exact, all threads, io_uring's workers too. -1: no such process.
double cpu_seconds_of(int pid);

// Kernel threads may do a gateway's work without it being charged for it (ksoftirqd, kworker).
std::vector<int> find_kernel_threads();
std::vector<double> cpu_seconds_of(const std::vector<int>& pids);

struct MachineCpu {
  double busy_seconds;
  double stolen_seconds;
};
MachineCpu machine_cpu();

}  // namespace tollgate::bench
