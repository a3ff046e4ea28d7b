// The JSON messages of our own on a client's WebSocket, in the shapes that Codex reads (measured).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/budget.h"
#include "policy/decision.h"

namespace tollgate::proxy {

// {"type":"error","status":…,"error":{…},"headers":{…}}. `fields` are header lines, each with its
// line end. A 403 is told as 400: over WebSocket Codex asks again five times after the first, and
// shows the sentence at once after the second.
std::string error_frame(const policy::Refusal& refusal, std::string_view fields);
// The same for a provider's answer by HTTP: its error as it came, or its text.
std::string error_frame(int status, std::string_view answer, std::string_view fields);

// The state of the limits before an answer; empty when there are none. Codex reads it on WebSocket
// only, in place of the response header fields of HTTP.
std::string rate_limits_event(const std::vector<policy::Standing>& standing);
bool is_rate_limits_event(std::string_view event);

// The status of an error event of the provider's; nothing when it is none.
std::optional<int> error_status(std::string_view event);

// "response.created" or "response.completed" of an answer for which nothing was to be generated.
std::string prewarm_event(std::string_view type, std::string_view response_id,
                          std::string_view model);

// A Sec-WebSocket-Key that nobody can foretell.
std::string random_websocket_key();

}  // namespace tollgate::proxy
