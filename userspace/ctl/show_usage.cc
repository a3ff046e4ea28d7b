#include <algorithm>
#include <cctype>

#include "userspace/ctl/show.h"
#include "userspace/ctl/since.h"
#include "userspace/ctl/table.h"
#include "userspace/ctl/text.h"

namespace tollgate::ctl {
namespace {

constexpr const char* kCounts[] = {"requests",        "refused",       "estimated",
                                   "input_tokens",    "cached_tokens", "output_tokens",
                                   "reasoning_tokens"};

std::vector<std::string> usage_cells(std::string key, const nlohmann::json& row) {
  std::vector<std::string> cells = {std::move(key)};
  for (const char* name : kCounts)
    cells.push_back(thousands(number_of(row, name)));
  cells.push_back(dollars(number_of(row, "cost_nano_usd")));
  return cells;
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

}  // namespace

void show_usage(std::ostream& out, const nlohmann::json& usage, const std::string& window) {
  const nlohmann::json& rows = part_of(usage, "rows");
  if (!rows.is_array() || rows.empty()) {
    out << "No usage " << window << ".\n";
    return;
  }
  const std::string by = text_of(usage, "by");
  Table table;
  table.columns = {{upper(by), false},  {"REQUESTS", true},  {"REFUSED", true},
                   {"ESTIMATED", true}, {"INPUT", true},     {"CACHED", true},
                   {"OUTPUT", true},    {"REASONING", true}, {"COST", true}};
  for (const auto& row : rows) {
    std::string key = text_of(row, by.c_str());
    table.rows.push_back(usage_cells(key.empty() ? "(none)" : std::move(key), row));
  }
  table.rows.push_back(usage_cells("TOTAL", part_of(usage, "total")));
  out << "Usage by " << by << ", " << window << "\n\n";
  print(out, table);
  if (by == "group") out << "\nA user of two groups is in both rows, and once in the total.\n";
}

void show_usage_csv(std::ostream& out, const nlohmann::json& usage) {
  const std::string by = text_of(usage, "by");
  out << csv_cell(by);
  for (const char* name : kCounts)
    out << ',' << name;
  out << ",cost_usd\n";
  const nlohmann::json& rows = part_of(usage, "rows");
  if (!rows.is_array()) return;
  for (const auto& row : rows) {
    out << csv_cell(text_of(row, by.c_str()));
    for (const char* name : kCounts)
      out << ',' << number_of(row, name);
    out << ',' << csv_cell(text_of(row, "cost_usd")) << '\n';
  }
}

void show_record(std::ostream& out, const nlohmann::json& record) {
  const std::string outcome = text_of(record, "outcome");
  const std::string refusal = text_of(record, "refusal_code");
  const std::string served = text_of(record, "model_served");
  const std::string user = text_of(record, "user");
  out << utc_time(number_of(record, "started_unix_ms")) << "  " << (user.empty() ? "-" : user)
      << "  " << (served.empty() ? text_of(record, "model_asked") : served) << "  " << outcome;
  if (!refusal.empty()) out << ':' << refusal;
  out << ' ' << number_of(record, "http_status") << "  in "
      << thousands(number_of(record, "input_tokens")) << " out "
      << thousands(number_of(record, "output_tokens")) << "  "
      << dollars(number_of(record, "cost_nano_usd"))
      << (truth_of(record, "estimated") ? " (estimated)" : "") << "  "
      << duration_short(number_of(record, "duration_ms")) << "  " << text_of(record, "id") << '\n';
}

}  // namespace tollgate::ctl
