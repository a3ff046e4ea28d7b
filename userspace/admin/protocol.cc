#include "userspace/admin/protocol.h"

#include <algorithm>
#include <set>
#include <vector>

namespace tollgate::admin {
namespace {

using nlohmann::json;

// The arguments, as bits, so that the table of verbs can say which it takes.
enum Argument : uint8_t { kBy = 1, kSince = 2, kUntil = 4, kUser = 8, kModel = 16 };

struct ArgumentShape {
  Argument bit;
  std::string_view name;
};
constexpr ArgumentShape kArguments[] = {{kBy, "by"},
                                        {kSince, "since_unix_ms"},
                                        {kUntil, "until_unix_ms"},
                                        {kUser, "user"},
                                        {kModel, "model"}};

struct VerbShape {
  Verb verb;
  std::string_view name;
  uint8_t arguments;
};
constexpr VerbShape kVerbs[] = {
    {Verb::status, "status", 0},
    {Verb::peers, "peers", 0},
    {Verb::sessions, "sessions", 0},
    {Verb::usage, "usage", kBy | kSince | kUntil | kUser | kModel},
    {Verb::records, "records", kSince | kUntil | kUser | kModel},
    {Verb::tail, "tail", 0},
    {Verb::explain, "explain", kUser | kModel},
    {Verb::reload, "reload", 0},
    {Verb::version, "version", 0},
};

constexpr std::string_view kErrorNames[] = {"forbidden", "bad_request", "unknown_verb", "failed"};

std::string in_quotes(std::string_view text) {
  // Long enough to recognise a mistake by, short enough for one line.
  return "\"" + std::string(text.substr(0, 64)) + "\"";
}

Failure bad_request(std::string text, std::string hint = {}) {
  return Failure{ErrorCode::bad_request, std::move(text), std::move(hint)};
}

std::string write_line(const json& value) {
  return value.dump(-1, ' ', true, json::error_handler_t::replace) + "\n";
}

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

std::string accepted_arguments(const VerbShape& shape) {
  std::string names;
  for (const ArgumentShape& argument : kArguments) {
    if ((shape.arguments & argument.bit) == 0) continue;
    names += names.empty() ? "" : ", ";
    names += argument.name;
  }
  return std::string(shape.name) + " takes " + (names.empty() ? "no arguments" : names);
}

std::optional<int64_t> integer_of(const json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  return std::nullopt;
}

std::optional<Failure> read_text(std::string_view name, const json& value, std::string& to) {
  if (!value.is_string()) return bad_request("read " + std::string(name) + ": not a string");
  const std::string& text = value.get_ref<const std::string&>();
  if (text.empty() || text.size() > kArgumentBytesMax) {
    return bad_request("read " + std::string(name) + ": 1 to 512 bytes are accepted");
  }
  to = text;
  return std::nullopt;
}

std::optional<Failure> read_time(std::string_view name, const json& value, int64_t& to) {
  const std::optional<int64_t> number = integer_of(value);
  if (!number || *number < 0) {
    return bad_request("read " + std::string(name) + ": not milliseconds since 1970");
  }
  to = *number;
  return std::nullopt;
}

std::optional<Failure> read_by(const json& value, size_t& to) {
  if (!value.is_string()) return bad_request("read by: not a string");
  const std::string& name = value.get_ref<const std::string&>();
  const auto* const found = std::find(kUsageKeys.begin(), kUsageKeys.end(), name);
  if (found == kUsageKeys.end()) {
    return bad_request("read by: unknown key " + in_quotes(name),
                       "one of user, group, model, policy, day, session");
  }
  to = static_cast<size_t>(found - kUsageKeys.begin());
  return std::nullopt;
}

std::optional<Failure> read_argument(Argument argument, std::string_view name, const json& value,
                                     Request& request) {
  switch (argument) {
    case kBy:
      return read_by(value, request.by);
    case kSince:
      return read_time(name, value, request.since_unix_ms);
    case kUntil:
      return read_time(name, value, request.until_unix_ms);
    case kUser:
      return read_text(name, value, request.user);
    case kModel:
      return read_text(name, value, request.model);
  }
  return bad_request("read " + std::string(name) + ": unknown argument");
}

std::optional<Failure> read_arguments(const VerbShape& shape, const json& args, Request& request) {
  if (!args.is_object()) return bad_request("read args: not an object");
  for (const auto& [name, value] : args.items()) {
    const auto* const known = std::find_if(
        std::begin(kArguments), std::end(kArguments),
        [&name = name](const ArgumentShape& argument) { return argument.name == name; });
    if (known == std::end(kArguments) || (shape.arguments & known->bit) == 0) {
      return bad_request("unknown argument " + in_quotes(name), accepted_arguments(shape));
    }
    if (auto failure = read_argument(known->bit, known->name, value, request)) return failure;
  }
  if (request.until_unix_ms <= request.since_unix_ms) {
    return bad_request("read until_unix_ms: not after since_unix_ms");
  }
  if (request.verb == Verb::explain && request.user.empty()) {
    return bad_request("explain: user is missing", "name the user to explain");
  }
  return std::nullopt;
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

json answer_head(std::optional<int64_t> id) {
  json head = {{"v", kProtocolVersion}};
  if (id) head["id"] = *id;
  return head;
}

std::string text_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

Failure read_failure(const json& error) {
  Failure failure;
  const std::string code = text_of(error, "code");
  for (size_t i = 0; i < std::size(kErrorNames); ++i) {
    if (kErrorNames[i] == code) failure.code = static_cast<ErrorCode>(i);
  }
  failure.text = text_of(error, "text");
  failure.hint = text_of(error, "hint");
  return failure;
}

}  // namespace

std::string_view to_string(Verb verb) {
  return kVerbs[static_cast<size_t>(verb)].name;
}

bool changes(Verb verb) {
  return verb == Verb::reload;
}

std::string_view to_string(ErrorCode code) {
  return kErrorNames[static_cast<size_t>(code)];
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

std::string request_line(Verb verb, const nlohmann::json& args) {
  json request = {{"v", kProtocolVersion}, {"verb", to_string(verb)}};
  if (!args.empty()) request["args"] = args;
  return write_line(request);
}

std::string ok_line(std::optional<int64_t> id, const nlohmann::json& data) {
  json answer = answer_head(id);
  answer["ok"] = true;
  answer["data"] = data;
  return write_line(answer);
}

std::string error_line(std::optional<int64_t> id, const Failure& failure) {
  json answer = answer_head(id);
  answer["ok"] = false;
  answer["error"] = {
      {"code", to_string(failure.code)}, {"text", failure.text}, {"hint", failure.hint}};
  return write_line(answer);
}

std::string item_line(std::optional<int64_t> id, const nlohmann::json& item) {
  json answer = answer_head(id);
  answer["item"] = item;
  return write_line(answer);
}

std::string lost_line(std::optional<int64_t> id, uint64_t count) {
  json answer = answer_head(id);
  answer["lost"] = count;
  return write_line(answer);
}

Result<Answer> parse_answer(std::string_view line) {
  json object = json::parse(line, nullptr, false);
  const auto refuse = [](const char* why) {
    return Error{Fault::peer, 0, std::string("read the daemon's answer: ") + why, {}};
  };
  if (!object.is_object()) return refuse("not a JSON object");
  const auto version = object.find("v");
  if (version == object.end() || integer_of(*version) != kProtocolVersion) {
    return refuse("not protocol version 1");
  }
  Answer answer;
  if (const auto item = object.find("item"); item != object.end()) {
    answer.kind = Answer::Kind::item;
    answer.body = std::move(*item);
    return answer;
  }
  if (const auto lost = object.find("lost"); lost != object.end()) {
    if (!lost->is_number_unsigned()) return refuse("lost is not a count");
    answer.kind = Answer::Kind::lost;
    answer.lost = lost->get<uint64_t>();
    return answer;
  }
  const auto ok = object.find("ok");
  if (ok == object.end() || !ok->is_boolean()) return refuse("neither ok, item nor lost");
  if (ok->get<bool>()) {
    if (const auto data = object.find("data"); data != object.end()) answer.body = std::move(*data);
    return answer;
  }
  answer.kind = Answer::Kind::error;
  if (const auto error = object.find("error"); error != object.end() && error->is_object()) {
    answer.failure = read_failure(*error);
  }
  return answer;
}

}  // namespace tollgate::admin
