// A record with every field different from its default and from its neighbours.
#pragma once

#include <random>
#include <string>

#include "ringbuf/record.h"

namespace tollgate::ringbuf {

inline UsageRecord sample_usage(uint64_t n = 1) {
  UsageRecord r;
  r.id = {0x0193'0000'0000'0000 + n, 0x1122334455667788 ^ n};
  r.started_unix_ms = 1'700'000'000'000 + static_cast<int64_t>(n);
  r.first_byte_ms = 321;
  r.duration_ms = 4321;
  r.peer_id = 7;
  r.peer_address = "10.99.0.2";
  r.user = "alice@example.com";
  r.groups = {"engineering", "on-call"};
  r.policy = "engineering-codex";
  r.provider = "openai";
  r.key_name = "main";
  r.endpoint = "POST /v1/responses";
  r.model_asked = "auto";
  r.model_served = "gpt-6-luna";
  r.model_reported = "gpt-6-luna-2026-09-01";
  r.tier = "default";
  r.input_tokens = 12'000;
  r.cached_tokens = 9'000;
  r.cache_write_tokens = 100;
  r.output_tokens = 800;
  r.reasoning_tokens = 300;
  r.cost = {12'345'678};
  r.price_version = "2026-11-01";
  r.outcome = Outcome::incomplete;
  r.refusal_code = "none";
  r.http_status = 200;
  r.estimated = true;
  r.events = 42;
  r.bytes_up = 65'536;
  r.bytes_down = 131'072;
  r.response_id = "resp_0123";
  r.session_id = "0199-session";
  r.thread_id = "0199-thread";
  r.subagent = "review";
  r.flow_id = 0xfeed'0000'0000'0001;
  r.hold_input_tokens = 13'000;
  r.hold_output_tokens = 2'000;
  r.hold_cost = {23'456'789};
  r.tool_calls = 5;
  r.settled_unix_ms = 1'700'000'004'000 + static_cast<int64_t>(n);
  r.settled_window_ms = 1'700'000'005'000 + static_cast<int64_t>(n);
  r.upstream_flow_id = 0xfeed'0000'0000'0002;
  r.upstream_bytes_up = 66'000;
  r.upstream_bytes_down = 132'000;
  return r;
}

// What was written of sample_usage(n) when it was admitted.
inline HoldRecord sample_hold(uint64_t n = 1) {
  HoldRecord r{sample_usage(n)};
  r.request.output_tokens = 0;
  r.request.cost = {};
  r.request.settled_unix_ms = 0;
  r.request.settled_window_ms = 0;
  r.request.upstream_flow_id = 0;
  r.request.upstream_bytes_up = 0;
  r.request.upstream_bytes_down = 0;
  return r;
}

inline FlowRecord sample_flow() {
  FlowRecord r;
  r.event = FlowEvent::close;
  r.flow_id = 99;
  r.monotonic_ns = 123'456'789;
  r.tag = {7, 3};
  r.ifindex = 4;
  r.remote = {*parse_ip("10.99.0.2"), 40'000};
  r.local = {*parse_ip("fd99::1"), 443};
  r.bytes_received = 1000;
  r.bytes_sent = 2000;
  r.srtt_us = 350;
  return r;
}

// Any record that encode() keeps whole, edge values included.
inline UsageRecord random_usage(std::mt19937_64& random) {
  const auto number = [&] {
    const uint64_t bits = random();
    return bits % 8 == 0 ? UINT64_MAX : bits >> (random() % 64);
  };
  const auto text = [&](size_t max) {
    std::string value(random() % 4 == 0 ? max : random() % (max / 8), '\0');
    for (char& c : value)
      c = static_cast<char>(random());
    return value;
  };
  UsageRecord r;
  r.id = {number(), number()};
  for (auto* n : {&r.started_unix_ms, &r.first_byte_ms, &r.duration_ms, &r.cost.value,
                  &r.hold_cost.value, &r.settled_unix_ms, &r.settled_window_ms}) {
    *n = static_cast<int64_t>(number());
  }
  for (auto* n : {&r.input_tokens, &r.cached_tokens, &r.cache_write_tokens, &r.output_tokens,
                  &r.reasoning_tokens, &r.events, &r.bytes_up, &r.bytes_down, &r.flow_id,
                  &r.hold_input_tokens, &r.hold_output_tokens, &r.tool_calls, &r.upstream_flow_id,
                  &r.upstream_bytes_up, &r.upstream_bytes_down}) {
    *n = number();
  }
  r.peer_id = static_cast<uint32_t>(number());
  r.http_status = static_cast<int32_t>(number());
  r.estimated = random() % 2 == 0;
  r.outcome = static_cast<Outcome>(1 + random() % 8);
  for (auto* t : {&r.peer_address, &r.user, &r.policy, &r.provider, &r.key_name, &r.endpoint,
                  &r.model_asked, &r.model_served, &r.model_reported, &r.tier, &r.price_version,
                  &r.refusal_code, &r.response_id}) {
    *t = text(kTextBytesMax);
  }
  for (auto* t : {&r.session_id, &r.thread_id, &r.subagent})
    *t = text(kClaimBytesMax);
  for (uint64_t i = random() % 10; i > 0; --i)
    r.groups.push_back(text(64));
  return r;
}

}  // namespace tollgate::ringbuf
