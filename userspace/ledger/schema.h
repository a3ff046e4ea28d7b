// The database file: where it lies, how it is made, and which version of it we read. Private to
// this folder.
#pragma once

#include <string>

#include "userspace/ledger/sqlite.h"

namespace tollgate::ledger {

inline constexpr int64_t kSchemaVersion = 1;

std::string ledger_path(const std::string& folder);
// Makes folder and file if they are missing, durably, and brings an empty file to kSchemaVersion.
Result<Database> open_for_writing(const std::string& folder);
// Refuses a file that is not there, has no schema yet, or a newer one.
Result<Database> open_for_reading(const std::string& folder);

}  // namespace tollgate::ledger
