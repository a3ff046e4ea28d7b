// What the configuration names: certificate, keys, prices, providers, and the gateway itself where
// one runs. To a provider, a handshake and nothing else: no request, no key.
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "userspace/base/clock.h"
#include "userspace/daemon/dial.h"
#include "userspace/daemon/doctor.h"
#include "userspace/daemon/load.h"
#include "userspace/daemon/resolve.h"
#include "userspace/proxy/catalog.h"
#include "userspace/tls/certificate.h"
#include "userspace/tls/channel.h"

namespace tollgate::daemon {
namespace {

using State = Finding::State;

constexpr size_t kPriceBytesMax = 4 * 1024 * 1024;

Finding broken(std::string what, const Error& error) {
  return {State::broken, std::move(what), error.text,
          error.hint.empty() ? "mend that, then ask again" : error.hint};
}

std::optional<Reader> reader_named(const std::string& name) {
  if (name.empty()) return std::nullopt;
  const passwd* entry = ::getpwnam(name.c_str());
  if (entry == nullptr) return std::nullopt;
  Reader reader{name, entry->pw_uid, {}};
  gid_t groups[64];
  int count = std::size(groups);
  if (::getgrouplist(name.c_str(), entry->pw_gid, groups, &count) >= 0) {
    reader.gids.assign(groups, groups + count);
  } else {
    reader.gids = {entry->pw_gid};
  }
  return reader;
}

Finding look_at_key(const std::string& what, const std::string& path, const Reader* reader) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return {State::broken, what, path + ": " + std::strerror(errno),
            "put the key there, as root:tollgate with mode 0640"};
  }
  if (::access(path.c_str(), R_OK) != 0) {
    return ::geteuid() == 0
               ? Finding{State::broken, what, path + ": " + std::strerror(errno), "chmod 0640"}
               : Finding{State::degraded, what, path + ": not for us to read", "run this as root"};
  }
  return judge_key_file(what, path, {info.st_mode & 07777, info.st_uid, info.st_gid}, reader);
}

void look_at_certificate(const policy::GatewayConfig& gateway, Findings& findings) {
  const auto facts = tls::read_certificate(gateway.certificate);
  if (!facts) {
    findings.push_back(broken("certificate", facts.error()));
    return;
  }
  findings.push_back(judge_expiry("certificate", facts->expires_unix_s, wall_unix_ms() / 1000));
  std::string names;
  for (const std::string& name : facts->names)
    names += (names.empty() ? "" : ", ") + name;
  findings.push_back(names.empty()
                         ? Finding{State::broken, "names", "the certificate names no host",
                                   "issue it with subjectAltName: what clients have in base_url"}
                         : Finding{State::ok, "names", names + ": what base_url may say"});
  if (::access(gateway.private_key.c_str(), R_OK) != 0) return;  // look_at_key says why
  const auto pair = tls::make_server_context(gateway.certificate, gateway.private_key);
  findings.push_back(pair ? Finding{State::ok, "key pair", "key and certificate belong together"}
                          : broken("key pair", pair.error()));
}

void look_at_intercept(const policy::Intercept& intercept, const Reader* reader,
                       Findings& findings) {
  const std::string what = "intercept";
  const auto facts = tls::read_certificate(intercept.certificate);
  if (!facts) {
    findings.push_back(broken(what, facts.error()));
  } else {
    findings.push_back(judge_names(what, intercept.host, facts->names));
    findings.push_back(judge_expiry(what, facts->expires_unix_s, wall_unix_ms() / 1000));
  }
  findings.push_back(look_at_key("intercept key", intercept.private_key, reader));
}

void look_at_prices(const std::string& file, Findings& findings) {
  struct stat info {};
  const auto text = read_text_file(file, kPriceBytesMax);
  if (!text || ::stat(file.c_str(), &info) != 0) {
    findings.push_back(text ? Finding{State::broken, "prices", file, "make it readable"}
                            : broken("prices", text.error()));
    return;
  }
  const auto prices = policy::parse_prices(*text, file);
  findings.push_back(prices ? judge_price_age(file, info.st_mtime, wall_unix_ms() / 1000)
                            : broken("prices", prices.error()));
}

// A model that somebody may use and that the catalogue lacks works: Codex has metadata for names
// that it does not know.
void look_at_catalog(const policy::Config& config, Findings& findings) {
  const std::string& file = config.gateway.model_catalog;
  if (file.empty()) return;
  const auto catalog = load_catalog(config);
  const auto policy = load_policy(config);
  if (!catalog || !policy) {
    if (!catalog) findings.push_back(broken("model catalogue", catalog.error()));
    return;  // look_at_prices says what is wrong with those
  }
  policy::Peer everybody;
  for (const policy::Group& group : config.groups)
    everybody.groups.push_back(group.name);
  size_t shown = 0;
  std::string lacking;
  for (const std::string& model : (*policy)->models_for(everybody)) {
    if ((*catalog)->find(model) != nullptr) {
      ++shown;
    } else {
      lacking += (lacking.empty() ? ", without " : ", ") + model;
    }
  }
  findings.push_back(shown > 0 ? Finding{State::ok, "model catalogue", file + lacking}
                               : Finding{State::degraded, "model catalogue",
                                         file + " has no model that anybody may use",
                                         "write what `codex debug models` prints"});
}

// One address that serves is enough, as for the gateway; what the others said is told.
Finding try_addresses(const policy::Provider& provider, const std::vector<Endpoint>& addresses) {
  const std::string what = "provider " + provider.name;
  std::shared_ptr<const tls::ClientContext> context;
  if (provider.scheme == "https") {
    auto made = tls::make_client_context(provider.host, provider.ca_file);
    if (!made) return broken(what, made.error());
    context = *std::move(made);
  }
  std::string failures;
  for (const Endpoint& address : addresses) {
    const std::string where = provider.host + " at " + tollgate::to_string(address);
    const Status done = try_to_reach(address, context.get());
    if (done && failures.empty()) {
      return {State::ok, what, where + (context ? ", certificate verified" : ", without TLS")};
    }
    if (done) return {State::degraded, what, failures, "the gateway goes on to " + where};
    failures += (failures.empty() ? "" : "; ") + where + ": " + done.error().text;
  }
  return {State::broken, what, failures,
          "check route, firewall and DNS, or for a certificate ca_file and base_url"};
}

}  // namespace

void examine_files(const policy::Config& config, Findings& findings) {
  const policy::GatewayConfig& gateway = config.gateway;
  const std::optional<Reader> reader = reader_named(gateway.user);
  if (!gateway.user.empty() && !reader) {
    findings.push_back({State::broken, "user", "there is no user " + gateway.user,
                        "systemd-sysusers makes it, or set gateway.user"});
  }
  const Reader* as = reader ? &*reader : nullptr;
  if (gateway.plain_http) {
    findings.push_back({State::degraded, "TLS", "plain_http: the tunnel alone encrypts",
                        "a certificate, where clients can be given its CA"});
  } else {
    look_at_certificate(gateway, findings);
    findings.push_back(look_at_key("private key", gateway.private_key, as));
  }
  for (const policy::Intercept& intercept : config.intercepts)
    look_at_intercept(intercept, as, findings);
  for (const policy::Provider& provider : config.providers) {
    for (const policy::KeySource& key : provider.keys)
      findings.push_back(look_at_key("key " + key.name, key.file, as));
  }
  look_at_prices(gateway.price_file, findings);
  look_at_catalog(config, findings);
}

void examine_providers(const policy::Config& config, Findings& findings) {
  for (const policy::Provider& provider : config.providers) {
    const auto addresses = provider.connect_to ? std::vector<Endpoint>{*provider.connect_to}
                                               : resolve_host({provider.host, provider.port});
    if (addresses.empty()) {
      findings.push_back({State::broken, "provider " + provider.name,
                          provider.host + " has no address",
                          "check /etc/resolv.conf, or set connect_to"});
      continue;
    }
    findings.push_back(try_addresses(provider, addresses));
  }
}

void examine_daemon(const policy::Config& config, Findings& findings) {
  const std::string socket = config.gateway.run_dir + "/admin.sock";
  for (Finding& finding : judge_status(socket, ask_daemon(socket, R"({"v":1,"verb":"status"})")))
    findings.push_back(std::move(finding));
}

}  // namespace tollgate::daemon
