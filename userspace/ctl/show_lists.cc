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
  table.columns = {{"ID", false},      {"USER", false},   {"MODEL", false}, {"STATE", false},
                   {"RUNNING", true},  {"EVENTS", true},  {"DOWN", true},   {"HOLD", true},
                   {"ADDRESS", false}, {"SESSION", false}};
  for (const auto& session : sessions) {
    table.rows.push_back({text_of(session, "id"), text_of(session, "user"),
                          text_of(session, "model"), text_of(session, "state"),
                          duration_short(now_unix_ms - number_of(session, "started_unix_ms")),
                          thousands(number_of(session, "events")),
                          bytes_short(number_of(session, "bytes_down")),
                          dollars(number_of(session, "hold_cost_nano_usd")),
                          text_of(session, "peer_address"), text_of(session, "session_id")});
  }
  print(out, table);
}

}  // namespace tollgate::ctl
