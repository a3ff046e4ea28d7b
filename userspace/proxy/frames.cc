#include "userspace/proxy/frames.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "userspace/base/random.h"
#include "userspace/base/text.h"

namespace tollgate::proxy {
namespace {

using nlohmann::json;

// Where a type stands in every event that is known; a plain search before a parse.
constexpr size_t kTypeWithinBytes = 64;

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

json headers_of(std::string_view fields) {
  json headers = json::object();
  while (!fields.empty()) {
    const size_t end = std::min(fields.find("\r\n"), fields.size());
    const std::string_view line = fields.substr(0, end);
    fields.remove_prefix(std::min(end + 2, fields.size()));
    const size_t colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    headers[std::string(line.substr(0, colon))] = std::string(line.substr(colon + 2));
  }
  return headers;
}

std::string frame_of(int status, json error, std::string_view fields) {
  return dump({{"type", "error"},
               {"status", status},
               {"error", std::move(error)},
               {"headers", headers_of(fields)}});
}

json window_of(const policy::Standing& standing) {
  return {{"used_percent", standing.used_percent},
          {"window_minutes", standing.window_minutes},
          {"reset_at", standing.resets_unix_s}};
}

bool names_type(std::string_view event, std::string_view quoted_type) {
  return event.substr(0, kTypeWithinBytes).find(quoted_type) != std::string_view::npos;
}

// Of a type that a plain search has found; a discarded value when it is not this one after all.
json parse_of_type(std::string_view event, std::string_view type) {
  json parsed = json::parse(event, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("type") || parsed["type"] != type) {
    return json(json::value_t::discarded);
  }
  return parsed;
}

}  // namespace

std::string error_frame(const policy::Refusal& refusal, std::string_view fields) {
  const int status = policy::shape_of(refusal.code).http_status;
  json body = json::parse(policy::refusal_body(refusal), nullptr, false);
  TG_ASSERT(body.is_object());
  return frame_of(status == 403 ? 400 : status, std::move(body["error"]), fields);
}

std::string error_frame(int status, std::string_view answer, std::string_view fields) {
  json body = json::parse(answer, nullptr, false);
  if (body.is_object() && body.contains("error") && body["error"].is_object()) {
    return frame_of(status, std::move(body["error"]), fields);
  }
  constexpr size_t kTextBytesMax = 1024;
  return frame_of(status,
                  {{"type", "server_error"},
                   {"code", nullptr},
                   {"message", std::string(answer.substr(0, kTextBytesMax))}},
                  fields);
}

std::string rate_limits_event(const std::vector<policy::Standing>& standing) {
  if (standing.empty()) return {};
  json limits = {{"primary", window_of(standing[0])}};
  if (standing.size() > 1) limits["secondary"] = window_of(standing[1]);
  return dump({{"type", "codex.rate_limits"}, {"rate_limits", std::move(limits)}});
}

bool is_rate_limits_event(std::string_view event) {
  return names_type(event, "\"codex.rate_limits\"");
}

std::optional<int> error_status(std::string_view event) {
  if (!names_type(event, "\"error\"")) return std::nullopt;
  const json parsed = parse_of_type(event, "error");
  if (parsed.is_discarded()) return std::nullopt;
  for (const char* name : {"status", "status_code"}) {
    if (!parsed.contains(name) || !parsed[name].is_number_unsigned()) continue;
    const auto status = parsed[name].get<uint64_t>();
    if (status >= 300 && status < 600) return static_cast<int>(status);
  }
  return std::nullopt;
}

std::string prewarm_event(std::string_view type, std::string_view response_id,
                          std::string_view model) {
  const bool completed = type == "response.completed";
  json response = {{"id", response_id},
                   {"object", "response"},
                   {"status", completed ? "completed" : "in_progress"},
                   {"model", model},
                   {"output", json::array()},
                   {"usage", nullptr}};
  if (completed) {
    response["usage"] = {{"input_tokens", 0},
                         {"input_tokens_details", {{"cached_tokens", 0}}},
                         {"output_tokens", 0},
                         {"output_tokens_details", {{"reasoning_tokens", 0}}},
                         {"total_tokens", 0}};
  }
  return dump({{"type", type}, {"response", std::move(response)}});
}

std::string random_websocket_key() {
  uint8_t random[16];
  fill_random(std::as_writable_bytes(std::span(random)));
  return base64(random);
}

}  // namespace tollgate::proxy
