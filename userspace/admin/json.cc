// Records and usage rows as JSON. Every field under its own name, so that an export needs no key to
// be read; money twice, as the integer that adds up and as the decimal that people read.
#include "userspace/admin/protocol.h"
#include "userspace/admin/service.h"

namespace tollgate::admin {

static_assert(kUsageKeys[static_cast<size_t>(ledger::GroupBy::user)] == "user");
static_assert(kUsageKeys[static_cast<size_t>(ledger::GroupBy::group)] == "group");
static_assert(kUsageKeys[static_cast<size_t>(ledger::GroupBy::model)] == "model");
static_assert(kUsageKeys[static_cast<size_t>(ledger::GroupBy::policy)] == "policy");
static_assert(kUsageKeys[static_cast<size_t>(ledger::GroupBy::day)] == "day");
static_assert(kUsageKeys[static_cast<size_t>(ledger::GroupBy::session)] == "session");

nlohmann::json to_json(const ringbuf::UsageRecord& record) {
  const std::string id = tollgate::to_string(record.id);
  return {
      {"id", id},
      {"x_request_id", id},  // the header that carries it to the client
      {"started_unix_ms", record.started_unix_ms},
      {"first_byte_ms", record.first_byte_ms},
      {"duration_ms", record.duration_ms},
      {"peer_id", record.peer_id},
      {"peer_address", record.peer_address},
      {"user", record.user},
      {"groups", record.groups},
      {"policy", record.policy},
      {"provider", record.provider},
      {"key_name", record.key_name},
      {"endpoint", record.endpoint},
      {"model_asked", record.model_asked},
      {"model_served", record.model_served},
      {"model_reported", record.model_reported},
      {"tier", record.tier},
      {"input_tokens", record.input_tokens},
      {"cached_tokens", record.cached_tokens},
      {"cache_write_tokens", record.cache_write_tokens},
      {"output_tokens", record.output_tokens},
      {"reasoning_tokens", record.reasoning_tokens},
      {"cost_nano_usd", record.cost.value},
      {"cost_usd", format_usd_exact(record.cost)},
      {"price_version", record.price_version},
      {"outcome", ringbuf::to_string(record.outcome)},
      {"refusal_code", record.refusal_code},
      {"http_status", record.http_status},
      {"estimated", record.estimated},
      {"events", record.events},
      {"bytes_up", record.bytes_up},
      {"bytes_down", record.bytes_down},
      {"response_id", record.response_id},
      {"session_id", record.session_id},
      {"thread_id", record.thread_id},
      {"subagent", record.subagent},
      {"flow_id", record.flow_id},
      {"hold_input_tokens", record.hold_input_tokens},
      {"hold_output_tokens", record.hold_output_tokens},
      {"hold_cost_nano_usd", record.hold_cost.value},
      {"tool_calls", record.tool_calls},
      {"settled_unix_ms", record.settled_unix_ms},
      {"settled_window_ms", record.settled_window_ms},
      {"upstream_flow_id", record.upstream_flow_id},
      {"upstream_bytes_up", record.upstream_bytes_up},
      {"upstream_bytes_down", record.upstream_bytes_down},
  };
}

nlohmann::json to_json(const ledger::UsageRow& row, ledger::GroupBy by) {
  return {
      {std::string(kUsageKeys[static_cast<size_t>(by)]), row.key},
      {"requests", row.requests},
      {"refused", row.refused},
      {"estimated", row.estimated},
      {"input_tokens", row.input_tokens},
      {"cached_tokens", row.cached_tokens},
      {"output_tokens", row.output_tokens},
      {"reasoning_tokens", row.reasoning_tokens},
      {"cost_nano_usd", row.cost.value},
      {"cost_usd", format_usd_exact(row.cost)},
  };
}

}  // namespace tollgate::admin
