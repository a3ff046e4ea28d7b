#include "userspace/codec/chat_scanner.h"

#include <algorithm>
#include <array>
#include <utility>

#include "userspace/codec/response_facts.h"

namespace tollgate::codec {
namespace {

namespace dom = simdjson::dom;

constexpr std::string_view kDone = "[DONE]";
// What the client sees or runs; names and ids are not the model's work.
constexpr std::array<std::string_view, 5> kVisible = {"content", "refusal", "reasoning_content",
                                                      "arguments", "input"};

// Of a choice's delta: {"content":"hi","tool_calls":[{"function":{"arguments":"{"}}]}.
uint64_t visible_bytes(const dom::element& value) {
  uint64_t bytes = 0;
  dom::array array;
  dom::object object;
  if (value.get(array) == simdjson::SUCCESS) {
    for (const dom::element element : array)
      bytes += visible_bytes(element);
  } else if (value.get(object) == simdjson::SUCCESS) {
    for (const auto [key, member] : object) {
      std::string_view text;
      const bool is_text = member.get(text) == simdjson::SUCCESS;
      const bool shown = std::find(kVisible.begin(), kVisible.end(), key) != kVisible.end();
      bytes += !is_text ? visible_bytes(member) : shown ? text.size() : 0;
    }
  }
  return bytes;
}

void read_progress(const dom::element& choice, ChatScanner::Choices& begun,
                   ChatScanner::Choices& finished) {
  uint64_t index = 0;
  if (choice.at_key("index").get(index) != simdjson::SUCCESS) index = 0;
  // What is said of choices beyond those that may be asked for ends nothing.
  if (index >= begun.size()) return;
  begun.set(index);
  if (choice.at_key("finish_reason").is_string()) finished.set(index);
}

}  // namespace

void ChatScanner::scan(std::string_view in) {
  for (std::string_view rest = in; !rest.empty() && scanning();) {
    const size_t at = in.size() - rest.size();
    const EventLines::Step step = lines_.next(rest);
    if (step == EventLines::Step::outside) continue;
    if (!std::exchange(in_event_, true)) hold_from(at);
    if (step != EventLines::Step::event_end) continue;
    in_event_ = false;
    end_event(in, in.size() - rest.size());
  }
}

void ChatScanner::end_event(std::string_view in, size_t next) {
  if (lines_.data().any() || lines_.oversized()) ++events_;
  if (holding() && !fits(next)) give_up();
  if (!holding() || !lines_.data().any()) return let_go();
  const Event event = read_event(lines_.data().text());
  if (event == Event::other) return let_go();
  if (hide_usage_ && event == Event::terminal_usage) return keep_after(in, next, facts_);
  keep_from_here(facts_);
}

ChatScanner::Event ChatScanner::read_event(std::string_view data) {
  if (data == kDone) return Event::terminal;
  const ParsedAnswer chunk(data);
  if (!chunk.valid) return Event::other;
  dom::array choices;
  bool has_choices = false;
  if (chunk.root.at_key("choices").get(choices) == simdjson::SUCCESS) {
    for (const dom::element choice : choices) {
      has_choices = true;
      read_progress(choice, begun_, finished_);
      dom::element delta;
      if (choice.at_key("delta").get(delta) == simdjson::SUCCESS)
        delta_bytes_ += visible_bytes(delta);
    }
  }
  const bool has_usage = chunk.root.at_key("usage").is_object();
  const bool is_first = !std::exchange(has_facts_, true);
  if (has_usage || is_first) {
    facts_ = read_facts(chunk.root, ResponseEnd::completed, Api::chat_completions);
  }
  const bool is_error = chunk.root.at_key("error").is_object();
  if (!has_usage || is_error) return Event::other;
  if (!has_choices) return Event::terminal_usage;
  return (begun_ & ~finished_).none() ? Event::terminal : Event::other;
}

std::optional<ResponseFacts> ChatScanner::facts_so_far() const {
  return facts_.usage ? std::optional(facts_) : std::nullopt;
}

}  // namespace tollgate::codec
