#include "userspace/ctl/limit_text.h"

#include <algorithm>

#include "userspace/ctl/text.h"

namespace tollgate::ctl {
namespace {

constexpr int64_t kBarWidth = 20;

// How much of the bar an amount is. A picture: exactness is in the numbers beside it.
int64_t cells(int64_t amount, int64_t of) {
  if (amount <= 0) return 0;
  if (amount >= of) return kBarWidth;
  const double share = static_cast<double>(amount) / static_cast<double>(of);
  return std::max(int64_t{1}, static_cast<int64_t>(share * static_cast<double>(kBarWidth)));
}

}  // namespace

std::string subject_text(const nlohmann::json& row) {
  return text_of(row, "scope") + " " + text_of(row, "subject");
}

std::string amount_text(const std::string& unit, int64_t amount) {
  return unit == "usd" ? dollars(amount) : thousands(amount);
}

std::string limit_text(const nlohmann::json& limit) {
  const std::string unit = text_of(limit, "unit");
  std::string text = amount_text(unit, number_of(limit, "used")) + " of " +
                     amount_text(unit, number_of(limit, "limit"));
  const int64_t granted = number_of(limit, "granted");
  if (granted != 0) text += " +" + amount_text(unit, granted);
  if (unit == "concurrent") return text + " running";
  if (unit != "usd") text += " " + unit;
  const std::string window = text_of(limit, "window");
  if (window.empty()) return text;
  // "24h" rolls; "day Europe/Berlin" is what it says.
  const bool rolls = window.front() >= '0' && window.front() <= '9';
  return text + (rolls ? ", last " : ", ") + window;
}

std::string bar_text(const nlohmann::json& limit) {
  const int64_t total = number_of(limit, "limit") + number_of(limit, "granted");
  const int64_t used = cells(number_of(limit, "used"), total);
  const int64_t held = std::min(cells(number_of(limit, "held"), total), kBarWidth - used);
  return "[" + std::string(static_cast<size_t>(used), '#') +
         std::string(static_cast<size_t>(held), '+') +
         std::string(static_cast<size_t>(kBarWidth - used - held), '.') + "]";
}

}  // namespace tollgate::ctl
