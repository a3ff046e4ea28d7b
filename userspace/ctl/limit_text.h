// One limit (a row of the daemon's `limits`) in words. All of it is printable.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

namespace tollgate::ctl {

std::string subject_text(const nlohmann::json& row);  // "user alice@example.com"
// "$12.40" when the unit is usd, else "1,200,000".
std::string amount_text(const std::string& unit, int64_t amount);
// "$12.40 of $50.00 +$5.00, last 24h", "1,200 of 5,000 tokens, day Europe/Berlin", "3 of 4 running"
std::string limit_text(const nlohmann::json& limit);
// "[######++............]": used, held, free. What is not nothing shows.
std::string bar_text(const nlohmann::json& limit);

}  // namespace tollgate::ctl
