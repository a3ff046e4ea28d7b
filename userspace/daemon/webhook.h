// Posts alerts to the address of `alerts.webhook`, off every request's way: a thread, a bounded
// queue, and three tries for each. What cannot be delivered is counted and logged, never waited
// for.
//
// Whoever knows the address may post there, so its path and query are a secret: what is logged
// names the host alone.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "userspace/base/result.h"

namespace tollgate::daemon {

class Webhook {
 public:
  struct Options {
    // Alerts are few: more than this in wait means that the other side has been gone for long.
    size_t queue_max = 256;
    // After the first failed try; after the second it is kPauseGrowth times as long.
    std::chrono::milliseconds first_pause{1'000};
  };
  struct Counters {
    std::atomic<uint64_t> sent{0};
    std::atomic<uint64_t> failed{0};   // given up after the last try
    std::atomic<uint64_t> dropped{0};  // the queue was full, or the address was taken away
  };

  // Before the first other thread is made: libcurl sets up what the process shares.
  static Result<std::unique_ptr<Webhook>> make(const Options& options);
  ~Webhook();
  Webhook(const Webhook&) = delete;

  // Where to post from now on, also what waits already; "": nowhere.
  void set_url(std::string url);
  bool configured() const;
  void post(std::string json);  // ignored without an address
  // Ends at once, in the middle of a request too, and logs how many were not sent.
  void stop();
  const Counters& counters() const { return counters_; }

 private:
  // Of the multi handle: the only one of libcurl's that another thread may wake.
  struct Curl;

  Webhook(const Options& options, std::unique_ptr<Curl> curl);
  void run();
  void deliver(const std::string& json, std::unique_lock<std::mutex>& lock);
  std::string try_once(const std::string& url, const std::string& json);

  Options options_;
  std::unique_ptr<Curl> curl_;
  Counters counters_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::string url_;
  std::deque<std::string> queue_;
  bool delivering_ = false;  // one that is no longer in the queue
  bool overflowing_ = false;
  std::atomic<bool> stopping_{false};
  std::thread thread_;  // last: it uses the members above
};

}  // namespace tollgate::daemon
