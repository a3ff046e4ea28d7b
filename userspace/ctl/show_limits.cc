#include "userspace/ctl/limit_text.h"
#include "userspace/ctl/show.h"
#include "userspace/ctl/since.h"
#include "userspace/ctl/table.h"
#include "userspace/ctl/text.h"

namespace tollgate::ctl {
namespace {

// "25%, then refused (engineering-codex)"
std::string state_text(const nlohmann::json& limit) {
  std::string text = std::to_string(number_of(limit, "used_percent")) + "%, then ";
  const std::string on_exceed = text_of(limit, "on_exceed");
  if (on_exceed == "refuse") {
    text += "refused";
  } else {
    text += on_exceed == "warn" ? "a warning" : on_exceed;
  }
  const nlohmann::json& policies = part_of(limit, "policies");
  if (!policies.is_array() || policies.empty()) return text;
  if (policies.size() > 1) return text + " (" + std::to_string(policies.size()) + " policies)";
  return text + " (" + list_of(limit, "policies") + ")";
}

std::string resets_text(const nlohmann::json& limit, int64_t now_unix_ms) {
  const int64_t resets_s = number_of(limit, "resets_unix_s");
  return resets_s <= 0 ? "-" : "in " + duration_short(resets_s * 1000 - now_unix_ms);
}

void print_limits(std::ostream& out, const nlohmann::json& limits, int64_t now_unix_ms) {
  Table table;
  table.columns = {{"LIMIT", false}, {"HELD", true}, {"LEFT", true}, {"RESETS", false}};
  std::string subject;
  for (const auto& limit : limits) {
    if (subject_text(limit) != subject) {
      subject = subject_text(limit);
      table.rows.push_back({subject});
    }
    const std::string unit = text_of(limit, "unit");
    table.rows.push_back({"  " + limit_text(limit),
                          unit == "concurrent" ? "-" : amount_text(unit, number_of(limit, "held")),
                          amount_text(unit, number_of(limit, "left")),
                          resets_text(limit, now_unix_ms)});
    table.rows.push_back({"  " + bar_text(limit) + "  " + state_text(limit)});
  }
  print(out, table);
}

void print_estimates(std::ostream& out, const nlohmann::json& estimates) {
  if (!estimates.is_array()) return;
  for (const auto& estimate : estimates) {
    const int64_t hundredths = number_of(estimate, "tokens_per_kilobyte") / 10;
    const std::string fraction = std::to_string(100 + hundredths % 100).substr(1);
    out << "typical hold: " << text_of(estimate, "model") << ' ' << std::to_string(hundredths / 100)
        << '.' << fraction << " tokens a byte, " << thousands(number_of(estimate, "output_tokens"))
        << " output tokens, " << thousands(number_of(estimate, "samples")) << " samples\n";
  }
}

}  // namespace

void show_limits(std::ostream& out, const nlohmann::json& answer, const std::string& user,
                 int64_t now_unix_ms) {
  const nlohmann::json& limits = part_of(answer, "limits");
  if (limits.is_array() && !limits.empty()) {
    print_limits(out, limits, now_unix_ms);
  } else {
    out << (user.empty() ? "No limits are configured." : "No limit binds " + printable(user) + ".")
        << " Write [[policy.limit]] below a [[policy]]; the example configuration shows how.\n";
  }
  const nlohmann::json& estimates = part_of(answer, "estimates");
  if (user.empty() || !estimates.is_array() || estimates.empty()) return;
  out << '\n';
  print_estimates(out, estimates);
}

void show_adjustments(std::ostream& out, const nlohmann::json& adjustments) {
  if (!adjustments.is_array() || adjustments.empty()) {
    out << "No grants or resets.\n";
    return;
  }
  Table table;
  table.columns = {{"WHEN (UTC)", false}, {"WHO", false}, {"DID", false}};
  for (const auto& row : adjustments) {
    std::string did = "reset " + subject_text(row);
    if (text_of(row, "kind") == "grant") {
      const std::string unit = text_of(row, "unit");
      did = "granted " + amount_text(unit, number_of(row, "amount")) +
            (unit == "usd" ? "" : " " + unit) + " to " + subject_text(row) + " until " +
            utc_time(number_of(row, "until_unix_s") * 1000);
    }
    const std::string reason = text_of(row, "reason");
    if (!reason.empty()) did += ": " + reason;
    table.rows.push_back({utc_time(number_of(row, "made_unix_ms")),
                          "uid " + std::to_string(number_of(row, "uid")), did});
  }
  print(out, table);
}

}  // namespace tollgate::ctl
