#include "userspace/daemon/detector.h"

#include <gtest/gtest.h>

namespace tollgate::daemon {
namespace {

using ringbuf::FlowEvent;
using ringbuf::FlowRecord;
using ringbuf::UsageRecord;

const Endpoint kProvider = *parse_endpoint("10.98.0.2:443");
const Endpoint kElsewhere = *parse_endpoint("10.98.0.9:443");
constexpr int64_t kClosedMs = 1'000;
constexpr int64_t kDueMs = kClosedMs + Detector::kGraceMs;

FlowRecord opened(uint64_t id, const Endpoint& remote = kProvider) {
  FlowRecord flow;
  flow.event = FlowEvent::upstream_open;
  flow.flow_id = id;
  flow.remote = remote;
  return flow;
}

FlowRecord closed(uint64_t id, uint64_t sent, uint64_t received,
                  const Endpoint& remote = kProvider) {
  FlowRecord flow = opened(id, remote);
  flow.event = FlowEvent::upstream_close;
  flow.bytes_sent = sent;
  flow.bytes_received = received;
  return flow;
}

UsageRecord recorded(uint64_t flow_id, uint64_t up, uint64_t down) {
  UsageRecord record;
  record.upstream_flow_id = flow_id;
  record.upstream_bytes_up = up;
  record.upstream_bytes_down = down;
  return record;
}

class DetectorTest : public ::testing::Test {
 protected:
  DetectorTest() { detector_.add_provider("openai", kProvider); }
  Detector detector_;
};

TEST_F(DetectorTest, BothSidesOfEveryAllowance) {
  constexpr uint64_t kSent = Detector::kSentPerFlow;
  constexpr uint64_t kReceived = Detector::kReceivedPerFlow;
  const struct {
    const char* description;
    size_t records;
    uint64_t sent;  // by the kernel, beyond the records'
    uint64_t received;
    bool alarm;
  } rows[] = {
      {"exactly what the records say", 2, 0, 0, false},
      {"a handshake and nothing else", 0, kSent, kReceived, false},
      {"a byte more than a handshake sends", 0, kSent + 1, 0, true},
      {"a byte more than a handshake receives", 0, 0, kReceived + 1, true},
      {"the tails of two exchanges", 2, kSent + 2 * Detector::kSentPerExchange,
       kReceived + 2 * Detector::kReceivedPerExchange, false},
      {"a byte behind them, sent", 2, kSent + 2 * Detector::kSentPerExchange + 1, 0, true},
      {"a byte behind them, received", 2, 0, kReceived + 2 * Detector::kReceivedPerExchange + 1,
       true},
  };
  uint64_t id = 0;
  for (const auto& row : rows) {
    detector_.on_flow(opened(++id), 0);
    for (size_t i = 0; i < row.records; ++i)
      detector_.on_record(recorded(id, 100'000, 200'000));
    detector_.on_flow(
        closed(id, row.records * 100'000 + row.sent, row.records * 200'000 + row.received),
        kClosedMs);
    const auto alarms = detector_.judge(kDueMs);
    ASSERT_EQ(alarms.size(), row.alarm ? 1u : 0u) << row.description;
    if (!row.alarm) continue;
    EXPECT_EQ(alarms.front(),
              (Detector::Alarm{id, "openai", kProvider, row.sent, row.received, row.records}))
        << row.description;
  }
  EXPECT_EQ(detector_.counters().judged, std::size(rows));
  EXPECT_EQ(detector_.counters().unmetered_flows, 4u);
  EXPECT_GT(detector_.counters().unmetered_bytes, 0u);
  EXPECT_EQ(detector_.open(), 0u);
}

TEST_F(DetectorTest, ARecordMayComeBeforeTheCloseOrWithinTheGraceBehindIt) {
  detector_.on_flow(opened(1), 0);
  detector_.on_flow(opened(2), 0);
  detector_.on_flow(opened(3), 0);
  detector_.on_record(recorded(1, 100'000, 0));
  for (const uint64_t id : {1u, 2u, 3u})
    detector_.on_flow(closed(id, 100'000, 0), kClosedMs);
  EXPECT_TRUE(detector_.judge(kDueMs - 1).empty());
  EXPECT_EQ(detector_.counters().judged, 0u);
  detector_.on_record(recorded(2, 100'000, 0));
  const auto alarms = detector_.judge(kDueMs);
  ASSERT_EQ(alarms.size(), 1u);
  EXPECT_EQ(alarms.front().flow_id, 3u);
  EXPECT_EQ(alarms.front().bytes_sent, 100'000u);
  detector_.on_record(recorded(3, 100'000, 0));  // too late: the alarm stands
  EXPECT_TRUE(detector_.judge(kDueMs + Detector::kGraceMs).empty());
  EXPECT_EQ(detector_.counters().unmetered_flows, 1u);
}

TEST_F(DetectorTest, OneExchangeOfSeveralWithoutARecordIsFound) {
  detector_.on_flow(opened(1), 0);
  detector_.on_record(recorded(1, 60'000, 5'000));
  detector_.on_record(recorded(1, 60'000, 5'000));
  detector_.on_flow(closed(1, 180'000, 15'000), kClosedMs);
  ASSERT_EQ(detector_.judge(kDueMs).size(), 1u);
}

TEST_F(DetectorTest, ASpareRecordOfOneConnectionDoesNotPayForAnother) {
  detector_.on_flow(opened(1), 0);
  detector_.on_flow(opened(2), 0);
  detector_.on_record(recorded(1, 500'000, 0));
  detector_.on_flow(closed(1, 100'000, 0), kClosedMs);
  detector_.on_flow(closed(2, 100'000, 0), kClosedMs);
  const auto alarms = detector_.judge(kDueMs);
  ASSERT_EQ(alarms.size(), 1u);
  EXPECT_EQ(alarms.front().flow_id, 2u);
}

// The first address failed in its handshake: that connection has no record and needs none.
TEST_F(DetectorTest, ARedialledConnectionNeedsNoRecord) {
  detector_.on_flow(opened(1), 0);
  detector_.on_flow(opened(2), 0);
  detector_.on_flow(closed(1, 600, 9'000), kClosedMs);
  detector_.on_record(recorded(2, 100'000, 9'000));
  detector_.on_flow(closed(2, 100'000, 9'000), kClosedMs);
  EXPECT_TRUE(detector_.judge(kDueMs).empty());
  EXPECT_EQ(detector_.counters().judged, 2u);
  EXPECT_EQ(detector_.counters().tolerated_bytes, 9'600u);
}

TEST_F(DetectorTest, WhatOpenedBeforeWeLookedIsCountedAndNotJudged) {
  detector_.on_record(recorded(1, 10, 10));
  detector_.on_flow(closed(1, 1'000'000, 1'000'000), kClosedMs);
  EXPECT_TRUE(detector_.judge(kDueMs).empty());
  EXPECT_EQ(detector_.counters().flows, 1u);
  EXPECT_EQ(detector_.counters().unjudged, 1u);
  EXPECT_EQ(detector_.counters().judged, 0u);
}

TEST_F(DetectorTest, WhatOpensWhileAnotherProcessOfOursRunsIsJudgedByItsOwnRecordsAlone) {
  detector_.on_flow(opened(1), 0);
  detector_.set_shared(true);
  detector_.on_flow(opened(2), 0);
  detector_.on_flow(opened(3), 0);
  detector_.set_shared(false);
  detector_.on_flow(opened(4), 0);
  detector_.on_record(recorded(3, 10, 0));  // ours, then: and another exchange has no record
  for (const uint64_t id : {1u, 2u, 3u, 4u})
    detector_.on_flow(closed(id, 100'000, 0), kClosedMs);
  std::vector<uint64_t> alarmed;
  for (const Detector::Alarm& alarm : detector_.judge(kDueMs))
    alarmed.push_back(alarm.flow_id);
  EXPECT_EQ(alarmed, (std::vector<uint64_t>{1, 3, 4}));
  EXPECT_EQ(detector_.counters().unjudged, 1u);
}

TEST_F(DetectorTest, ConnectionsToOthersAreCountedAboveAnAllowance) {
  for (const uint64_t bytes : {Detector::kOthersBytes, Detector::kOthersBytes + 1}) {
    detector_.on_flow(opened(bytes, kElsewhere), 0);
    detector_.on_flow(closed(bytes, bytes, 0, kElsewhere), kClosedMs);
  }
  EXPECT_TRUE(detector_.judge(kDueMs).empty());
  EXPECT_EQ(detector_.counters().others, 1u);
  EXPECT_EQ(detector_.counters().flows, 0u);
}

TEST_F(DetectorTest, FormerAddressesOfAProviderAreStillItsOwn) {
  detector_.add_provider("openai", kElsewhere);
  detector_.on_flow(opened(1), 0);
  detector_.on_flow(closed(1, 100'000, 0), kClosedMs);
  EXPECT_EQ(detector_.judge(kDueMs).size(), 1u);
}

TEST_F(DetectorTest, ClientsConnectionsAreNoneOfItsBusiness) {
  FlowRecord flow = opened(1);
  flow.event = FlowEvent::open;
  detector_.on_flow(flow, 0);
  flow = closed(1, 1'000'000, 1'000'000);
  flow.event = FlowEvent::close;
  detector_.on_flow(flow, kClosedMs);
  EXPECT_TRUE(detector_.judge(kDueMs).empty());
  EXPECT_EQ(detector_.counters().flows, 0u);
}

TEST_F(DetectorTest, LostEventsAreToldAndACloseThatIsMissingRaisesNoAlarm) {
  detector_.on_flow(opened(1), 0);
  detector_.on_lost(3);
  EXPECT_TRUE(detector_.judge(kDueMs).empty());
  EXPECT_TRUE(detector_.judge_all().empty());
  EXPECT_EQ(detector_.counters().events_lost, 3u);
  EXPECT_EQ(detector_.open(), 1u);
}

TEST_F(DetectorTest, TheEndJudgesWithoutGrace) {
  detector_.on_flow(opened(1), 0);
  detector_.on_flow(closed(1, 100'000, 0), kClosedMs);
  EXPECT_EQ(detector_.judge_all().size(), 1u);
}

TEST_F(DetectorTest, RemembersABoundedNumberOfConnections) {
  for (uint64_t id = 1; id <= Detector::kFlowsMax + 1; ++id)
    detector_.on_flow(opened(id), 0);
  EXPECT_EQ(detector_.open(), Detector::kFlowsMax);
  detector_.on_flow(closed(1, 100'000, 0), kClosedMs);  // the oldest was forgotten
  detector_.on_flow(closed(2, 100'000, 0), kClosedMs);
  EXPECT_EQ(detector_.judge(kDueMs).size(), 1u);
  EXPECT_EQ(detector_.counters().unjudged, 1u);
}

}  // namespace
}  // namespace tollgate::daemon
