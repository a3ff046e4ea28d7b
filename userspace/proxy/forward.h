// Writes message heads anew from their parsed fields, never as copied bytes. End-to-end fields
// pass, known or not; what ends at this hop, what is the client's credential, and what could name
// an identity or an account does not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "policy/budget.h"
#include "policy/decision.h"
#include "userspace/base/ids.h"
#include "userspace/codec/http1.h"
#include "userspace/proxy/snapshot.h"

namespace tollgate::proxy {

// True for request fields that must not reach a provider.
bool is_stripped_request_field(std::string_view name, std::string_view connection_value);

// `path` is ours, after the "/v1" that the client sent. The result holds the provider's key.
std::string upstream_request_head(const Target& target, std::string_view method,
                                  std::string_view path, const codec::RequestHead& from,
                                  uint64_t body_bytes);

struct ClientFraming {
  bool chunked = false;
  uint64_t content_length = 0;
  bool close = false;          // the connection ends after this answer
  bool model_changed = false;  // the client must not see that another model answered
  std::string_view fields{};   // more fields, each with its line end
};
std::string client_response_head(const codec::ResponseHead& from, const RequestId& id,
                                 const ClientFraming& framing);

// An answer of our own.
struct LocalAnswer {
  int status = 200;
  std::string body;  // JSON
  bool head_only = false;
  bool close = false;
  std::string fields{};  // more fields, each with its line end
};
std::string local_answer(const LocalAnswer& answer, const RequestId& id);

// The state of the limits in the fields that Codex reads ("x-codex-primary-*" of the one used
// furthest, "x-codex-secondary-*" of the next), and `warning` for programs.
std::string codex_limit_fields(const std::vector<policy::Standing>& standing,
                               std::string_view warning);
// What a refusal says in fields: the words that Codex shows for a used-up limit.
std::string refusal_fields(const policy::Refusal& refusal);

std::string_view reason_phrase(int status);

// One HTTP/1.1 chunk around two runs of bytes, appended to `out`; nothing when both are empty.
void append_chunk(std::span<const std::byte> first, std::span<const std::byte> second,
                  std::vector<std::byte>& out);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace tollgate::proxy
