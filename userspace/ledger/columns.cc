#include "userspace/ledger/columns.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "userspace/ledger/group_names.h"

namespace tollgate::ledger {
namespace {

using ringbuf::Outcome;
using ringbuf::UsageRecord;

template <typename Record, typename Visitor>
void visit_columns(Record& r, Visitor& visit) {
  visit.id("request_id", r.id);
  visit.integer("started_unix_ms", r.started_unix_ms);
  visit.integer("first_byte_ms", r.first_byte_ms);
  visit.integer("duration_ms", r.duration_ms);
  visit.integer("peer_id", r.peer_id);
  visit.text("peer_address", r.peer_address);
  visit.text("user_name", r.user);
  visit.groups("group_names", r.groups);
  visit.text("policy", r.policy);
  visit.text("provider", r.provider);
  visit.text("key_name", r.key_name);
  visit.text("endpoint", r.endpoint);
  visit.text("model_asked", r.model_asked);
  visit.text("model_served", r.model_served);
  visit.text("model_reported", r.model_reported);
  visit.text("tier", r.tier);
  visit.integer("input_tokens", r.input_tokens);
  visit.integer("cached_tokens", r.cached_tokens);
  visit.integer("cache_write_tokens", r.cache_write_tokens);
  visit.integer("output_tokens", r.output_tokens);
  visit.integer("reasoning_tokens", r.reasoning_tokens);
  visit.integer("cost_nano_usd", r.cost.value);
  visit.text("price_version", r.price_version);
  visit.outcome("outcome", r.outcome);
  visit.text("refusal_code", r.refusal_code);
  visit.integer("http_status", r.http_status);
  visit.flag("estimated", r.estimated);
  visit.integer("events", r.events);
  visit.integer("bytes_up", r.bytes_up);
  visit.integer("bytes_down", r.bytes_down);
  visit.text("response_id", r.response_id);
  visit.text("session_id", r.session_id);
  visit.text("thread_id", r.thread_id);
  visit.text("subagent", r.subagent);
  visit.cookie("flow_id", r.flow_id);
  visit.integer("hold_input_tokens", r.hold_input_tokens);
  visit.integer("hold_output_tokens", r.hold_output_tokens);
  visit.integer("hold_cost_nano_usd", r.hold_cost.value);
  visit.integer("tool_calls", r.tool_calls);
  visit.integer("settled_unix_ms", r.settled_unix_ms);
  visit.integer("settled_window_ms", r.settled_window_ms);
  visit.cookie("upstream_flow_id", r.upstream_flow_id);
  visit.integer("upstream_bytes_up", r.upstream_bytes_up);
  visit.integer("upstream_bytes_down", r.upstream_bytes_down);
}

struct Namer {
  std::string names;
  int count = 0;

  void add(std::string_view name) {
    names += count++ == 0 ? "" : ", ";
    names += name;
  }
  template <typename T>
  void id(std::string_view name, T&) {
    add(name);
  }
  template <typename T>
  void integer(std::string_view name, T&) {
    add(name);
  }
  template <typename T>
  void text(std::string_view name, T&) {
    add(name);
  }
  template <typename T>
  void groups(std::string_view name, T&) {
    add(name);
  }
  template <typename T>
  void outcome(std::string_view name, T&) {
    add(name);
  }
  template <typename T>
  void flag(std::string_view name, T&) {
    add(name);
  }
  template <typename T>
  void cookie(std::string_view name, T&) {
    add(name);
  }
};

Namer named() {
  UsageRecord record;
  Namer namer;
  visit_columns(record, namer);
  return namer;
}

struct Binder {
  Statement& statement;
  RowScratch& scratch;
  int parameter = 0;

  void id(std::string_view, const RequestId& value) {
    scratch.id = id_bytes(value);
    statement.bind(++parameter, std::span<const uint8_t>(scratch.id));
  }
  // SQLite's integers are signed; a count beyond them is no count.
  template <typename T>
  void integer(std::string_view, T value) {
    int64_t kept = std::numeric_limits<int64_t>::max();
    if (std::is_signed_v<T> || static_cast<uint64_t>(value) < static_cast<uint64_t>(kept)) {
      kept = static_cast<int64_t>(value);
    }
    statement.bind(++parameter, kept);
  }
  void text(std::string_view, const std::string& value) {
    statement.bind(++parameter, std::string_view(value));
  }
  void groups(std::string_view, const std::vector<std::string>& names) {
    scratch.group_names.clear();
    append_group_names(names, scratch.group_names);
    statement.bind(++parameter, std::string_view(scratch.group_names));
  }
  void outcome(std::string_view, Outcome value) {
    statement.bind(++parameter, ringbuf::to_string(value));
  }
  void flag(std::string_view, bool value) { statement.bind(++parameter, int64_t{value}); }
  // An identifier, not a count: all 64 bits are kept.
  void cookie(std::string_view, uint64_t value) {
    statement.bind(++parameter, static_cast<int64_t>(value));
  }
};

struct RowReader {
  const Statement& statement;
  int column = 0;
  std::string fault;

  void refuse(std::string_view name) { fault = name; }
  void id(std::string_view name, RequestId& value) {
    if (!parse_id_bytes(statement.blob(column++), value)) refuse(name);
  }
  template <typename T>
  void integer(std::string_view name, T& value) {
    const int64_t stored = statement.integer(column++);
    value = static_cast<T>(stored);
    const bool negative_count = std::is_unsigned_v<T> && stored < 0;
    if (negative_count || static_cast<int64_t>(value) != stored) refuse(name);
  }
  void text(std::string_view, std::string& value) { value = statement.text(column++); }
  void groups(std::string_view name, std::vector<std::string>& names) {
    if (!parse_group_names(statement.text(column++), names)) refuse(name);
  }
  void outcome(std::string_view name, Outcome& value) {
    const auto outcome = ringbuf::parse_outcome(statement.text(column++));
    if (!outcome) return refuse(name);
    value = *outcome;
  }
  void flag(std::string_view, bool& value) { value = statement.integer(column++) != 0; }
  void cookie(std::string_view, uint64_t& value) {
    value = static_cast<uint64_t>(statement.integer(column++));
  }
};

}  // namespace

std::array<uint8_t, 16> id_bytes(const RequestId& id) {
  std::array<uint8_t, 16> bytes{};
  for (size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<uint8_t>(id.high >> (56 - 8 * i));
    bytes[i + 8] = static_cast<uint8_t>(id.low >> (56 - 8 * i));
  }
  return bytes;
}

bool parse_id_bytes(std::span<const uint8_t> bytes, RequestId& id) {
  if (bytes.size() != 16) return false;
  id = {};
  for (size_t i = 0; i < 8; ++i) {
    id.high = id.high << 8 | bytes[i];
    id.low = id.low << 8 | bytes[i + 8];
  }
  return true;
}

std::string column_names() {
  return named().names;
}

// OR IGNORE would also swallow a NULL or a CHECK; the conflict clause names the one case.
std::string insert_sql() {
  const Namer namer = named();
  std::string sql = "INSERT INTO usage (" + namer.names + ") VALUES (?";
  for (int i = 1; i < namer.count; ++i)
    sql += ",?";
  return sql + ") ON CONFLICT (request_id) DO NOTHING";
}

Error foreign_value(const RequestId& id, std::string_view column) {
  return Error{Fault::system, 0,
               "read record " + to_string(id) + ": column " + std::string(column) +
                   " holds what no version of ours writes",
               "compare with a backup; the file was changed by something else"};
}

void bind_record(const UsageRecord& record, RowScratch& scratch, Statement& statement) {
  Binder binder{statement, scratch};
  visit_columns(record, binder);
}

Result<UsageRecord> read_record(const Statement& statement) {
  UsageRecord record;
  RowReader reader{statement, 0, {}};
  visit_columns(record, reader);
  if (!reader.fault.empty()) {
    return foreign_value(record.id, reader.fault);
  }
  return record;
}

}  // namespace tollgate::ledger
