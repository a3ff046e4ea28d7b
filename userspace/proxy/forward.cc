#include "userspace/proxy/forward.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstring>

namespace tollgate::proxy {
namespace {

// Lower case, sorted for reading only.
constexpr std::array<std::string_view, 26> kStrippedRequestFields = {
    "accept-encoding",  // the answer must be readable: usage is in it
    "api-key",
    "authorization",
    "cf-connecting-ip",
    "client-ip",
    "content-length",
    "cookie",
    "expect",
    "fastly-client-ip",
    "forwarded",
    "host",
    "ocp-apim-subscription-key",
    "openai-organization",
    "openai-project",
    "proxy-authorization",
    "remote-user",
    "true-client-ip",
    "upgrade",
    "via",
    "x-api-key",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-goog-api-key",
    "x-real-ip",
    "x-remote-user",
    "x-user",
};
constexpr std::array<std::string_view, 7> kStrippedRequestPrefixes = {
    "sec-websocket-",   "x-forwarded-", "x-original-", "x-auth-",
    "x-authenticated-", "x-tollgate-",  "x-envoy-",
};

constexpr std::array<std::string_view, 8> kStrippedResponseFields = {
    "content-encoding",  // what is metered is relayed plain
    "content-length",   "openai-organization", "openai-project", "set-cookie",
    "x-models-etag",  // of a catalogue that is not the one we show
    "alt-svc",        // HTTP/3 at the provider would walk around the gateway
    "x-request-id",   // ours names the request; the provider's goes on beside it
};

// A person's limits here are ours to tell, not the provider's about its own account.
constexpr std::array<std::string_view, 6> kStrippedResponsePrefixes = {
    "x-codex-primary-",     "x-codex-secondary-",  "x-codex-credits-",
    "x-codex-active-limit", "x-codex-rate-limit-", "x-codex-promo-message",
};

// Codex waits in silence for as long as Retry-After says; a person must not sit before it.
constexpr int kRetryAfterSecondsMax = 10;

// Codex takes an answer of more than 100 fields for none and asks 30 times; ours come on top.
constexpr int kForwardedFieldsMax = 80;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  });
  return out;
}

template <size_t N>
bool contains(const std::array<std::string_view, N>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

template <size_t N>
bool has_prefix(const std::array<std::string_view, N>& prefixes, std::string_view name) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](std::string_view prefix) { return name.starts_with(prefix); });
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

// All Connection fields as one list (RFC 9110 5.3).
std::string connection_options(const std::vector<codec::Field>& fields) {
  std::string options;
  for (const codec::Field& field : fields) {
    if (codec::equals_ignoring_case(field.name, "connection")) {
      options.append(field.value).append(",");
    }
  }
  return options;
}

bool is_long_retry_after(std::string_view name, std::string_view value) {
  if (name != "retry-after") return false;
  int seconds = 0;
  const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  return failure != std::errc{} || end != value.data() + value.size() ||
         seconds > kRetryAfterSecondsMax;
}

std::string begin_upstream_head(const Target& target, std::string_view method,
                                std::string_view path, const codec::RequestHead& from,
                                const MetadataRule& metadata) {
  std::string out;
  constexpr size_t kUsualBytes = 2048;
  out.reserve(kUsualBytes);
  out.append(method).append(" ").append(target.path_prefix).append(path).append(" HTTP/1.1\r\n");
  append_field(out, "host", target.authority);
  const std::string connection = connection_options(from.fields);
  for (const auto& field : from.fields) {
    if (is_stripped_request_field(field.name, connection)) continue;
    if (metadata.mode == policy::TurnMetadata::forward) {
      append_field(out, field.name, field.value);
    } else if (const auto value = forwarded_value(metadata, lower(field.name), field.value)) {
      append_field(out, field.name, *value);
    }
  }
  return out;
}

std::string end_upstream_head(const Target& target, std::string out) {
  // It does not grow any more once the key is in it: no copy of the key is left behind.
  constexpr size_t kFieldBytes = 64;
  out.reserve(out.size() + kFieldBytes + target.key->reveal().size());
  out.append("authorization: Bearer ").append(target.key->reveal()).append("\r\n\r\n");
  return out;
}

}  // namespace

bool is_stripped_request_field(std::string_view name, std::string_view connection_value) {
  if (codec::is_hop_by_hop(name, connection_value)) return true;
  const std::string folded = lower(name);
  return contains(kStrippedRequestFields, folded) || has_prefix(kStrippedRequestPrefixes, folded);
}

std::string upstream_request_head(const Target& target, std::string_view method,
                                  std::string_view path, const codec::RequestHead& from,
                                  const MetadataRule& metadata, uint64_t body_bytes,
                                  std::string_view fields) {
  std::string out = begin_upstream_head(target, method, path, from, metadata);
  out.append(fields);
  append_field(out, "accept-encoding", "identity");
  append_field(out, "content-length", std::to_string(body_bytes));
  return end_upstream_head(target, std::move(out));
}

std::string upstream_upgrade_head(const Target& target, std::string_view path,
                                  const codec::RequestHead& from, const MetadataRule& metadata,
                                  std::string_view key) {
  std::string out = begin_upstream_head(target, "GET", path, from, metadata);
  append_field(out, "connection", "Upgrade");
  append_field(out, "upgrade", "websocket");
  append_field(out, "sec-websocket-version", "13");
  append_field(out, "sec-websocket-key", key);
  return end_upstream_head(target, std::move(out));
}

std::string client_response_head(const codec::ResponseHead& from, const RequestId& id,
                                 const ClientFraming& framing) {
  std::string out;
  out.reserve(512);
  out.append("HTTP/1.1 ").append(std::to_string(from.status)).append(" ");
  out.append(reason_phrase(from.status)).append("\r\n");
  const std::string connection = connection_options(from.fields);
  int forwarded = 0;
  for (const auto& field : from.fields) {
    if (codec::is_hop_by_hop(field.name, connection)) continue;
    const std::string folded = lower(field.name);
    if (folded == "x-request-id") append_field(out, "x-upstream-request-id", field.value);
    if (contains(kStrippedResponseFields, folded) ||
        has_prefix(kStrippedResponsePrefixes, folded)) {
      continue;
    }
    // Codex takes another name here for a rerouting of a flagged account.
    if (!framing.model_asked.empty() && folded == "openai-model") {
      append_field(out, field.name, framing.model_asked);
      continue;
    }
    if (is_long_retry_after(folded, field.value)) continue;
    // The first ones; the type is needed wherever it stands.
    if (folded != "content-type" && ++forwarded > kForwardedFieldsMax) continue;
    append_field(out, field.name, field.value);
  }
  append_field(out, "x-request-id", to_string(id));
  if (framing.chunked) {
    append_field(out, "transfer-encoding", "chunked");
  } else {
    append_field(out, "content-length", std::to_string(framing.content_length));
  }
  if (framing.close) append_field(out, "connection", "close");
  out.append(framing.fields).append("\r\n");
  return out;
}

std::string local_answer(const LocalAnswer& answer, const RequestId& id) {
  std::string out;
  out.reserve(256 + answer.body.size());
  out.append("HTTP/1.1 ").append(std::to_string(answer.status)).append(" ");
  out.append(reason_phrase(answer.status)).append("\r\n");
  append_field(out, "content-type", "application/json");
  append_field(out, "cache-control", answer.caching);
  append_field(out, "x-request-id", to_string(id));
  // Of a 304 it would be the length of what is not sent (RFC 9110 8.6).
  if (answer.status != 304) {
    append_field(out, "content-length", std::to_string(answer.body.size()));
  }
  // A 426 must name what it wants (RFC 9110 15.5.22).
  if (answer.status == 426) append_field(out, "upgrade", "HTTP/1.1");
  if (answer.close) append_field(out, "connection", "close");
  out.append(answer.fields).append("\r\n");
  if (!answer.head_only) out.append(answer.body);
  return out;
}

std::string upgrade_answer(std::string_view accept, const RequestId& id) {
  std::string out = "HTTP/1.1 101 Switching Protocols\r\n";
  append_field(out, "connection", "Upgrade");
  append_field(out, "upgrade", "websocket");
  append_field(out, "sec-websocket-accept", accept);
  append_field(out, "x-request-id", to_string(id));
  out.append("\r\n");
  return out;
}

std::string codex_limit_fields(const std::vector<policy::Standing>& standing,
                               std::string_view warning) {
  std::string out;
  constexpr std::string_view kNames[] = {"x-codex-primary-", "x-codex-secondary-"};
  for (size_t i = 0; i < std::min(standing.size(), std::size(kNames)); ++i) {
    const std::string name(kNames[i]);
    append_field(out, name + "used-percent", std::to_string(standing[i].used_percent));
    append_field(out, name + "window-minutes", std::to_string(standing[i].window_minutes));
    append_field(out, name + "reset-at", std::to_string(standing[i].resets_unix_s));
  }
  if (!warning.empty()) append_field(out, "x-tollgate-limit-warning", warning);
  return out;
}

std::string refusal_fields(const policy::Refusal& refusal) {
  std::string out;
  if (!refusal.promo.empty()) append_field(out, "x-codex-promo-message", refusal.promo);
  return out;
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 422:
      return "Unprocessable Content";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 500:
      return "Internal Server Error";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return status < 400 ? "OK" : "Error";
  }
}

void append_chunk(std::span<const std::byte> first, std::span<const std::byte> second,
                  std::vector<std::byte>& out) {
  const size_t size = first.size() + second.size();
  if (size == 0) return;
  char line[20];
  const auto [end, failure] = std::to_chars(line, line + 16, size, 16);
  TG_ASSERT(failure == std::errc{});
  char* tail = end;
  *tail++ = '\r';
  *tail++ = '\n';
  const auto put = [&out](std::span<const std::byte> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
  };
  out.reserve(out.size() + static_cast<size_t>(tail - line) + size + 2);
  put(std::as_bytes(std::span(line, static_cast<size_t>(tail - line))));
  put(first);
  put(second);
  put(std::as_bytes(std::span("\r\n", 2)));
}

}  // namespace tollgate::proxy
