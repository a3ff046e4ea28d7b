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
#include "userspace/proxy/turn_metadata.h"

namespace tollgate::proxy {

// True for request fields that must not reach a provider.
bool is_stripped_request_field(std::string_view name, std::string_view connection_value);

// `path` is ours, after the "/v1" that the client sent. The result holds the provider's key.
// `fields` are more of ours, each with its line end.
std::string upstream_request_head(const Target& target, std::string_view method,
                                  std::string_view path, const codec::RequestHead& from,
                                  const MetadataRule& metadata, uint64_t body_bytes,
                                  std::string_view fields = {});
// The same for a WebSocket of our own to the provider; `key` is its Sec-WebSocket-Key.
std::string upstream_upgrade_head(const Target& target, std::string_view path,
                                  const codec::RequestHead& from, const MetadataRule& metadata,
                                  std::string_view key);

struct ClientFraming {
  bool chunked = false;
  uint64_t content_length = 0;
  bool close = false;  // the connection ends after this answer
  // Where another model answers than the client asked for: the asked one, for `openai-model`.
  std::string_view model_asked{};
  std::string_view fields{};  // more fields, each with its line end
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
  std::string_view caching = "no-store";
};
std::string local_answer(const LocalAnswer& answer, const RequestId& id);
// The head that turns a client's connection into a WebSocket.
std::string upgrade_answer(std::string_view accept, const RequestId& id);

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
