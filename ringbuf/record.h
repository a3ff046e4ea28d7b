// The one event format: kernel flow events and proxy usage events share this header. Versioned;
// little-endian; strings are length-prefixed; pure (no I/O). Rings, the ledger and `tail` carry it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "userspace/base/ids.h"
#include "userspace/base/ip.h"
#include "userspace/base/result.h"
#include "userspace/base/units.h"

namespace tollgate::ringbuf {

inline constexpr uint16_t kRecordVersion = 3;

enum class RecordKind : uint16_t { usage = 1, flow = 2, hold = 3 };

enum class Outcome : uint8_t {
  completed = 1,
  failed,          // response.failed
  incomplete,      // response.incomplete
  client_abort,    // the client left before the terminal event
  cut,             // the gateway ended it (drain, timeout, revocation)
  upstream_error,  // 4xx/5xx, reset or end without a terminal event
  refused,         // by us; refusal_code says why
  recovered,       // the gateway died while it ran: settled at its hold by the next start
};
std::string_view to_string(Outcome outcome);
std::optional<Outcome> parse_outcome(std::string_view name);

struct UsageRecord {
  RequestId id;
  int64_t started_unix_ms = 0;
  int64_t first_byte_ms = -1;  // after start, monotonic; -1: none came
  int64_t duration_ms = 0;
  uint32_t peer_id = 0;
  std::string peer_address;
  std::string user;
  std::vector<std::string> groups;
  std::string policy;
  std::string provider;
  std::string key_name;  // never the key
  std::string endpoint;  // "POST /v1/responses"
  std::string model_asked;
  std::string model_served;
  std::string model_reported;
  std::string tier;
  uint64_t input_tokens = 0;
  uint64_t cached_tokens = 0;
  uint64_t cache_write_tokens = 0;
  uint64_t output_tokens = 0;
  uint64_t reasoning_tokens = 0;
  NanoUsd cost;
  std::string price_version;
  Outcome outcome = Outcome::completed;
  std::string refusal_code;  // policy::RefusalShape::name, empty unless refused
  int32_t http_status = 0;   // as sent to the client
  bool estimated = false;    // tokens are ours, not the provider's
  uint64_t events = 0;       // SSE events relayed
  uint64_t bytes_up = 0;     // request body
  uint64_t bytes_down = 0;   // response body
  std::string response_id;
  // Client claims, for reports only; at most kClaimBytesMax each.
  std::string session_id;
  std::string thread_id;
  std::string subagent;
  uint64_t flow_id = 0;  // socket cookie of the client's connection
  // What was held when it was admitted; 0 for what never was.
  uint64_t hold_input_tokens = 0;
  uint64_t hold_output_tokens = 0;
  NanoUsd hold_cost;
  uint64_t tool_calls = 0;  // of hosted tools, as the provider lists them
  // When it was settled, by the wall clock and by the clock that limits' windows run on
  // (userspace/base/window_clock.h); 0 in a hold.
  int64_t settled_unix_ms = 0;
  int64_t settled_window_ms = 0;
  // Socket cookie of the connection to the provider, 0 where there was none, and the bytes of TCP
  // payload on it that belong to this exchange, handshake included where it made the connection.
  uint64_t upstream_flow_id = 0;
  uint64_t upstream_bytes_up = 0;
  uint64_t upstream_bytes_down = 0;

  bool operator==(const UsageRecord&) const = default;
};

// upstream_*: a connection that the daemon made; no tag.
enum class FlowEvent : uint8_t { open = 1, close, peer_unknown, upstream_open, upstream_close };

struct FlowRecord {
  FlowEvent event = FlowEvent::open;
  uint64_t flow_id = 0;  // socket cookie
  int64_t monotonic_ns = 0;
  PeerTag tag;
  uint32_t ifindex = 0;
  Endpoint remote;
  Endpoint local;
  uint64_t bytes_received = 0;  // of a close only: TCP payload
  uint64_t bytes_sent = 0;
  uint32_t srtt_us = 0;

  bool operator==(const FlowRecord&) const = default;
};

// An admitted request before its first byte goes to the provider: the request's side of its record,
// with the hold. The usage record of the same id resolves it.
struct HoldRecord {
  UsageRecord request;
  bool operator==(const HoldRecord&) const = default;
};

struct Record {
  uint64_t sequence = 0;  // per ring, without gaps: a reader sees a loss
  std::variant<UsageRecord, FlowRecord, HoldRecord> body;
  bool operator==(const Record&) const = default;
};

// Upper bound of encode()'s output, and of what decode() reads. The bounds below make the largest
// record fit: thirteen texts, three claims and the numbers leave room for at least one group.
inline constexpr size_t kRecordBytesMax = 8 * 1024;
inline constexpr size_t kTextBytesMax = 512;
inline constexpr size_t kClaimBytesMax = 128;  // session_id, thread_id, subagent
inline constexpr size_t kGroupsMax = 256;

// Appends to `out`; never fails. Text over its bound is cut at a UTF-8 boundary, and of the groups
// as many are kept, from the first, as the record has room for: the record itself is never lost.
void encode(const Record& record, std::vector<std::byte>& out);
// Refuses another version, an unknown kind or enum value, text over its bound, trailing or missing
// bytes. What it accepts is exactly what encode() writes: encoding the result gives the same bytes.
// One exception: a hold of version 2 is read, too, since a crash before an upgrade leaves such in
// the ledger.
Result<Record> decode(std::span<const std::byte> bytes);

}  // namespace tollgate::ringbuf
