#include "userspace/daemon/detector.h"

#include <algorithm>
#include <utility>

namespace tollgate::daemon {
namespace {

uint64_t beyond(uint64_t counted, uint64_t known) {
  return counted > known ? counted - known : 0;
}

}  // namespace

void Detector::add_provider(const std::string& name, const Endpoint& address) {
  if (providers_.size() < kAddressesMax || providers_.count(address) != 0) {
    providers_[address] = name;
  }
}

void Detector::on_flow(const ringbuf::FlowRecord& flow, int64_t now_ms) {
  const bool opens = flow.event == ringbuf::FlowEvent::upstream_open;
  if (!opens && flow.event != ringbuf::FlowEvent::upstream_close) return;
  const auto provider = providers_.find(flow.remote);
  if (provider == providers_.end()) {
    if (!opens && flow.bytes_sent + flow.bytes_received > kOthersBytes) ++counters_.others;
  } else if (opens) {
    open_flow(flow, provider->second);
  } else {
    close_flow(flow, now_ms);
  }
}

void Detector::open_flow(const ringbuf::FlowRecord& flow, const std::string& provider) {
  if (flows_.size() >= kFlowsMax) {
    const auto oldest = flows_.find(by_age_.begin()->second);
    if (oldest->second.closed_ms >= 0) ++counters_.unjudged;  // else its close counts it
    forget(oldest);
  }
  const auto [entry, is_new] = flows_.try_emplace(flow.flow_id);
  if (!is_new) return;
  entry->second.provider = provider;
  entry->second.remote = flow.remote;
  entry->second.shared = shared_;
  entry->second.opened_number = next_number_++;
  by_age_.emplace(entry->second.opened_number, flow.flow_id);
}

void Detector::close_flow(const ringbuf::FlowRecord& flow, int64_t now_ms) {
  ++counters_.flows;
  const auto found = flows_.find(flow.flow_id);
  if (found == flows_.end()) {
    ++counters_.unjudged;
    return;
  }
  Flow& entry = found->second;
  if (entry.closed_ms >= 0) return;
  entry.closed_ms = now_ms;
  entry.sent = flow.bytes_sent;
  entry.received = flow.bytes_received;
  ++closed_;
  ended_.push_back(flow.flow_id);
}

void Detector::on_record(const ringbuf::UsageRecord& record) {
  const auto found = flows_.find(record.upstream_flow_id);
  if (found == flows_.end()) return;  // nothing was sent, or a connection that is not judged
  Flow& flow = found->second;
  flow.recorded_sent += record.upstream_bytes_up;
  flow.recorded_received += record.upstream_bytes_down;
  ++flow.records;
}

std::vector<Detector::Alarm> Detector::judge(int64_t now_ms) {
  std::vector<Alarm> alarms;
  const auto due = [&](uint64_t id) {
    const auto found = flows_.find(id);
    if (found == flows_.end()) return true;  // forgotten meanwhile
    const Flow& flow = found->second;
    if (now_ms - flow.closed_ms < kGraceMs) return false;
    if (flow.shared && flow.records == 0) {
      ++counters_.unjudged;
      forget(found);
      return true;
    }
    ++counters_.judged;
    const uint64_t sent = beyond(flow.sent, flow.recorded_sent);
    const uint64_t received = beyond(flow.received, flow.recorded_received);
    if (sent > kSentPerFlow + flow.records * kSentPerExchange ||
        received > kReceivedPerFlow + flow.records * kReceivedPerExchange) {
      ++counters_.unmetered_flows;
      counters_.unmetered_bytes += sent + received;
      alarms.push_back({id, flow.provider, flow.remote, sent, received, flow.records});
    } else {
      counters_.tolerated_bytes += sent + received;
    }
    forget(found);
    return true;
  };
  const auto rest = std::find_if_not(ended_.begin(), ended_.end(), due);
  ended_.erase(ended_.begin(), rest);
  return alarms;
}

void Detector::forget(Flows::iterator flow) {
  if (flow->second.closed_ms >= 0) --closed_;
  by_age_.erase(flow->second.opened_number);
  flows_.erase(flow);
}

}  // namespace tollgate::daemon
