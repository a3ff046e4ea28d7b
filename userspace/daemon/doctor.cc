#include "userspace/daemon/doctor.h"

#include <algorithm>
#include <cstdio>

#include "userspace/daemon/load.h"

namespace tollgate::daemon {
namespace {

using State = Finding::State;

constexpr int64_t kDayS = 86'400;
constexpr int64_t kExpirySoonS = 14 * kDayS;
// Prices change several times a year.
constexpr int64_t kPricesOldS = 120 * kDayS;
constexpr uint64_t kMiB = 1024 * 1024;
// A record is some 500 bytes, and SQLite's WAL may take 64 MiB.
constexpr uint64_t kSpaceBroken = 128 * kMiB;
constexpr uint64_t kSpaceDegraded = 1024 * kMiB;
constexpr size_t kNameColumn = 18;

std::string days(int64_t seconds) {
  return std::to_string(seconds / kDayS) + (seconds / kDayS == 1 ? " day" : " days");
}

std::string count_of(const Findings& findings, State state) {
  const auto count = std::count_if(findings.begin(), findings.end(),
                                   [state](const Finding& f) { return f.state == state; });
  return std::to_string(count) + " " + std::string(to_string(state));
}

}  // namespace

std::string_view to_string(State state) {
  switch (state) {
    case State::ok:
      return "ok";
    case State::degraded:
      return "degraded";
    case State::broken:
      return "broken";
  }
  return "";
}

// TLS in the kernel and its rekeying, io_uring's later operations: what 6.1 has less of, each part
// finds by itself and goes without.
Finding judge_kernel(const std::string& release) {
  unsigned major = 0;
  unsigned minor = 0;
  if (std::sscanf(release.c_str(), "%u.%u", &major, &minor) != 2) {
    return {State::degraded, "kernel", release + ": not a version that can be compared",
            "Linux 6.12 or newer is what Tollgate is tested on"};
  }
  const unsigned version = major * 1000 + minor;
  if (version >= 6012) return {State::ok, "kernel", release};
  if (version >= 6001) {
    return {State::degraded, "kernel", release + ": works, with less than 6.12 offers",
            "6.12 or newer when the host is next upgraded"};
  }
  return {State::broken, "kernel", release + ": older than 6.1, which BPF steering needs",
          "install Linux 6.12, or at least 6.1"};
}

Finding judge_kernel_tls(const std::string& wanted, const tls::KernelTls& has) {
  if (wanted == "userspace") return {State::ok, "kernel TLS", "not asked for: gateway.tls"};
  if (!has.available) {
    return {wanted == "ktls" ? State::broken : State::degraded, "kernel TLS",
            has.reason + (wanted == "ktls" ? "" : "; OpenSSL does it instead"),
            "modprobe tls, or gateway.tls = \"userspace\" says that this is meant"};
  }
  if (!has.use.rekey) {
    return {State::degraded, "kernel TLS", "works, without following a change of keys",
            "Linux 6.14 or newer can; until then such a connection is closed"};
  }
  return {State::ok, "kernel TLS", "works, changes of keys too"};
}

Finding judge_tunnel(const identity::Tunnel& tunnel) {
  const std::string& name = tunnel.name;
  const std::string what = "tunnel " + name;
  if (tunnel.ifindex == 0) {
    return {State::broken, what, "there is no such interface: the gateway does not start",
            "create it (wg-quick up " + name + "), or correct gateway.tunnels"};
  }
  if (!tunnel.up) {
    return {State::broken, what, "is down: no client gets through", "ip link set " + name + " up"};
  }
  if (!tunnel.unreadable.empty()) {
    return {State::degraded, what, "WireGuard, whose peers cannot be read: " + tunnel.unreadable,
            "run this as root"};
  }
  if (!tunnel.wireguard) {
    return {State::degraded, what,
            "is up, and not the kernel's WireGuard: whoever can send from an address is that peer",
            "make sure that the tunnel itself allows each peer only its own addresses"};
  }
  return {State::ok, what, "up, WireGuard"};
}

Finding judge_expiry(const std::string& what, int64_t expires_unix_s, int64_t now_unix_s) {
  const int64_t left_s = expires_unix_s - now_unix_s;
  if (left_s <= 0) {
    return {State::broken, what, "expired " + days(-left_s) + " ago: clients cannot connect",
            "renew it, then `tollgate reload`"};
  }
  if (left_s < kExpirySoonS) {
    return {State::degraded, what, "expires in " + days(left_s),
            "renew it, then `tollgate reload`"};
  }
  return {State::ok, what, "valid for " + days(left_s)};
}

Finding judge_names(const std::string& what, const std::string& host,
                    const std::vector<std::string>& names) {
  const std::string wildcard = "*" + host.substr(std::min(host.find('.'), host.size()));
  std::string listed;
  for (const std::string& name : names) {
    if (name == host || name == wildcard) return {State::ok, what, "for " + name};
    listed += (listed.empty() ? "" : ", ") + name;
  }
  return {State::broken, what,
          "not for " + host + ", but for " + (listed.empty() ? "no host" : listed),
          "issue it with " + host + " as subjectAltName"};
}

Finding judge_space(const std::string& folder, uint64_t free_bytes) {
  const std::string says = folder + ": " + std::to_string(free_bytes / kMiB) + " MiB free";
  if (free_bytes < kSpaceBroken) {
    return {State::broken, "space", says + ": a full disk ends all admission",
            "make room on the file system of " + folder};
  }
  if (free_bytes < kSpaceDegraded) {
    return {State::degraded, "space", says, "make room before the ledger needs it"};
  }
  return {State::ok, "space", says};
}

Finding judge_price_age(const std::string& file, int64_t changed_unix_s, int64_t now_unix_s) {
  const int64_t age_s = std::max<int64_t>(now_unix_s - changed_unix_s, 0);
  if (age_s > kPricesOldS) {
    return {State::degraded, "prices", file + " is " + days(age_s) + " old",
            "compare it with the provider's price list, then `touch` or replace it"};
  }
  return {State::ok, "prices", file + ", " + days(age_s) + " old"};
}

Finding judge_key_file(const std::string& what, const std::string& path, const FileMode& file,
                       const Reader* reader) {
  if ((file.mode & 0007) != 0) {
    return {State::broken, what, path + ": others on this host may use it", "chmod 0640 " + path};
  }
  const auto in_group = [&] {
    return std::find(reader->gids.begin(), reader->gids.end(), file.gid) != reader->gids.end();
  };
  const bool readable =
      reader == nullptr || reader->uid == 0 ||
      (reader->uid == file.uid ? (file.mode & 0400) != 0 : in_group() && (file.mode & 0040) != 0);
  if (!readable) {
    return {State::degraded, what,
            path + ": read at the start by root, but not on a reload, as " + reader->name,
            "chgrp " + reader->name + " " + path + " && chmod 0640 " + path};
  }
  return {State::ok, what, path};
}

Findings judge_status(const std::string& socket, const std::string& answer) {
  if (answer.empty()) {
    return {{State::degraded, "daemon", "none answers at " + socket + ": nothing is served",
             "systemctl start tollgated"}};
  }
  const auto parsed = nlohmann::json::parse(answer, nullptr, false);
  const auto data = parsed.is_object() ? parsed.find("data") : parsed.end();
  if (!parsed.is_object() || data == parsed.end() || !data->is_object()) {
    return {{State::degraded, "daemon", "what answers at " + socket + " does not tell its status",
             "run as root, or as a member of tollgate-viewer"}};
  }
  Findings findings;
  const auto problems = data->find("problems");
  if (problems != data->end() && problems->is_array()) {
    for (const auto& problem : *problems) {
      if (!problem.is_string()) continue;
      findings.push_back({State::degraded, "daemon", problem.get<std::string>(),
                          "`tollgate status` has the details"});
    }
  }
  if (findings.empty()) findings.push_back({State::ok, "daemon", "runs, and is healthy"});
  return findings;
}

int exit_code(const Findings& findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& f) { return f.state == State::broken; })
             ? 1
             : 0;
}

void show(std::ostream& out, const Findings& findings) {
  const auto column = [](std::string text, size_t width) {
    text.resize(std::max(width, text.size() + 1), ' ');
    return text;
  };
  constexpr size_t kStateColumn = 10;
  for (const Finding& finding : findings) {
    out << column(std::string(to_string(finding.state)), kStateColumn)
        << column(finding.what, kNameColumn) << finding.says << '\n';
    if (!finding.remedy.empty()) {
      out << std::string(kStateColumn + kNameColumn, ' ') << "try: " << finding.remedy << '\n';
    }
  }
  out << '\n'
      << count_of(findings, State::ok) << ", " << count_of(findings, State::degraded) << ", "
      << count_of(findings, State::broken) << '\n';
}

nlohmann::json to_json(const Findings& findings) {
  nlohmann::json list = nlohmann::json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"state", to_string(finding.state)},
                    {"what", finding.what},
                    {"says", finding.says},
                    {"remedy", finding.remedy}});
  }
  return {{"healthy", exit_code(findings) == 0}, {"findings", std::move(list)}};
}

int doctor(std::ostream& out, const std::string& config_path, bool json) {
  Findings findings;
  if (const auto config = load_config(config_path)) {
    findings.push_back({State::ok, "configuration", config_path});
    examine_kernel(*config, findings);
    examine_network(*config, findings);
    examine_files(*config, findings);
    examine_storage(*config, findings);
    examine_providers(*config, findings);
    examine_leftovers(*config, findings);
    examine_daemon(*config, findings);
  } else {
    findings.push_back({State::broken, "configuration", config.error().text,
                        "`tollgate check " + config_path + "` until it is ok"});
  }
  if (json) {
    out << to_json(findings).dump(2, ' ', true, nlohmann::json::error_handler_t::replace) << '\n';
  } else {
    show(out, findings);
  }
  out.flush();
  return exit_code(findings);
}

}  // namespace tollgate::daemon
