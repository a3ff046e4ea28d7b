#include "userspace/proxy/endpoint.h"

#include <algorithm>
#include <array>
#include <vector>

#include "userspace/codec/chars.h"

namespace tollgate::proxy {
namespace {

using codec::Api;

constexpr std::string_view kCompaction = "/responses/compact";

struct Row {
  std::string_view method;
  std::string_view path;  // below "/v1"; "*" stands for one identifier
  Operation operation;
  Api api = Api::responses;
  bool streams = false;
};

constexpr std::array<Row, 14> kRows = {{
    {"POST", "/responses", Operation::infer, Api::responses, true},
    {"GET", "/responses", Operation::websocket},
    {"HEAD", "/responses", Operation::probe},
    {"POST", kCompaction, Operation::infer},
    {"GET", "/responses/*", Operation::stored},
    {"DELETE", "/responses/*", Operation::stored},
    {"POST", "/responses/*/cancel", Operation::stored},
    {"GET", "/responses/*/input_items", Operation::stored},
    {"GET", "/models", Operation::models},
    {"HEAD", "/models", Operation::models},
    {"GET", "/models/*", Operation::models},
    {"POST", "/chat/completions", Operation::infer, Api::chat_completions, true},
    {"POST", "/embeddings", Operation::infer, Api::embeddings},
    {"POST", "/images/generations", Operation::infer, Api::images},
}};

constexpr std::string_view kVersion = "/v1";
constexpr size_t kIdBytesMax = 128;
constexpr std::array<std::string_view, 6> kStoredParameters = {"after", "before", "include",
                                                               "limit", "order",  "include[]"};

bool is_unreserved(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

bool is_id(std::string_view text) {
  return !text.empty() && text.size() <= kIdBytesMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_unreserved(c) || c == ':'; });
}

std::vector<std::string_view> segments_of(std::string_view path) {
  std::vector<std::string_view> segments;
  while (!path.empty()) {
    path.remove_prefix(1);  // each begins with a slash
    const size_t end = std::min(path.find('/'), path.size());
    segments.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return segments;
}

// The identifier goes to `id`.
bool matches(std::string_view pattern, const std::vector<std::string_view>& path,
             std::string_view& id) {
  const std::vector<std::string_view> wanted = segments_of(pattern);
  if (wanted.size() != path.size()) return false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == "*") {
      if (!is_id(path[i])) return false;
      id = path[i];
    } else if (wanted[i] != path[i]) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::optional<std::string> normal_path(std::string_view path) {
  std::string plain;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '%') {
      plain += path[i];
      continue;
    }
    if (path.size() - i < 3) return std::nullopt;
    const int high = codec::hex_value(path[i + 1]);
    const int low = codec::hex_value(path[i + 2]);
    const char c = static_cast<char>(high * 16 + low);
    if (high < 0 || low < 0 || !is_unreserved(c)) return std::nullopt;
    plain += c;
    i += 2;
  }
  if (!plain.starts_with('/')) return std::nullopt;
  std::vector<std::string_view> kept;
  for (const std::string_view segment : segments_of(plain)) {
    if (segment.empty()) return std::nullopt;
    if (segment == ".") continue;
    if (segment != "..") {
      kept.push_back(segment);
    } else if (kept.empty()) {
      return std::nullopt;
    } else {
      kept.pop_back();
    }
  }
  std::string normal;
  for (const std::string_view segment : kept)
    normal.append("/").append(segment);
  return normal;
}

RouteResult find_route(std::string_view method, std::string_view path, bool upgrade) {
  const auto normal = normal_path(path);
  if (!normal || !normal->starts_with(kVersion)) return {RouteFault::unknown_path, {}};
  const std::string_view below = std::string_view(*normal).substr(kVersion.size());
  if (!below.starts_with('/')) return {RouteFault::unknown_path, {}};
  const std::vector<std::string_view> segments = segments_of(below);
  bool path_known = false;
  for (const Row& row : kRows) {
    std::string_view id;
    if (!matches(row.path, segments, id)) continue;
    // "/responses/compact" is no response's name, whatever the method.
    if (row.path == "/responses/*" && id == "compact") continue;
    path_known = true;
    if (row.method != method || (row.operation == Operation::websocket && !upgrade)) continue;
    return {RouteFault::none,
            {.operation = row.operation,
             .api = row.api,
             .streams = row.streams,
             .is_compaction = row.path == kCompaction,
             .upstream_path = std::string(below),
             .object_id = std::string(id)}};
  }
  return {path_known ? RouteFault::wrong_method : RouteFault::unknown_path, {}};
}

std::string stored_query(std::string_view query) {
  std::string kept;
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const std::string_view name = pair.substr(0, std::min(pair.find('='), pair.size()));
    if (std::find(kStoredParameters.begin(), kStoredParameters.end(), name) ==
        kStoredParameters.end()) {
      continue;
    }
    kept.append(kept.empty() ? "?" : "&").append(pair);
  }
  return kept;
}

}  // namespace tollgate::proxy
