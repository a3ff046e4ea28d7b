// What the gateway may say no with: one closed list. Each code has its HTTP status and the shape
// that the Codex client shows to a person as one sentence after one request (measured: the real
// client retries other shapes up to 30 times). Counters, the ledger's outcome and the answer all
// use this list; nothing is refused outside it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::policy {

enum class RefusalCode : uint8_t {
  // identity
  peer_unknown,      // no identity for this connection
  identity_changed,  // the tag's generation is no longer the snapshot's
  access_revoked,    // `tollgate revoke`, until `tollgate restore`
  // policy
  policy_none,        // the user has no policy at all
  model_denied,       // no policy of the user allows the model
  price_unknown,      // allowed, but the price file has no line for model or tier
  feature_denied,     // what policy or metering does not let a request ask for (background: true)
  input_over_policy,  // larger than the policy's max_input_bytes
  // budgets
  budget_exceeded,       // a limit is used up: 429 with the time it frees
  request_over_limit,    // more than a whole limit by itself: waiting does not help
  concurrency_exceeded,  // a limit on running requests: 503, the client tries again by itself
  // request
  endpoint_unknown,
  response_unknown,  // a stored response that this user did not make through this gateway
  method_not_allowed,
  host_mismatch,    // Host and SNI differ at an intercepted address
  upgrade_refused,  // WebSocket: 426, the one answer that makes Codex fall back at once
  // Of a WebSocket: what Codex answers with the whole request, and with a new connection.
  previous_response_unknown,
  websocket_too_old,
  head_malformed,
  head_too_large,
  body_required,  // no content-length and not chunked, or empty
  body_too_large,
  body_encoding,  // Content-Encoding we cannot inspect
  json_malformed,
  json_duplicate_key,
  model_missing,
  request_timeout,
  // gateway and upstream trouble: transient, 503
  overloaded,  // a configured bound (connections, body memory) is reached
  draining,
  unmetered_traffic,  // the detector saw bytes without a record, and on_unmetered = "refuse"
  store_unavailable,  // the ledger cannot record: nothing is admitted
  upstream_unreachable,
  upstream_certificate,
  upstream_key_rejected,  // the provider's 401/403 about our key; its text stays here
  upstream_timeout,
  upstream_protocol,  // an answer that is not HTTP/1.1 as we accept it
};
inline constexpr size_t kRefusalCodeCount = 36;

struct RefusalShape {
  RefusalCode code;
  std::string_view name;  // stable: counters, ledger, CLI
  int http_status;
  std::string_view error_type;  // `error.type` of the JSON body
  std::string_view error_code;  // `error.code`: what makes Codex stop and show the message
};

// The table row of a code; `find_refusal` is the way back from a name.
const RefusalShape& shape_of(RefusalCode code);
std::optional<RefusalCode> find_refusal(std::string_view name);

struct Refusal {
  RefusalCode code;
  // What happened, to what, and what to do next; ends up before a developer's eyes.
  std::string message;
  std::string param;  // `error.param`, empty for null
  // budget_exceeded: when it frees (0: by itself never), and the words that Codex puts between
  // "You've hit your usage limit." and "try again at" (visible ASCII, no full stop at the end).
  int64_t resets_unix_s = 0;
  std::string promo{};
};

// The Codex-shaped JSON body: {"error":{"message","type","code","param"}}, with "resets_at" where a
// time is known. Message is escaped.
std::string refusal_body(const Refusal& refusal);

// What the client knows of the answer that a refusal ends.
struct BegunAnswer {
  std::string_view id;
  std::string_view model;
  int64_t created_unix_s = 0;
  uint64_t sequence_number = 0;  // of the event that comes next
};
// The event that ends a stream which has begun, where no status can say it any more. Its code is
// always the one that makes Codex stop and show the bare message.
std::string refusal_event(const Refusal& refusal, const BegunAnswer& answer);
// Its data alone: the whole of a WebSocket's message.
std::string refusal_event_data(const Refusal& refusal, const BegunAnswer& answer);

}  // namespace tollgate::policy
