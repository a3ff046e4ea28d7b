// Small pieces of text for people. What comes from the daemon can hold what a client sent (a model
// name, a session label), so nothing of it reaches the terminal except through printable().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "userspace/base/units.h"

namespace tollgate::ctl {

// Control characters, invisible and direction-changing ones and broken UTF-8 become visible
// "\x1b"-like text; the rest stays. The result moves no cursor and rewrites no line.
std::string printable(std::string_view text);
size_t width(std::string_view printable_text);  // in characters

inline std::string dollars(int64_t nano_usd) {
  return format_usd_short(NanoUsd{nano_usd});
}
std::string bytes_short(int64_t bytes);  // 12.3 MB
std::string duration_short(int64_t ms);  // 3.2s, 4m10s, 3h12m, 2d4h
// Quoted where it must be; a cell that a spreadsheet would run as a formula begins with '.
std::string csv_cell(std::string_view text);

// Fields of an answer that may be missing or of another kind in another version: then empty or 0.
std::string text_of(const nlohmann::json& object, const char* name);  // printable
std::string list_of(const nlohmann::json& object, const char* name);  // printable, "a, b"
int64_t number_of(const nlohmann::json& object, const char* name);
bool truth_of(const nlohmann::json& object, const char* name);
const nlohmann::json& part_of(const nlohmann::json& object, const char* name);
// ASCII only, so that it is as harmless on a terminal as in a file.
std::string json_text(const nlohmann::json& value, int indent);

}  // namespace tollgate::ctl
