#include "userspace/ctl/limit_text.h"
#include "userspace/ctl/show.h"
#include "userspace/ctl/since.h"
#include "userspace/ctl/text.h"

namespace tollgate::ctl {
namespace {

// One fact a line, its name in a column of its own.
void line(std::ostream& out, std::string name, const std::string& value) {
  name.resize(12, ' ');
  out << name << value << '\n';
}

std::string with_reason(const std::string& what, const std::string& why) {
  return why.empty() ? what : what + " (" + why + ")";
}

// What happened, for a person: a counter that is 0 says nothing (--json has them all).
std::string counter_list(const nlohmann::json& counters) {
  std::string list;
  if (!counters.is_object()) return list;
  for (const auto& [name, value] : counters.items()) {
    if (!value.is_number_integer() || value == 0) continue;
    list += list.empty() ? "" : ", ";
    list += printable(name) + " " + thousands(number_of(counters, name.c_str()));
  }
  return list;
}

// Connections by the place of their record layer; empty for a daemon that does not say.
std::string tls_counts(const nlohmann::json& tls, const char* side) {
  const auto& counts = part_of(tls, side);
  if (!counts.is_object()) return {};
  return std::string(side) + " " + thousands(number_of(counts, "ktls_tx")) + " in the kernel, " +
         thousands(number_of(counts, "userspace")) + " in userspace";
}

void show_tls(std::ostream& out, const nlohmann::json& tls, int64_t now_unix_ms) {
  const int64_t expires_ms = number_of(tls, "certificate_expires_unix_s") * 1000;
  std::string text = with_reason(text_of(tls, "path"), text_of(tls, "reason"));
  if (expires_ms > 0) {
    text += ", certificate expires " + utc_time(expires_ms) + " UTC, ";
    text += expires_ms > now_unix_ms ? "in " + duration_short(expires_ms - now_unix_ms)
                                     : std::string("EXPIRED");
  }
  line(out, "tls", text);
  const std::string client = tls_counts(tls, "client");
  if (!client.empty()) line(out, "", client + "; " + tls_counts(tls, "upstream"));
}

void show_ledger(std::ostream& out, const nlohmann::json& ledger) {
  line(out, "ledger",
       with_reason(truth_of(ledger, "healthy") ? "healthy" : "NOT HEALTHY",
                   text_of(ledger, "error")) +
           ", committed " + thousands(number_of(ledger, "committed")) + ", pending " +
           thousands(number_of(ledger, "pending")) + ", events lost " +
           thousands(number_of(ledger, "events_lost")));
}

void show_policy(std::ostream& out, const nlohmann::json& policy) {
  line(out, "policy",
       thousands(number_of(policy, "rules")) + " rules, " + thousands(number_of(policy, "peers")) +
           " peers, price version " + text_of(policy, "price_version") + ", loaded " +
           utc_time(number_of(policy, "loaded_unix_s") * 1000) + " UTC");
  const std::string error = text_of(policy, "last_reload_error");
  if (!error.empty()) line(out, "", "LAST RELOAD FAILED: " + error);
}

void show_limits_state(std::ostream& out, const nlohmann::json& limits) {
  if (!limits.is_object()) return;  // a daemon without limits
  line(out, "limits",
       thousands(number_of(limits, "accounts")) + " accounts" +
           (truth_of(limits, "filling") ? ", STILL READING THE LEDGER" : ""));
  line(out, "holds",
       thousands(number_of(limits, "holds_open")) + " open, " +
           thousands(number_of(limits, "holds_recovered")) + " recovered, " +
           thousands(number_of(limits, "hold_exceeded")) + " exceeded, " +
           thousands(number_of(limits, "holds_leaked")) + " leaked");
  line(out, "alerts", thousands(number_of(limits, "alerts")));
}

void show_metering(std::ostream& out, const nlohmann::json& metering) {
  if (!metering.is_object()) return;  // an older daemon
  if (!truth_of(metering, "active")) {
    line(out, "metering", "not compared with the kernel's count: steering is userspace");
    return;
  }
  line(out, "metering",
       thousands(number_of(metering, "judged")) +
           " connections compared with the kernel's count, " +
           thousands(number_of(metering, "unmetered_flows")) + " unmetered (" +
           thousands(number_of(metering, "unmetered_bytes")) + " bytes)" +
           (truth_of(metering, "refusing") ? ", REFUSING REQUESTS" : ""));
}

}  // namespace

void show_status(std::ostream& out, const nlohmann::json& status, int64_t now_unix_ms) {
  out << "tollgated " << text_of(status, "version") << ", pid " << number_of(status, "pid")
      << ", up " << duration_short(number_of(status, "uptime_s") * 1000) << ": "
      << (truth_of(status, "healthy") ? "healthy" : "NOT HEALTHY") << '\n';
  if (const auto& before = part_of(status, "predecessor"); before.is_object()) {
    out << "  predecessor pid " << number_of(before, "pid") << " drains "
        << thousands(number_of(before, "requests")) << " streams\n";
  }
  if (const auto& problems = part_of(status, "problems"); problems.is_array()) {
    for (const auto& problem : problems) {
      if (problem.is_string()) out << "  - " << printable(problem.get<std::string>()) << '\n';
    }
  }
  out << '\n';
  const auto& steering = part_of(status, "steering");
  const auto& io = part_of(status, "io");
  line(out, "listen", list_of(status, "listen"));
  show_tls(out, part_of(status, "tls"), now_unix_ms);
  line(out, "steering", with_reason(text_of(steering, "mode"), text_of(steering, "reason")));
  if (const std::string counters = counter_list(part_of(steering, "counters")); !counters.empty()) {
    line(out, "", counters);
  }
  line(out, "io",
       with_reason(text_of(io, "backend"), text_of(io, "fallback_reason")) + ", " +
           thousands(number_of(status, "workers")) + " workers");
  line(out, "now",
       thousands(number_of(status, "connections")) + " connections, " +
           thousands(number_of(status, "requests_running")) + " requests running");
  const std::string happened = counter_list(part_of(status, "counters"));
  line(out, "since start", happened.empty() ? "nothing yet" : happened);
  const auto& refused = part_of(part_of(status, "counters"), "refused");
  if (const std::string codes = counter_list(refused); !codes.empty()) line(out, "refused", codes);
  show_ledger(out, part_of(status, "ledger"));
  show_metering(out, part_of(status, "metering"));
  show_limits_state(out, part_of(status, "limits"));
  show_policy(out, part_of(status, "policy"));
  if (const auto& revocations = part_of(status, "revocations"); revocations.is_array()) {
    for (const auto& revocation : revocations)
      line(out, "revoked", subject_text(revocation) + " " + revocation_text(revocation));
  }
  if (const auto& providers = part_of(status, "providers"); providers.is_array()) {
    for (const auto& provider : providers) {
      line(out, "provider",
           text_of(provider, "name") + " " + text_of(provider, "base_url") + ", connections " +
               thousands(number_of(provider, "connections_busy")) + " busy, " +
               thousands(number_of(provider, "connections_idle")) + " idle");
    }
  }
}

}  // namespace tollgate::ctl
