#include "tests/bench/loadgen/load.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "userspace/base/clock.h"

namespace tollgate::bench {
namespace {

constexpr double kConnectionsPerSecond = 1500;  // faster, and the ramp is a handshake benchmark
constexpr int kFewConnections = 200;
constexpr uint64_t kBadMax = 1000;  // a run that is this wrong ends early

double grown(const std::vector<double>& before, const std::vector<double>& after) {
  double sum = 0;
  for (size_t i = 0; i < before.size(); ++i)
    sum += std::max(0.0, after[i] - before[i]);
  return sum;
}

int64_t to_ns(double seconds) {
  return static_cast<int64_t>(seconds * 1e9);
}

}  // namespace

Run::Run(const Options& options)
    : options_(options), epoll_(make_epoll()), load_(options, make_request(options)) {
  if (options.tls) tls_ = make_client_context();
  load_.tls = tls_.get();
  load_.epoll_fd = epoll_.get();
  for (const WatchOption& watch : options.watches)
    watches_.emplace_back(watch.name, ProcessWatch(watch.pids));
  kernel_threads_ = find_kernel_threads();
  bool many = options.connections > kFewConnections;
  ramp_ns_ = many ? to_ns(options.connections / kConnectionsPerSecond) : to_ns(0.05);
  warm_end_ns_ = ramp_ns_ + to_ns(options.warm_seconds);
  end_ns_ = warm_end_ns_ + to_ns(options.seconds);
}

void Run::go() {
  start_ns_ = monotonic_ns();
  while (true) {
    int64_t elapsed = monotonic_ns() - start_ns_;
    open_connections(elapsed);
    if (!load_.measuring && elapsed >= warm_end_ns_) start_measuring();
    if (options_.look_at_memory && !looked_at_memory_ && elapsed >= (warm_end_ns_ + end_ns_) / 2) {
      looked_at_memory_ = true;
      memory_thread_ = std::thread([this] {
        for (auto& [name, watch] : watches_)
          watch.look_at_memory();
      });
    }
    if (elapsed >= end_ns_ || load_.bad() > kBadMax) break;
    begin_requests(elapsed);
    wait(next_turn_ns());
  }
  stop_measuring();
}

void Run::open_connections(int64_t elapsed_ns) {
  auto count = static_cast<double>(options_.connections);
  auto due = static_cast<size_t>(
      std::min(count, count * static_cast<double>(elapsed_ns) / static_cast<double>(ramp_ns_) + 1));
  while (clients_.size() < due) {
    clients_.push_back(std::make_unique<Client>(load_, static_cast<int>(clients_.size())));
    idle_.push_back(clients_.back().get());
  }
}

void Run::begin_requests(int64_t elapsed_ns) {
  if (options_.rate > 0) {
    while (true) {
      int64_t at = ramp_ns_ + to_ns(static_cast<double>(scheduled_) / options_.rate);
      if (at > elapsed_ns) break;
      due_.push_back(start_ns_ + at);
      ++scheduled_;
    }
  }
  // A request that fails at once leaves its client idle; it gets its next turn in the next round.
  std::vector<Client*> again;
  while (!idle_.empty() && (options_.rate <= 0 || !due_.empty())) {
    Client* client = idle_.back();
    idle_.pop_back();
    int64_t intended = monotonic_ns();
    if (options_.rate > 0) {
      intended = due_.front();
      due_.pop_front();
    }
    client->begin(intended);
    if (client->is_idle()) again.push_back(client);
  }
  idle_.insert(idle_.end(), again.begin(), again.end());
}

int64_t Run::next_turn_ns() const {
  int64_t next = load_.measuring ? end_ns_ : warm_end_ns_;
  if (clients_.size() < static_cast<size_t>(options_.connections)) {
    next = std::min(next, static_cast<int64_t>(clients_.size()) * ramp_ns_ / options_.connections);
  }
  if (options_.rate > 0) {
    next = std::min(next, ramp_ns_ + to_ns(static_cast<double>(scheduled_) / options_.rate));
  } else if (!idle_.empty()) {
    next = 0;
  }
  return next;
}

void Run::wait(int64_t until_ns) {
  std::array<epoll_event, 1024> events;
  int64_t left = std::max<int64_t>(0, start_ns_ + until_ns - monotonic_ns());
  timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
  int count = ::epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &timeout,
                             nullptr);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    auto* client = static_cast<Client*>(event.data.ptr);
    bool was_idle = client->is_idle();
    client->on_event(event.events);
    if (!was_idle && client->is_idle()) idle_.push_back(client);
  }
}

Run::Snapshot Run::snapshot() const {
  return {monotonic_ns(), cpu_seconds_of(::getpid()), cpu_seconds_of(kernel_threads_),
          machine_cpu()};
}

void Run::start_measuring() {
  for (auto& [name, watch] : watches_)
    watch.start();
  before_ = snapshot();
  load_.measuring = true;
}

void Run::stop_measuring() {
  if (!load_.measuring) before_ = snapshot();  // it ended early
  load_.measuring = false;
  after_ = snapshot();
  if (memory_thread_.joinable()) memory_thread_.join();
  for (auto& [name, watch] : watches_)
    watch.stop();
}

nlohmann::ordered_json Run::to_json() const {
  double seconds = std::max(1e-9, static_cast<double>(after_.at_ns - before_.at_ns) / 1e9);
  auto open = std::count_if(clients_.begin(), clients_.end(),
                            [](const auto& client) { return client->is_open(); });
  nlohmann::ordered_json watched = nlohmann::ordered_json::object();
  for (const auto& [name, watch] : watches_)
    watched[name] = watch.to_json();
  return {{"label", options_.label},
          {"mode", options_.mode},
          {"conns", options_.connections},
          {"request_bytes", load_.request.size()},
          {"secs", seconds},
          {"ok", load_.ok},
          {"rps", static_cast<double>(load_.ok) / seconds},
          {"events", load_.events},
          {"events_s", static_cast<double>(load_.events) / seconds},
          {"errors", load_.errors},
          {"not_200", load_.not_200},
          {"incomplete", load_.incomplete},
          {"bad", load_.bad()},
          {"reasons", load_.reasons},
          {"reconnects", load_.reconnects},
          {"open", open},
          {"late", due_.size()},
          {"first_byte", load_.first_byte.to_json()},
          {"last_byte", load_.last_byte.to_json()},
          {"event_delay", load_.event_delay.to_json()},
          {"event_gap", load_.event_gap.to_json()},
          {"handshake", load_.handshake.to_json()},
          {"watched", watched},
          {"loadgen_cpu_s", after_.own_cpu - before_.own_cpu},
          {"kernel_threads_cpu_s", grown(before_.kernel_threads_cpu, after_.kernel_threads_cpu)},
          {"machine_busy_s", after_.machine.busy_seconds - before_.machine.busy_seconds},
          {"stolen_s", after_.machine.stolen_seconds - before_.machine.stolen_seconds}};
}

}  // namespace tollgate::bench
