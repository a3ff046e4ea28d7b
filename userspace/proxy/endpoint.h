// What this gateway serves: one closed list of methods and paths. Everything else is refused, so
// that the injected key opens nothing that is not metered here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "userspace/codec/api.h"

namespace tollgate::proxy {

enum class Operation : uint8_t {
  infer,      // a body that asks a model for something: inspected, priced, metered
  stored,     // something about one stored response: free, and only for whoever made it
  models,     // answered here
  probe,      // HEAD /v1/responses, answered here
  websocket,  // GET /v1/responses with an upgrade
};

struct Route {
  Operation operation = Operation::infer;
  codec::Api api = codec::Api::responses;
  bool streams = false;  // its answer may be an event stream
  bool is_compaction = false;
  std::string upstream_path;  // below the provider's prefix
  std::string object_id;      // of the response or the model that the path names, else empty
};

enum class RouteFault : uint8_t { none, unknown_path, wrong_method };

struct RouteResult {
  RouteFault fault = RouteFault::none;
  Route route;
};

// `path` as it was sent: it is normalised first (RFC 3986 6.2.2: percent-encoded unreserved
// characters and dot segments), and what then still holds an escape or an empty segment is unknown.
RouteResult find_route(std::string_view method, std::string_view path, bool upgrade);

// The normal form of a path; nothing when it has none that is served here.
std::optional<std::string> normal_path(std::string_view path);

// Of a query string, what may go to the provider with a question about a stored response; with its
// leading '?', or empty. Whatever else a query says is not forwarded: credentials travel in
// queries.
std::string stored_query(std::string_view query);

}  // namespace tollgate::proxy
