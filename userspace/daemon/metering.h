// The detector in its daemon: kernel events and durable records go in, alarms come out and stay
// until an administrator has acknowledged them.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "userspace/daemon/detector.h"
#include "userspace/kernel/steering.h"
#include "userspace/proxy/snapshot.h"

namespace tollgate::daemon {

class Metering {
 public:
  // `steering` null: the kernel keeps no book, and nothing is judged. It must outlive this.
  explicit Metering(kernel::Steering* steering);

  // Before the workers may dial what is new in it.
  void follow(const proxy::Snapshot& snapshot);
  void set_shared(bool shared) { detector_.set_shared(shared); }
  // After the commit, from the ledger's thread.
  void on_durable(const ringbuf::UsageRecord& record);
  // A flow event of the kernel's is passed on by whoever reads the ring.
  void on_flow(const ringbuf::FlowRecord& flow, int64_t now_ms) { detector_.on_flow(flow, now_ms); }

  // What durable records say so far. Taken before the kernel's ring is read, given after it: then
  // the opening of each record's connection has been seen.
  std::vector<ringbuf::UsageRecord> take_records();
  // Judges and logs; returns what the webhook is told. Without a ledger that is up to date nobody
  // is judged.
  std::vector<nlohmann::json> judge(std::vector<ringbuf::UsageRecord> records, bool ledger_healthy,
                                    int64_t now_ms);
  // Once all records are durable: whatever has closed, without waiting. Logs the last word.
  void judge_all(std::vector<ringbuf::UsageRecord> records);

  size_t open_flows() const { return detector_.open(); }
  bool acknowledged() const { return alarms_.empty(); }
  std::vector<std::string> problems() const;
  nlohmann::json status() const;
  nlohmann::json list() const;   // of what is not acknowledged
  nlohmann::json acknowledge();  // {"acknowledged": n}

 private:
  struct Told {
    Detector::Alarm alarm;
    int64_t at_unix_s = 0;
  };
  nlohmann::json to_json(const Told& told) const;
  void count_lost(int64_t now_ms);
  std::vector<nlohmann::json> raise(std::vector<Detector::Alarm> alarms);

  kernel::Steering* steering_;
  Detector detector_;
  std::deque<Told> alarms_;
  uint64_t alarms_forgotten_ = 0;  // of those not acknowledged, for want of room
  uint64_t lost_seen_ = 0;         // the kernel's counters, when last read
  int64_t lost_read_ms_ = 0;
  int64_t judge_from_ms_ = 0;
  std::mutex records_mutex_;
  std::vector<ringbuf::UsageRecord> records_;
};

}  // namespace tollgate::daemon
