#include "userspace/ctl/show.h"
#include "userspace/ctl/table.h"
#include "userspace/ctl/text.h"

namespace tollgate::ctl {

void show_peers(std::ostream& out, const nlohmann::json& peers) {
  if (!peers.is_array() || peers.empty()) {
    out << "No peers are known.\n";
    return;
  }
  Table table;
  table.columns = {{"USER", false}, {"ADDRESS", false},   {"TUNNEL", false},    {"GROUPS", false},
                   {"PEER", true},  {"GENERATION", true}, {"CONNECTIONS", true}};
  for (const auto& peer : peers) {
    table.rows.push_back({text_of(peer, "user"), text_of(peer, "address"), text_of(peer, "tunnel"),
                          list_of(peer, "groups"), std::to_string(number_of(peer, "peer_id")),
                          std::to_string(number_of(peer, "generation")),
                          thousands(number_of(peer, "connections"))});
  }
  print(out, table);
}

void show_sessions(std::ostream& out, const nlohmann::json& sessions, int64_t now_unix_ms) {
  if (!sessions.is_array() || sessions.empty()) {
    out << "No requests are running.\n";
    return;
  }
  Table table;
  table.columns = {{"ID", false},    {"USER", false},    {"MODEL", false},
                   {"STATE", false}, {"RUNNING", true},  {"EVENTS", true},
                   {"DOWN", true},   {"ADDRESS", false}, {"SESSION", false}};
  for (const auto& session : sessions) {
    table.rows.push_back({text_of(session, "id"), text_of(session, "user"),
                          text_of(session, "model"), text_of(session, "state"),
                          duration_short(now_unix_ms - number_of(session, "started_unix_ms")),
                          thousands(number_of(session, "events")),
                          bytes_short(number_of(session, "bytes_down")),
                          text_of(session, "peer_address"), text_of(session, "session_id")});
  }
  print(out, table);
}

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
  const nlohmann::json& steps = part_of(explanation, "steps");
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

}  // namespace tollgate::ctl
