#include "tests/bench/loadgen/process_watch.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace tollgate::bench {
namespace {

std::string read_proc(int pid, const char* name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Parent of each process → its children.
std::map<int, std::vector<int>> children_by_parent() {
  std::map<int, std::vector<int>> children;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    std::string name = entry.path().filename().string();
    int pid = 0;
    auto result = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (result.ec != std::errc() || result.ptr != name.data() + name.size()) continue;
    std::string stat = read_proc(pid, "stat");
    size_t end = stat.rfind(')');  // the name before it may hold anything
    if (end == std::string::npos) continue;
    std::istringstream rest(stat.substr(end + 1));
    char state = 0;
    int parent = 0;
    if (rest >> state >> parent) children[parent].push_back(pid);
  }
  return children;
}

std::vector<int> tree_of(const std::vector<int>& roots) {
  auto children = children_by_parent();
  std::vector<int> all = roots;
  for (size_t i = 0; i < all.size(); ++i)
    for (int child : children[all[i]])
      all.push_back(child);
  return all;
}

Memory memory_of(const std::vector<int>& pids) {
  Memory memory;
  for (int pid : pids) {
    std::istringstream lines(read_proc(pid, "smaps_rollup"));
    std::string line;
    while (std::getline(lines, line)) {
      std::istringstream words(line);
      std::string name;
      double kb = 0;
      if (!(words >> name >> kb)) continue;
      if (name == "Rss:") memory.rss += kb;
      if (name == "Pss:") memory.pss += kb;
    }
  }
  return memory;
}

}  // namespace

ProcessWatch::ProcessWatch(std::vector<int> roots) : roots_(std::move(roots)) {
  auto pids = tree_of(roots_);
  for (int pid : pids)
    cpu_at_start_[pid] = 0;
  before_ = memory_of(pids);
}

void ProcessWatch::start() {
  for (auto& [pid, seconds] : cpu_at_start_)
    seconds = cpu_seconds_of(pid);
}

void ProcessWatch::look_at_memory() {
  middle_ = memory_of(tree_of(roots_));
}

void ProcessWatch::stop() {
  for (const auto& [pid, seconds] : cpu_at_start_) {
    double now = cpu_seconds_of(pid);
    if (now >= 0) cpu_seconds_ += now - seconds;
  }
  auto pids = tree_of(roots_);
  for (int pid : pids)  // started within the window
    if (!cpu_at_start_.contains(pid)) cpu_seconds_ += std::max(0.0, cpu_seconds_of(pid));
  for (int pid : roots_)
    died_ = died_ || cpu_seconds_of(pid) < 0;
  after_ = memory_of(pids);
}

nlohmann::ordered_json ProcessWatch::to_json() const {
  return {{"cpu_s", cpu_seconds_},
          {"rss_kb", {before_.rss, middle_.rss, after_.rss}},
          {"pss_kb", {before_.pss, middle_.pss, after_.pss}},
          {"died", died_}};
}

double cpu_seconds_of(int pid) {
  clockid_t clock;
  timespec time{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return -1;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

std::vector<int> find_kernel_threads() {
  constexpr int kThreadDaemon = 2;  // kthreadd, the parent of all of them
  std::vector<int> found;
  auto children = children_by_parent();
  for (int pid : children[kThreadDaemon]) {
    std::string name = read_proc(pid, "comm");
    if (name.rfind("ksoftirqd", 0) == 0 || name.rfind("kworker", 0) == 0) found.push_back(pid);
  }
  return found;
}

std::vector<double> cpu_seconds_of(const std::vector<int>& pids) {
  std::vector<double> each;
  for (int pid : pids)
    each.push_back(cpu_seconds_of(pid));
  return each;
}

MachineCpu machine_cpu() {
  std::ifstream file("/proc/stat");
  std::string name;
  double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft_irq = 0, stolen = 0;
  file >> name >> user >> nice >> system >> idle >> wait >> irq >> soft_irq >> stolen;
  double ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  return {(user + nice + system + irq + soft_irq) / ticks, stolen / ticks};
}

}  // namespace tollgate::bench
