#include <algorithm>

#include "userspace/ctl/show.h"
#include "userspace/ctl/since.h"
#include "userspace/ctl/table.h"
#include "userspace/ctl/text.h"

namespace tollgate::ctl {

namespace {

constexpr size_t kKeyShown = 8;  // enough to find it in `wg show`

std::string short_key(const std::string& key) {
  return key.size() > kKeyShown ? key.substr(0, kKeyShown) + "..." : key;
}

}  // namespace

std::string revocation_text(const nlohmann::json& revocation) {
  const std::string reason = text_of(revocation, "reason");
  return "since " + utc_time(number_of(revocation, "since_unix_ms")) + " UTC by uid " +
         std::to_string(number_of(revocation, "uid")) +
         (reason.empty() ? "" : " (" + reason + ")") +
         (truth_of(revocation, "durable") ? "" : ", NOT ON DISK");
}

void show_peers(std::ostream& out, const nlohmann::json& peers, int64_t now_unix_ms) {
  if (!peers.is_array() || peers.empty()) {
    out << "No peers are known.\n";
    return;
  }
  Table table;
  table.columns = {{"USER", false},       {"ADDRESS", false}, {"TUNNEL", false},
                   {"GROUPS", false},     {"PEER", true},     {"GENERATION", true},
                   {"CONNECTIONS", true}, {"KEY", false},     {"HANDSHAKE", true},
                   {"ENDPOINT", false}};
  const auto is_revoked = [](const nlohmann::json& peer) {
    return part_of(peer, "revoked").is_object();
  };
  const bool any_revoked = std::any_of(peers.begin(), peers.end(), is_revoked);
  if (any_revoked) table.columns.push_back({"REVOKED", false});
  std::vector<std::string> problems;
  for (const auto& peer : peers) {
    const std::string problem = text_of(peer, "problem");
    const int64_t id = number_of(peer, "peer_id");
    const int64_t handshake_s = number_of(peer, "last_handshake_unix_s");
    table.rows.push_back(
        {text_of(peer, "user"), text_of(peer, "address"), text_of(peer, "tunnel"),
         list_of(peer, "groups"), problem.empty() ? std::to_string(id) : "nobody",
         std::to_string(number_of(peer, "generation")), thousands(number_of(peer, "connections")),
         short_key(text_of(peer, "public_key")),
         handshake_s == 0 ? std::string() : duration_short(now_unix_ms - handshake_s * 1000),
         text_of(peer, "endpoint")});
    if (any_revoked) {
      table.rows.back().push_back(is_revoked(peer) ? revocation_text(part_of(peer, "revoked"))
                                                   : std::string());
    }
    const bool told = std::find(problems.begin(), problems.end(), problem) != problems.end();
    if (!problem.empty() && !told) problems.push_back(problem);
  }
  print(out, table);
  for (const std::string& problem : problems)
    out << problem << '\n';
}

void show_sessions(std::ostream& out, const nlohmann::json& sessions, int64_t now_unix_ms) {
  if (!sessions.is_array() || sessions.empty()) {
    out << "No requests are running.\n";
    return;
  }
  Table table;
  table.columns = {{"ID", false},      {"USER", false},  {"MODEL", false},  {"STATE", false},
                   {"RUNNING", true},  {"EVENTS", true}, {"DOWN", true},    {"HOLD", true},
                   {"ADDRESS", false}, {"VIA", false},   {"SESSION", false}};
  for (const auto& session : sessions) {
    table.rows.push_back(
        {text_of(session, "id"), text_of(session, "user"), text_of(session, "model"),
         text_of(session, "state"),
         duration_short(now_unix_ms - number_of(session, "started_unix_ms")),
         thousands(number_of(session, "events")), bytes_short(number_of(session, "bytes_down")),
         dollars(number_of(session, "hold_cost_nano_usd")), text_of(session, "peer_address"),
         text_of(session, "via"), text_of(session, "session_id")});
  }
  print(out, table);
}

void show_unmetered(std::ostream& out, const nlohmann::json& answer) {
  const nlohmann::json& flows = part_of(answer, "flows");
  if (!flows.is_array() || flows.empty()) {
    out << "No traffic to providers without a usage record.\n";
    return;
  }
  out << "Connections to providers that carried more than their usage records account for:\n\n";
  Table table;
  table.columns = {{"AT (UTC)", false}, {"PROVIDER", false}, {"REMOTE", false}, {"SENT", true},
                   {"RECEIVED", true},  {"RECORDS", true},   {"FLOW", true}};
  for (const auto& flow : flows) {
    table.rows.push_back({utc_time(number_of(flow, "at_unix_s") * 1000), text_of(flow, "provider"),
                          text_of(flow, "remote"), bytes_short(number_of(flow, "bytes_sent")),
                          bytes_short(number_of(flow, "bytes_received")),
                          thousands(number_of(flow, "records")),
                          std::to_string(number_of(flow, "flow_id"))});
  }
  print(out, table);
  out << "\nNo user was charged for this. The provider's own report says for what it asks money.\n";
  if (truth_of(answer, "refusing")) {
    out << "REQUESTS ARE REFUSED until `tollgate unmetered --acknowledge`.\n";
  }
}

void show_acknowledged(std::ostream& out, const nlohmann::json& answer) {
  out << "Acknowledged " << thousands(number_of(answer, "acknowledged"))
      << " connections with unmetered traffic. Requests are admitted.\n";
}

}  // namespace tollgate::ctl
