// What policy writes into a request's body, and under which name: the interfaces differ in the
// fields that they know, and refuse a request over one that they do not.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "policy/policy.h"
#include "userspace/codec/responses.h"
#include "userspace/codec/rewrite.h"
#include "userspace/proxy/turn_metadata.h"

namespace tollgate::proxy {

struct BodyForm {
  codec::Api api = codec::Api::responses;
  // Of the Responses API, but /responses/compact, which knows few fields: what policy caps is
  // lowered there, and never added.
  bool compact = false;
};

class BodyChanges {
 public:
  explicit BodyChanges(BodyForm form) : form_(form) {}

  void set_model(std::string_view name);
  void set_tier(std::string_view tier);
  // The policy's cap where the request asks for more or names none. Returns what then bounds the
  // output, 0 for nothing.
  uint64_t cap_output(uint64_t policy_max, std::optional<uint64_t> asked);
  // The same of calls of hosted tools; returns how many there may be.
  uint64_t cap_tool_calls(uint64_t max, std::optional<uint64_t> asked);
  void cap_effort(const policy::Guards& guards, const codec::RequestFacts& facts);
  void keep_no_answer(const policy::Guards& guards, const codec::RequestFacts& facts);
  void hide_place(const MetadataRule& rule);
  // A chat's stream tells its usage only when asked to.
  void ask_usage(const codec::RequestFacts& facts);

  std::vector<codec::FieldChange> take() { return std::move(changes_); }

 private:
  bool is_responses() const { return form_.api == codec::Api::responses; }
  bool is_chat() const { return form_.api == codec::Api::chat_completions; }
  bool may_add() const { return !form_.compact; }

  BodyForm form_;
  std::vector<codec::FieldChange> changes_;
};

}  // namespace tollgate::proxy
