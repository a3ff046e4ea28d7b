// A line from a caller becomes a Request, or the reason why not.
#include <algorithm>
#include <set>
#include <vector>

#include "userspace/admin/arguments.h"
#include "userspace/admin/protocol.h"

namespace tollgate::admin {
namespace {

using nlohmann::json;

constexpr uint16_t kRecordFilter = kSince | kUntil | kUser | kModel | kOutcome;
constexpr uint16_t kGranted = kScope | kSubject | kUnit | kAmount | kFor;

// In the order of Verb.
constexpr VerbShape kVerbs[] = {
    {Verb::status, "status", 0, 0},
    {Verb::peers, "peers", 0, 0},
    {Verb::sessions, "sessions", 0, 0},
    {Verb::usage, "usage", kBy | kRecordFilter, 0},
    {Verb::records, "records", kRecordFilter, 0},
    {Verb::tail, "tail", 0, 0},
    {Verb::explain, "explain", kUser | kModel | kBodyBytes, kUser},
    {Verb::limits, "limits", kUser, 0},
    {Verb::adjustments, "adjustments", 0, 0},
    {Verb::unmetered, "unmetered", 0, 0},
    {Verb::grant, "grant", kGranted | kReason, kGranted},
    {Verb::reset, "reset", kScope | kSubject | kReason, kScope | kSubject},
    {Verb::revoke, "revoke", kSubject | kReason, kSubject},
    {Verb::restore, "restore", kSubject, kSubject},
    {Verb::acknowledge, "acknowledge", 0, 0},
    {Verb::reload, "reload", 0, 0},
    {Verb::version, "version", 0, 0},
};

// nlohmann keeps the last of two equal keys; a request that says two things is refused instead.
json parse_json(std::string_view line, bool& duplicate_key) {
  std::vector<std::set<std::string>> open;
  const auto watch = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) open.emplace_back();
    if (event == json::parse_event_t::object_end && !open.empty()) open.pop_back();
    if (event == json::parse_event_t::key && !open.empty()) {
      duplicate_key |= !open.back().insert(parsed.get<std::string>()).second;
    }
    return true;
  };
  return json::parse(line, watch, false);
}

std::variant<Request, Failure> read_request(const json& object) {
  for (const auto& [name, value] : object.items()) {
    if (name != "v" && name != "id" && name != "verb" && name != "args") {
      return bad_request("unknown field " + in_quotes(name), "a request has v, id, verb and args");
    }
  }
  const auto version = object.find("v");
  if (version == object.end() || integer_of(*version) != kProtocolVersion) {
    return bad_request("read v: not a protocol version spoken here", "send \"v\":1");
  }
  const auto id = object.find("id");
  if (id != object.end() && !integer_of(*id)) return bad_request("read id: not an integer");
  const auto verb = object.find("verb");
  if (verb == object.end() || !verb->is_string()) {
    return bad_request("read verb: missing or not a string");
  }
  const std::string& name = verb->get_ref<const std::string&>();
  const auto* const shape =
      std::find_if(std::begin(kVerbs), std::end(kVerbs),
                   [&name](const VerbShape& candidate) { return candidate.name == name; });
  if (shape == std::end(kVerbs)) {
    return Failure{ErrorCode::unknown_verb, "unknown verb " + in_quotes(name),
                   "is the daemon older than the caller?"};
  }
  Request request;
  request.verb = shape->verb;
  const auto args = object.find("args");
  if (auto failure = read_arguments(*shape, args == object.end() ? json::object() : *args, request))
    return *std::move(failure);
  return request;
}

}  // namespace

std::string_view to_string(Verb verb) {
  return kVerbs[static_cast<size_t>(verb)].name;
}

bool changes(Verb verb) {
  return verb == Verb::grant || verb == Verb::reset || verb == Verb::revoke ||
         verb == Verb::restore || verb == Verb::acknowledge || verb == Verb::reload;
}

ParsedRequest parse_request(std::string_view line) {
  ParsedRequest parsed;
  if (line.size() > kRequestBytesMax) {
    parsed.outcome = bad_request("request is over 65536 bytes");
    return parsed;
  }
  bool duplicate_key = false;
  const json object = parse_json(line, duplicate_key);
  if (!object.is_object()) {
    parsed.outcome = bad_request("request is not a JSON object on one line");
    return parsed;
  }
  if (duplicate_key) {
    parsed.outcome = bad_request("request names a key twice");
    return parsed;
  }
  if (const auto id = object.find("id"); id != object.end()) parsed.id = integer_of(*id);
  parsed.outcome = read_request(object);
  return parsed;
}

}  // namespace tollgate::admin
