#include "userspace/admin/protocol.h"

#include "userspace/admin/arguments.h"

namespace tollgate::admin {
namespace {

using nlohmann::json;

constexpr std::string_view kErrorNames[] = {"forbidden", "bad_request", "unknown_verb", "failed"};

std::string write_line(const json& value) {
  return value.dump(-1, ' ', true, json::error_handler_t::replace) + "\n";
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

std::string_view to_string(ErrorCode code) {
  return kErrorNames[static_cast<size_t>(code)];
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
