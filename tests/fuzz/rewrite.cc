// Whatever the inspector accepts can be rewritten, is accepted again and has the new facts and no
// others; what it refuses must not crash the rewriter.
#include "userspace/codec/rewrite.h"

#include <cstdint>

#include "userspace/base/result.h"
#include "userspace/codec/conversation.h"
#include "userspace/codec/responses.h"

namespace {

tollgate::codec::InspectResult inspect(std::string json) {
  const size_t size = json.size();
  json.resize(size + tollgate::codec::kJsonPaddingBytes);
  tollgate::codec::BodyInspector inspector;
  return inspector.inspect(std::as_bytes(std::span(json)).first(size));
}

std::optional<std::string> same(std::string_view old) {
  return std::string(old);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tollgate::codec;
  const std::string body(reinterpret_cast<const char*>(data), size);
  const auto before = inspect(body);
  const FieldChange changes[] = {{"model", "\"gpt-5.6-luna\""},   {"max_output_tokens", "32000"},
                                 {"reasoning.effort", "\"low\""}, {"store", "false"},
                                 removal_of("client_metadata"),   {"metadata", {}, same}};
  const auto rewritten = rewrite_fields(body, changes);
  if (before.fault != BodyFault::none) return 0;
  TG_ASSERT(rewritten);
  const auto after = inspect(*rewritten);
  TG_ASSERT(after.fault == BodyFault::none);
  TG_ASSERT(after.facts.model == "gpt-5.6-luna" && after.facts.max_output_tokens == 32000u);
  TG_ASSERT(after.facts.reasoning_effort == "low" && after.facts.store == false);
  // What is gone stays gone, and the rest is found as it was.
  TG_ASSERT(rewrite_fields(*rewritten, changes) == rewritten);
  TG_ASSERT(after.facts.stream == before.facts.stream);
  TG_ASSERT(after.facts.background == before.facts.background);
  TG_ASSERT(after.facts.service_tier == before.facts.service_tier);
  // As a WebSocket's message it becomes one request that says the same.
  const auto composed = compose_request(body, input_items(body));
  TG_ASSERT(composed);
  const auto whole = inspect(*composed);
  TG_ASSERT(whole.fault == BodyFault::none && whole.facts.model == before.facts.model);
  TG_ASSERT(whole.facts.stream && whole.facts.previous_response_id.empty());
  TG_ASSERT(whole.facts.hosted_tools == before.facts.hosted_tools);
  return 0;
}
