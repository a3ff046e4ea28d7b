// Every byte that crossed to a provider belongs to a usage record, or an alarm is raised. Two books
// are compared, one connection at a time, when it has ended: what the kernel counted on it,
// whatever our code forgets, and what durable usage records say of it. No I/O; time is an argument.
//
// A connection is judged when it was seen from its opening to its close, and kGraceMs after that,
// so that the last record had time to become durable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "ringbuf/record.h"
#include "userspace/base/ip.h"

namespace tollgate::daemon {

class Detector {
 public:
  // Longer than a session waits for its record to become durable.
  static constexpr int64_t kGraceMs = 5'000;
  // What no record need have of a connection. Received: certificate chains of a handshake that no
  // exchange came of, and the 64 KiB that are read behind a terminal event to keep the connection.
  // Sent: two flights of a handshake.
  static constexpr uint64_t kReceivedPerFlow = 96 * 1024;
  static constexpr uint64_t kSentPerFlow = 4 * 1024;
  // And of each exchange: a record is made at the terminal event, before the last chunk and
  // whatever TLS says between two requests (tickets, key updates).
  static constexpr uint64_t kReceivedPerExchange = 1024;
  static constexpr uint64_t kSentPerExchange = 256;
  // A connection to anybody else that carried more is counted: a webhook or DNS needs less.
  static constexpr uint64_t kOthersBytes = 64 * 1024;
  // Connections that are remembered at once; 200 bytes each. Beyond it the oldest go unjudged.
  static constexpr size_t kFlowsMax = 65'536;
  // Addresses of providers: DNS brings new ones, and connections to the former ones live on.
  static constexpr size_t kAddressesMax = 4'096;

  struct Alarm {
    uint64_t flow_id = 0;
    std::string provider;
    Endpoint remote;
    uint64_t bytes_sent = 0;  // beyond what the records say; the allowance is not taken off
    uint64_t bytes_received = 0;
    size_t records = 0;  // that the connection has
    bool operator==(const Alarm&) const = default;
  };

  struct Counters {
    uint64_t flows = 0;  // to providers, ended
    uint64_t judged = 0;
    uint64_t unmetered_flows = 0;  // must stay 0
    uint64_t unmetered_bytes = 0;
    uint64_t tolerated_bytes = 0;  // within the allowances
    uint64_t unjudged = 0;         // opened before we looked, or forgotten for want of room
    uint64_t events_lost = 0;      // of the kernel's: we cannot vouch
    uint64_t others = 0;           // connections to nobody we know, over kOthersBytes
  };

  // Where connections to a provider go; earlier addresses stay known.
  void add_provider(const std::string& name, const Endpoint& address);
  // While another process of ours shares the cgroup, as in an upgrade: a connection that opens
  // meanwhile and has no record may be its own, whose records we do not see. It is not judged.
  void set_shared(bool shared) { shared_ = shared; }

  void on_flow(const ringbuf::FlowRecord& flow, int64_t now_ms);
  // A durable one. Its connection's opening must have been told before.
  void on_record(const ringbuf::UsageRecord& record);
  void on_lost(uint64_t events) { counters_.events_lost += events; }
  std::vector<Alarm> judge(int64_t now_ms);
  // At the end: whatever has closed, without grace, as no record comes any more.
  std::vector<Alarm> judge_all() { return judge(INT64_MAX); }

  const Counters& counters() const { return counters_; }
  size_t open() const { return flows_.size() - closed_; }  // to providers

 private:
  struct Flow {
    std::string provider;
    Endpoint remote;
    uint64_t opened_number = 0;
    int64_t closed_ms = -1;
    uint64_t sent = 0;  // by the kernel
    uint64_t received = 0;
    uint64_t recorded_sent = 0;
    uint64_t recorded_received = 0;
    size_t records = 0;
    bool shared = false;  // perhaps another process of ours made it
  };
  using Flows = std::unordered_map<uint64_t, Flow>;

  void open_flow(const ringbuf::FlowRecord& flow, const std::string& provider);
  void close_flow(const ringbuf::FlowRecord& flow, int64_t now_ms);
  void forget(Flows::iterator flow);

  std::map<Endpoint, std::string> providers_;
  Flows flows_;
  std::map<uint64_t, uint64_t> by_age_;  // opened_number → flow
  std::vector<uint64_t> ended_;          // in the order of their end
  uint64_t next_number_ = 0;
  size_t closed_ = 0;  // of flows_
  bool shared_ = false;
  Counters counters_;
};

}  // namespace tollgate::daemon
