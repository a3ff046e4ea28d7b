// Answers as people read them. Every function takes the daemon's JSON as it came: a missing field
// prints as empty or 0, a strange one never as itself.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include <nlohmann/json.hpp>

namespace tollgate::ctl {

void show_status(std::ostream& out, const nlohmann::json& status, int64_t now_unix_ms);
void show_peers(std::ostream& out, const nlohmann::json& peers, int64_t now_unix_ms);
// "since 2026-11-21 04:00:00 UTC by uid 0 (laptop lost)"
std::string revocation_text(const nlohmann::json& revocation);
void show_sessions(std::ostream& out, const nlohmann::json& sessions, int64_t now_unix_ms);
// With the estimates of `user`, unless it is empty.
void show_limits(std::ostream& out, const nlohmann::json& answer, const std::string& user,
                 int64_t now_unix_ms);
void show_unmetered(std::ostream& out, const nlohmann::json& answer);
void show_acknowledged(std::ostream& out, const nlohmann::json& answer);
void show_adjustments(std::ostream& out, const nlohmann::json& adjustments);
void show_explanation(std::ostream& out, const nlohmann::json& explanation);
// `window` is Since::label.
void show_usage(std::ostream& out, const nlohmann::json& usage, const std::string& window);
void show_usage_csv(std::ostream& out, const nlohmann::json& usage);
// One compact line.
void show_record(std::ostream& out, const nlohmann::json& record);

}  // namespace tollgate::ctl
