#include "ringbuf/kernel_reader.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "bpf/abi.h"

namespace tollgate::ringbuf {
namespace {

tg_flow_event sample() {
  tg_flow_event raw{};
  raw.flow_id = 11;
  raw.monotonic_ns = 22;
  raw.bytes_received = 33;
  raw.bytes_sent = 44;
  raw.tag = {5, 6};
  raw.ifindex = 7;
  raw.srtt_us = 88;
  const auto remote = parse_ip("10.99.0.2");
  const auto local = parse_ip("fd99::1");
  std::memcpy(raw.remote_addr, remote->bytes.data(), 16);
  std::memcpy(raw.local_addr, local->bytes.data(), 16);
  raw.remote_port = 40000;
  raw.local_port = 443;
  raw.event = TG_EVENT_CLOSE;
  return raw;
}

std::vector<std::byte> bytes_of(const tg_flow_event& raw) {
  std::vector<std::byte> bytes(sizeof raw);
  std::memcpy(bytes.data(), &raw, sizeof raw);
  return bytes;
}

TEST(FlowFromBytes, ReadsEveryField) {
  const auto record = flow_from_bytes(bytes_of(sample()));
  ASSERT_TRUE(record);
  FlowRecord expected;
  expected.event = FlowEvent::close;
  expected.flow_id = 11;
  expected.monotonic_ns = 22;
  expected.tag = {5, 6};
  expected.ifindex = 7;
  expected.remote = *parse_endpoint("10.99.0.2:40000");
  expected.local = *parse_endpoint("[fd99::1]:443");
  expected.bytes_received = 33;
  expected.bytes_sent = 44;
  expected.srtt_us = 88;
  EXPECT_EQ(*record, expected);
}

TEST(FlowFromBytes, RefusesEveryOtherLength) {
  auto bytes = bytes_of(sample());
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_FALSE(flow_from_bytes(std::span(bytes).first(n))) << n;
  }
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(flow_from_bytes(bytes));
}

TEST(FlowFromBytes, KnowsFiveKindsOfEvents) {
  auto raw = sample();
  raw.tag = {};
  for (int kind = 0; kind < 256; ++kind) {
    raw.event = static_cast<__u8>(kind);
    EXPECT_EQ(flow_from_bytes(bytes_of(raw)).has_value(), kind >= 1 && kind <= 5) << kind;
  }
}

TEST(FlowFromBytes, RefusesPaddingAndAnUnknownPeerWithAnId) {
  auto padded = sample();
  padded.pad[2] = 1;
  EXPECT_FALSE(flow_from_bytes(bytes_of(padded)));
  auto unknown = sample();
  unknown.event = TG_EVENT_PEER_UNKNOWN;
  EXPECT_FALSE(flow_from_bytes(bytes_of(unknown)));
  EXPECT_FALSE(flow_from_bytes(std::vector<std::byte>(sizeof unknown, std::byte{0xff})));
}

}  // namespace
}  // namespace tollgate::ringbuf
