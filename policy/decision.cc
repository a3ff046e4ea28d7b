#include "policy/decision.h"

#include <algorithm>
#include <array>

#include "userspace/base/result.h"

namespace tollgate::policy {
namespace {

constexpr std::string_view kInvalid = "invalid_request_error";
constexpr std::string_view kServer = "server_error";
// Codex shows the bare message of this code after one request, whatever it is about.
constexpr std::string_view kFinal = "invalid_prompt";

// In the order of the enum; shape_of checks it.
constexpr std::array<RefusalShape, kRefusalCodeCount> kShapes = {{
    {RefusalCode::peer_unknown, "peer_unknown", 400, kInvalid, kFinal},
    {RefusalCode::identity_changed, "identity_changed", 400, kInvalid, kFinal},
    {RefusalCode::access_revoked, "access_revoked", 400, kInvalid, kFinal},
    {RefusalCode::policy_none, "policy_none", 400, kInvalid, kFinal},
    {RefusalCode::model_denied, "model_denied", 403, "permission_error", "model_not_found"},
    {RefusalCode::price_unknown, "price_unknown", 400, kInvalid, kFinal},
    {RefusalCode::feature_denied, "feature_denied", 400, kInvalid, kFinal},
    {RefusalCode::input_over_policy, "input_over_policy", 400, kInvalid, kFinal},
    {RefusalCode::budget_exceeded, "budget_exceeded", 429, "usage_limit_reached",
     "budget_exceeded"},
    {RefusalCode::request_over_limit, "request_over_limit", 400, kInvalid, kFinal},
    {RefusalCode::concurrency_exceeded, "concurrency_exceeded", 503, kServer, "slow_down"},
    // The client's address or method is wrong, not its prompt: these keep the status that HTTP
    // gives them, and their own name as code.
    {RefusalCode::endpoint_unknown, "endpoint_unknown", 404, kInvalid, "endpoint_unknown"},
    {RefusalCode::response_unknown, "response_unknown", 404, kInvalid, "response_unknown"},
    {RefusalCode::method_not_allowed, "method_not_allowed", 405, kInvalid, "method_not_allowed"},
    {RefusalCode::host_mismatch, "host_mismatch", 421, kInvalid, "host_mismatch"},
    {RefusalCode::upgrade_refused, "upgrade_refused", 426, kInvalid, "upgrade_refused"},
    {RefusalCode::previous_response_unknown, "previous_response_unknown", 400, kInvalid,
     "previous_response_not_found"},
    {RefusalCode::websocket_too_old, "websocket_too_old", 400, kInvalid,
     "websocket_connection_limit_reached"},
    {RefusalCode::head_malformed, "head_malformed", 400, kInvalid, kFinal},
    {RefusalCode::head_too_large, "head_too_large", 400, kInvalid, kFinal},
    {RefusalCode::body_required, "body_required", 400, kInvalid, kFinal},
    {RefusalCode::body_too_large, "body_too_large", 400, kInvalid, kFinal},
    {RefusalCode::body_encoding, "body_encoding", 400, kInvalid, kFinal},
    {RefusalCode::json_malformed, "json_malformed", 400, kInvalid, kFinal},
    {RefusalCode::json_duplicate_key, "json_duplicate_key", 400, kInvalid, kFinal},
    {RefusalCode::model_missing, "model_missing", 400, kInvalid, kFinal},
    {RefusalCode::request_timeout, "request_timeout", 408, kInvalid, "request_timeout"},
    {RefusalCode::overloaded, "overloaded", 503, kServer, "overloaded"},
    {RefusalCode::draining, "draining", 503, kServer, "draining"},
    {RefusalCode::unmetered_traffic, "unmetered_traffic", 503, kServer, "unmetered_traffic"},
    {RefusalCode::store_unavailable, "store_unavailable", 503, kServer, "store_unavailable"},
    {RefusalCode::upstream_unreachable, "upstream_unreachable", 503, kServer,
     "upstream_unreachable"},
    {RefusalCode::upstream_certificate, "upstream_certificate", 503, kServer,
     "upstream_certificate"},
    {RefusalCode::upstream_key_rejected, "upstream_key_rejected", 503, kServer,
     "upstream_key_rejected"},
    {RefusalCode::upstream_timeout, "upstream_timeout", 503, kServer, "upstream_timeout"},
    {RefusalCode::upstream_protocol, "upstream_protocol", 503, kServer, "upstream_protocol"},
}};

// Length of the UTF-8 sequence at the start of `text`, 0 when it is not well formed (RFC 3629: no
// overlong form, no surrogate, nothing above U+10FFFF).
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;
  if (lead == 0xed && byte(1) > 0x9f) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

void append_escaped_ascii(std::string& out, char c) {
  static constexpr char kHex[] = "0123456789abcdef";
  const auto value = static_cast<unsigned char>(c);
  if (c == '"' || c == '\\') {
    out += '\\';
    out += c;
  } else if (value < 0x20 || value == 0x7f) {
    out += "\\u00";
    out += kHex[value >> 4];
    out += kHex[value & 0xf];
  } else {
    out += c;
  }
}

void append_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) {
      out += "\\ufffd";
      text.remove_prefix(1);
      continue;
    }
    if (length == 1) {
      append_escaped_ascii(out, text[0]);
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  out += '"';
}

}  // namespace

const RefusalShape& shape_of(RefusalCode code) {
  const auto index = static_cast<size_t>(code);
  TG_ASSERT(index < kShapes.size() && kShapes[index].code == code);
  return kShapes[index];
}

std::optional<RefusalCode> find_refusal(std::string_view name) {
  const auto row = std::find_if(kShapes.begin(), kShapes.end(),
                                [&](const RefusalShape& shape) { return shape.name == name; });
  if (row == kShapes.end()) return std::nullopt;
  return row->code;
}

std::string refusal_body(const Refusal& refusal) {
  const RefusalShape& shape = shape_of(refusal.code);
  std::string body = R"({"error":{"message":)";
  append_string(body, refusal.message);
  body += R"(,"type":)";
  append_string(body, shape.error_type);
  body += R"(,"code":)";
  append_string(body, shape.error_code);
  body += R"(,"param":)";
  if (refusal.param.empty()) {
    body += "null";
  } else {
    append_string(body, refusal.param);
  }
  if (refusal.resets_unix_s != 0) {
    body += R"(,"resets_at":)" + std::to_string(refusal.resets_unix_s);
  }
  body += "}}";
  return body;
}

std::string refusal_event_data(const Refusal& refusal, const BegunAnswer& answer) {
  std::string event = R"({"type":"response.failed","sequence_number":)";
  event += std::to_string(answer.sequence_number);
  event += R"(,"response":{"id":)";
  append_string(event, answer.id);
  event += R"(,"object":"response","created_at":)" + std::to_string(answer.created_unix_s);
  event += R"(,"status":"failed","model":)";
  append_string(event, answer.model);
  event += R"(,"output":[],"usage":null,"error":{"code":)";
  append_string(event, kFinal);
  event += R"(,"message":)";
  append_string(event, refusal.message);
  event += "}}}";
  return event;
}

std::string refusal_event(const Refusal& refusal, const BegunAnswer& answer) {
  return "event: response.failed\ndata: " + refusal_event_data(refusal, answer) + "\n\n";
}

}  // namespace tollgate::policy
