// The database file: where it lies, how it is made, and which version of it we read. Private to
// this folder.
#pragma once

#include <string>

#include "userspace/ledger/sqlite.h"

namespace tollgate::ledger {

inline constexpr int64_t kSchemaVersion = 3;

std::string ledger_path(const std::string& folder);
// Makes folder and file if they are missing, durably, and brings an empty or older file to
// kSchemaVersion in one transaction.
Result<Database> open_for_writing(const std::string& folder);
// Both refuse a file that is not there, and every version but kSchemaVersion.
Result<Database> open_beside_writer(const std::string& folder);  // writes too, as durably
Result<Database> open_for_reading(const std::string& folder);

}  // namespace tollgate::ledger
