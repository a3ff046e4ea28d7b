#include "tests/bench/mock/answers.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "tests/bench/common/usage_text.h"

namespace tollgate::bench {
namespace {

constexpr uint64_t kTextBytesMax = uint64_t{1} << 24;
constexpr uint64_t kFinalTextBytesMax = uint64_t{1} << 16;
constexpr const char* kMessageId = "msg_67ccd2bf17f0819081ff3bb2cf6508e60bb6a6b452d3795b";

struct ResponseObject {
  const char* status;
  std::string text;
  uint64_t echo_bytes = 0;
  bool with_usage = false;
  uint64_t output_tokens = 0;
};

std::string message_item(const std::string& text) {
  return std::string("{\"type\":\"message\",\"id\":\"") + kMessageId +
         "\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_"
         "text\","
         "\"text\":\"" +
         text + "\",\"annotations\":[]}]}";
}

std::string to_json(const ResponseObject& object) {
  std::string json =
      "{\"id\":\"resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b\",\"object\":\"response\","
      "\"created_at\":1741476542,\"status\":\"";
  json += object.status;
  json += "\",\"error\":null,\"incomplete_details\":null,\"instructions\":";
  json += object.echo_bytes == 0
              ? "null"
              : "\"" + std::string(static_cast<size_t>(object.echo_bytes), 'i') + "\"";
  json += ",\"max_output_tokens\":null,\"model\":\"gpt-5-codex\",\"output\":[";
  if (!object.text.empty()) json += message_item(object.text);
  json +=
      "],\"parallel_tool_calls\":true,\"previous_response_id\":null,\"reasoning\":{\"effort\":"
      "\"medium\",\"summary\":\"auto\"},\"service_tier\":\"default\",\"store\":false,"
      "\"temperature\":1.0,\"text\":{\"format\":{\"type\":\"text\"}},\"tool_choice\":\"auto\","
      "\"tools\":[],\"top_p\":1.0,\"truncation\":\"disabled\",";
  json += object.with_usage ? usage_text(object.output_tokens) : "\"usage\":null";
  json += ",\"user\":null,\"metadata\":{}}";
  return json;
}

void append_chunk(std::string& to, std::string_view bytes) {
  char size[24];
  int digits = std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  to.append(size, static_cast<size_t>(digits));
  to += bytes;
  to += "\r\n";
}

void set_field(Plan& plan, char name, uint64_t value) {
  switch (name) {
    case 'e':
      plan.events = value;
      break;
    case 'd':
      plan.delay_us = value;
      break;
    case 's':
      plan.delta_bytes = std::min(value, kTextBytesMax);
      break;
    case 'b':
      plan.events_per_write = value;
      break;
    case 'r':
      plan.answer_bytes = std::min(value, kTextBytesMax);
      break;
    case 'p':
      plan.echo_bytes = std::min(value, kTextBytesMax);
      break;
    case 'f':
      plan.fault = static_cast<Fault>(value);
      break;
    default:
      break;
  }
}

}  // namespace

Plan plan_from(std::string_view tail) {
  Plan plan;
  plan.stream = tail.find("\"stream\":true") != std::string_view::npos;
  constexpr std::string_view kMark = "\"mock\":\"";
  size_t at = tail.find(kMark);
  if (at == std::string_view::npos) return plan;
  std::string_view fields = tail.substr(at + kMark.size());
  fields = fields.substr(0, fields.find('"'));
  while (fields.size() > 2 && fields[1] == '=') {
    uint64_t value = 0;
    auto end = std::from_chars(fields.data() + 2, fields.data() + fields.size(), value).ptr;
    set_field(plan, fields[0], value);
    fields.remove_prefix(static_cast<size_t>(end - fields.data()));
    if (!fields.empty()) fields.remove_prefix(1);  // the semicolon
  }
  return plan;
}

std::string json_answer(const Plan& plan) {
  uint64_t tokens = kJsonOutputTokens + (plan.fault == Fault::kWrongUsage ? 1 : 0);
  std::string text(static_cast<size_t>(plan.answer_bytes), 'x');
  return to_json(
      {.status = "completed", .text = text, .with_usage = true, .output_tokens = tokens});
}

StreamText::StreamText(const Plan& plan) : plan_(plan) {
  before_time_ = std::string(
                     "event: response.output_text.delta\ndata: {\"type\":"
                     "\"response.output_text.delta\",\"item_id\":\"") +
                 kMessageId + "\",\"output_index\":0,\"content_index\":0,\"delta\":\"@t=";
  after_time_ = "@" + std::string(static_cast<size_t>(plan.delta_bytes), 'x') +
                "\",\"logprobs\":[],\"obfuscation\":\"q1W2e3R4t5\",\"sequence_number\":";
}

void StreamText::append_event(std::string& to, const char* type, const std::string& fields) {
  std::string event = std::string("event: ") + type + "\ndata: {\"type\":\"" + type +
                      "\",\"sequence_number\":" + std::to_string(sequence_++) + fields + "}\n\n";
  append_chunk(to, event);
}

void StreamText::append_opening(std::string& to) {
  std::string response =
      ",\"response\":" +
      to_json({.status = "in_progress", .text = "", .echo_bytes = plan_.echo_bytes});
  std::string item_id = std::string("\"") + kMessageId + "\"";
  append_event(to, "response.created", response);
  append_event(to, "response.in_progress", response);
  append_event(to, "response.output_item.added",
               ",\"output_index\":0,\"item\":{\"id\":" + item_id +
                   ",\"type\":\"message\",\"status\":\"in_progress\",\"role\":\"assistant\","
                   "\"content\":[]}");
  append_event(to, "response.content_part.added",
               ",\"item_id\":" + item_id +
                   ",\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\","
                   "\"text\":\"\",\"annotations\":[]}");
}

void StreamText::append_delta(std::string& to, int64_t now_ns) {
  bool skipped = plan_.fault == Fault::kMissingEvent && sent_ == plan_.events / 2;
  ++sent_;
  if (skipped) return;
  char time[24];
  char end[32];
  int time_size = std::snprintf(time, sizeof time, "%019lld", static_cast<long long>(now_ns));
  int end_size =
      std::snprintf(end, sizeof end, "%llu}\n\n", static_cast<unsigned long long>(sequence_++));
  char size[24];
  int size_size = std::snprintf(size, sizeof size, "%zx\r\n",
                                before_time_.size() + after_time_.size() +
                                    static_cast<size_t>(time_size) + static_cast<size_t>(end_size));
  to.append(size, static_cast<size_t>(size_size));
  to += before_time_;
  to.append(time, static_cast<size_t>(time_size));
  to += after_time_;
  to.append(end, static_cast<size_t>(end_size));
  to += "\r\n";
}

void StreamText::append_ending(std::string& to) {
  uint64_t text_bytes =
      std::clamp<uint64_t>(plan_.events * plan_.delta_bytes, 1, kFinalTextBytesMax);
  std::string text(static_cast<size_t>(text_bytes), 'x');
  uint64_t tokens = plan_.events + (plan_.fault == Fault::kWrongUsage ? 1 : 0);
  append_event(to, "response.output_text.done",
               std::string(",\"item_id\":\"") + kMessageId +
                   "\",\"output_index\":0,\"content_index\":0,\"text\":\"" + text + "\"");
  append_event(to, "response.output_item.done",
               ",\"output_index\":0,\"item\":" + message_item(text));
  append_event(to, "response.completed",
               ",\"response\":" + to_json({.status = "completed",
                                           .text = text,
                                           .echo_bytes = plan_.echo_bytes,
                                           .with_usage = true,
                                           .output_tokens = tokens}));
  to += "0\r\n\r\n";
}

}  // namespace tollgate::bench
