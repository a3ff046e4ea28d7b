#include "userspace/ctl/limit_text.h"
#include "userspace/ctl/show.h"
#include "userspace/ctl/table.h"
#include "userspace/ctl/text.h"

namespace tollgate::ctl {
namespace {

void show_steps(std::ostream& out, const nlohmann::json& steps) {
  if (!steps.is_array() || steps.empty()) return;
  Table table;
  table.columns = {{"STEP", false}, {"PASSED", false}, {"REASON", false}};
  for (const auto& step : steps) {
    table.rows.push_back({text_of(step, "subject"), truth_of(step, "passed") ? "yes" : "no",
                          text_of(step, "reason")});
  }
  out << '\n';
  print(out, table);
}

// What each limit would say to one more such request.
void show_verdicts(std::ostream& out, const nlohmann::json& limits) {
  if (!limits.is_array() || limits.empty()) return;
  Table table;
  table.columns = {{"LIMIT", false}, {"THIS REQUEST", false}};
  for (const auto& limit : limits) {
    const std::string on_exceed = text_of(limit, "on_exceed");
    std::string verdict = "would be served by " + on_exceed;
    if (truth_of(limit, "fits")) {
      verdict = "fits";
    } else if (on_exceed == "refuse") {
      verdict = "would be refused";
    } else if (on_exceed == "warn") {
      verdict = "would warn";
    }
    table.rows.push_back({subject_text(limit) + ": " + limit_text(limit), verdict});
  }
  out << '\n';
  print(out, table);
}

void show_hold(std::ostream& out, const nlohmann::json& hold) {
  if (!hold.is_object()) return;
  out << "\nhold (" << text_of(hold, "mode") << "): " << thousands(number_of(hold, "input_tokens"))
      << " input and " << thousands(number_of(hold, "output_tokens")) << " output tokens, "
      << dollars(number_of(hold, "cost_nano_usd")) << ", for a body of "
      << bytes_short(number_of(hold, "body_bytes")) << '\n';
}

}  // namespace

void show_explanation(std::ostream& out, const nlohmann::json& explanation) {
  const std::string model = text_of(explanation, "model");
  const std::string groups = list_of(explanation, "groups");
  out << text_of(explanation, "user") << (groups.empty() ? " (no group)" : " (" + groups + ")")
      << (model.empty() ? "" : ", model " + model) << ": ";
  if (truth_of(explanation, "allowed")) {
    out << "allowed by policy " << text_of(explanation, "policy") << ", provider "
        << text_of(explanation, "provider") << '\n';
  } else {
    out << "refused, " << text_of(explanation, "code") << "\n"
        << text_of(explanation, "message") << '\n';
  }
  show_steps(out, part_of(explanation, "steps"));
  show_verdicts(out, part_of(explanation, "limits"));
  show_hold(out, part_of(explanation, "hold"));
}

}  // namespace tollgate::ctl
