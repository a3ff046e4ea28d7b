// A user's groups as one JSON array of strings: one column, so an insert costs no second table, and
// json_each() takes it apart when a report asks. Private to this folder.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tollgate::ledger {

// A name that is there twice is written once: a record counts once in each group.
void append_group_names(const std::vector<std::string>& names, std::string& json);
// Reads what append_group_names() wrote; false for anything else.
bool parse_group_names(std::string_view json, std::vector<std::string>& names);

}  // namespace tollgate::ledger
