#include "userspace/proxy/body_changes.h"

#include <algorithm>
#include <string>

namespace tollgate::proxy {
namespace {

// Names that policy gives have no character that JSON escapes.
std::string quoted(std::string_view name) {
  return '"' + std::string(name) + '"';
}

}  // namespace

void BodyChanges::set_model(std::string_view name) {
  changes_.push_back({"model", quoted(name)});
}

void BodyChanges::set_tier(std::string_view tier) {
  changes_.push_back({"service_tier", quoted(tier)});
}

uint64_t BodyChanges::cap_output(uint64_t policy_max, std::optional<uint64_t> asked) {
  const uint64_t wanted = asked.value_or(0);
  if (policy_max == 0 || (wanted != 0 && wanted <= policy_max)) return wanted;
  if (!is_responses() && !is_chat()) return wanted;  // what has no output has no such field
  if (!asked && !may_add()) return 0;
  const std::string value = std::to_string(policy_max);
  changes_.push_back({is_chat() ? "max_completion_tokens" : "max_output_tokens", value});
  // The provider refuses a chat that has both the new name and the old one.
  if (is_chat()) changes_.push_back(codec::removal_of("max_tokens"));
  return policy_max;
}

uint64_t BodyChanges::cap_tool_calls(uint64_t max, std::optional<uint64_t> asked) {
  const uint64_t calls = std::min(asked.value_or(max), max);
  if (asked != calls && is_responses() && may_add()) {
    changes_.push_back({"max_tool_calls", std::to_string(calls)});
  }
  return calls;
}

void BodyChanges::cap_effort(const policy::Guards& guards, const codec::RequestFacts& facts) {
  const auto lowered = policy::lowered_effort(guards, facts.reasoning_effort);
  const bool added = facts.reasoning_effort.empty();
  if (!lowered || (!is_responses() && !is_chat()) || (added && !may_add())) return;
  changes_.push_back(
      {is_chat() ? "reasoning_effort" : "reasoning.effort", quoted(to_string(*lowered))});
}

// A chat is kept only when asked to be, a response unless asked not to be.
void BodyChanges::keep_no_answer(const policy::Guards& guards, const codec::RequestFacts& facts) {
  const bool kept = facts.store.value_or(is_responses() && may_add());
  if (guards.store == policy::Store::off && kept) changes_.push_back({"store", "false"});
}

void BodyChanges::hide_place(const MetadataRule& rule) {
  if (auto change = client_metadata_change(rule)) changes_.push_back(*std::move(change));
}

void BodyChanges::ask_usage(const codec::RequestFacts& facts) {
  if (!is_chat() || !facts.stream || facts.wants_stream_usage) return;
  changes_.push_back({"stream_options.include_usage", "true"});
}

}  // namespace tollgate::proxy
