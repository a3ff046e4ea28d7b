// The columns of the `usage` table and the fields of a UsageRecord: one list for the insert, the
// select and both directions. Private to this folder.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "ringbuf/record.h"
#include "userspace/ledger/sqlite.h"

namespace tollgate::ledger {

// "request_id, started_unix_ms, …" in the order that bind and read use.
std::string column_names();
std::string insert_sql();

// What a bound statement points at besides the record itself; both must live until the step.
struct RowScratch {
  std::array<uint8_t, 16> id{};
  std::string group_names;
};
void bind_record(const ringbuf::UsageRecord& record, RowScratch& scratch, Statement& statement);
// Columns in the order of column_names(). Refuses what this version did not write.
Result<ringbuf::UsageRecord> read_record(const Statement& statement);

// Big-endian, so that blobs sort as ids do: by time.
std::array<uint8_t, 16> id_bytes(const RequestId& id);
bool parse_id_bytes(std::span<const uint8_t> bytes, RequestId& id);  // false: not 16 of them

// A record whose column cannot be read.
Error foreign_value(const RequestId& id, std::string_view column);

}  // namespace tollgate::ledger
