#include "userspace/daemon/metering.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "userspace/base/clock.h"

namespace tollgate::daemon {
namespace {

using nlohmann::json;

constexpr size_t kAlarmsKept = 100;
constexpr int64_t kLostReadMs = 1'000;
// Each of these is a connection, or its end, that we were not told of.
constexpr std::string_view kLosses[] = {"flow.reserve_failed", "flow.malformed",
                                        "identify.no_storage", "identify.no_callback"};

uint64_t losses(const kernel::Steering& steering) {
  uint64_t sum = 0;
  for (const auto& [name, value] : steering.counters()) {
    if (std::find(std::begin(kLosses), std::end(kLosses), name) != std::end(kLosses)) sum += value;
  }
  return sum;
}

}  // namespace

// Counters may be an earlier daemon's: what was lost before is not our loss.
Metering::Metering(kernel::Steering* steering)
    : steering_(steering), lost_seen_(steering == nullptr ? 0 : losses(*steering)) {}

void Metering::follow(const proxy::Snapshot& snapshot) {
  for (const auto& target : snapshot.targets) {
    for (const Endpoint& address : target->addresses)
      detector_.add_provider(target->provider, address);
  }
}

void Metering::on_durable(const ringbuf::UsageRecord& record) {
  if (steering_ == nullptr || record.upstream_flow_id == 0) return;
  // Of a record only what the books are about: the texts would be a copy for nothing.
  ringbuf::UsageRecord kept;
  kept.upstream_flow_id = record.upstream_flow_id;
  kept.upstream_bytes_up = record.upstream_bytes_up;
  kept.upstream_bytes_down = record.upstream_bytes_down;
  const std::lock_guard lock(records_mutex_);
  records_.push_back(std::move(kept));
}

std::vector<ringbuf::UsageRecord> Metering::take_records() {
  const std::lock_guard lock(records_mutex_);
  return std::exchange(records_, {});
}

void Metering::count_lost(int64_t now_ms) {
  if (steering_ == nullptr || now_ms - lost_read_ms_ < kLostReadMs) return;
  lost_read_ms_ = now_ms;
  const uint64_t lost = losses(*steering_);
  if (lost <= lost_seen_) return;
  spdlog::critical(
      "events lost: {} of the kernel's flow events; the detector cannot vouch that "
      "everything was metered",
      lost - lost_seen_);
  detector_.on_lost(lost - lost_seen_);
  lost_seen_ = lost;
}

std::vector<json> Metering::judge(std::vector<ringbuf::UsageRecord> records, bool ledger_healthy,
                                  int64_t now_ms) {
  for (const ringbuf::UsageRecord& record : records)
    detector_.on_record(record);
  count_lost(now_ms);
  // A record that waits for the disk is late, not lost.
  if (!ledger_healthy) judge_from_ms_ = now_ms + Detector::kGraceMs;
  if (now_ms < judge_from_ms_) return {};
  return raise(detector_.judge(now_ms));
}

std::vector<json> Metering::raise(std::vector<Detector::Alarm> alarms) {
  std::vector<json> told;
  for (Detector::Alarm& alarm : alarms) {
    spdlog::critical(
        "unmetered traffic: flow={} provider={} remote={} bytes_sent={} bytes_received={} have no "
        "usage record ({} records of this connection account for the rest)",
        alarm.flow_id, alarm.provider, tollgate::to_string(alarm.remote), alarm.bytes_sent,
        alarm.bytes_received, alarm.records);
    if (alarms_.size() == kAlarmsKept) {
      alarms_.pop_front();
      ++alarms_forgotten_;
    }
    alarms_.push_back({std::move(alarm), wall_unix_ms() / 1000});
    told.push_back({{"version", 1}, {"unmetered", to_json(alarms_.back())}});
  }
  return told;
}

void Metering::judge_all(std::vector<ringbuf::UsageRecord> records) {
  if (steering_ == nullptr) return;
  for (const ringbuf::UsageRecord& record : records)
    detector_.on_record(record);
  lost_read_ms_ = 0;
  count_lost(monotonic_ms());
  raise(detector_.judge_all());
  const Detector::Counters& counters = detector_.counters();
  spdlog::info(
      "metering: flows={} judged={} unmetered_flows={} unmetered_bytes={} unjudged={} "
      "events_lost={} still_open={}",
      counters.flows, counters.judged, counters.unmetered_flows, counters.unmetered_bytes,
      counters.unjudged, counters.events_lost, detector_.open());
}

std::vector<std::string> Metering::problems() const {
  std::vector<std::string> problems;
  if (!alarms_.empty()) {
    problems.push_back("unmetered traffic on " +
                       std::to_string(alarms_.size() + alarms_forgotten_) +
                       " connections to providers: see `tollgate unmetered`");
  }
  if (const uint64_t lost = detector_.counters().events_lost; lost > 0) {
    problems.push_back("events lost: " + std::to_string(lost) +
                       " of the kernel's flow events, the detector cannot vouch that everything "
                       "was metered");
  }
  return problems;
}

json Metering::to_json(const Told& told) const {
  return {{"flow_id", told.alarm.flow_id},
          {"provider", told.alarm.provider},
          {"remote", tollgate::to_string(told.alarm.remote)},
          {"bytes_sent", told.alarm.bytes_sent},
          {"bytes_received", told.alarm.bytes_received},
          {"records", told.alarm.records},
          {"at_unix_s", told.at_unix_s}};
}

json Metering::status() const {
  const Detector::Counters& counters = detector_.counters();
  return {{"active", steering_ != nullptr},
          {"unmetered_flows", counters.unmetered_flows},
          {"unmetered_bytes", counters.unmetered_bytes},
          {"unacknowledged", alarms_.size() + alarms_forgotten_},
          {"flows", counters.flows},
          {"flows_open", detector_.open()},
          {"judged", counters.judged},
          {"unjudged", counters.unjudged},
          {"tolerated_bytes", counters.tolerated_bytes},
          {"events_lost", counters.events_lost},
          {"other_flows", counters.others}};
}

json Metering::list() const {
  json flows = json::array();
  for (const Told& told : alarms_)
    flows.push_back(to_json(told));
  return flows;
}

json Metering::acknowledge() {
  const uint64_t count = alarms_.size() + std::exchange(alarms_forgotten_, 0);
  alarms_.clear();
  return {{"acknowledged", count}};
}

}  // namespace tollgate::daemon
