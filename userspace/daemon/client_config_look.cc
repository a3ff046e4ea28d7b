// The half of client_config.h that asks: files, the name service, the gateway over TLS as a client
// does, and its admin socket.
#include <algorithm>
#include <optional>

#include "userspace/daemon/client_config.h"
#include "userspace/daemon/dial.h"
#include "userspace/daemon/load.h"
#include "userspace/daemon/resolve.h"
#include "userspace/proxy/catalog.h"
#include "userspace/tls/certificate.h"

namespace tollgate::daemon {
namespace {

using State = Finding::State;
using Json = nlohmann::json;

Finding broken(std::string what, const Error& error) {
  return {State::broken, std::move(what), error.text,
          error.hint.empty() ? "mend that, then ask again" : error.hint};
}

// With a catalogue the first that it shows, else the newest by its name.
std::string model_for(const policy::Policy& policy, const proxy::Catalog* catalog,
                      const std::string& user) {
  const std::vector<std::string> allowed = policy.models_for(policy.peer_of(user));
  if (allowed.empty()) return {};
  if (catalog != nullptr) {
    for (const codec::CatalogEntry& entry : catalog->entries) {
      if (std::find(allowed.begin(), allowed.end(), entry.slug) != allowed.end()) return entry.slug;
    }
  }
  return allowed.back();
}

// For everybody only where every policy allows it: others would be sent back to HTTP each time.
bool may_use_websocket(const policy::Policy& policy, const std::string& user) {
  if (!user.empty()) return policy.websocket_for(policy.peer_of(user));
  return std::all_of(policy.rules().begin(), policy.rules().end(),
                     [](const policy::Rule& rule) { return rule.websocket; });
}

// As a client does it: by this name, with this trust.
Finding look_at_tls(const std::string& what, const std::string& host, const Endpoint& gateway,
                    const std::string& ca) {
  const std::string where = host + " at " + tollgate::to_string(gateway);
  const auto context = tls::make_client_context(host, ca);
  if (!context) return broken(what, context.error());
  const Status done = try_to_reach(gateway, context->get());
  if (done) {
    return {State::ok, what,
            where + ": certificate verified by " + (ca.empty() ? "this system's CAs" : ca)};
  }
  std::string remedy = "systemctl start tollgated; `tollgate doctor` says what it lacks";
  if (tls::is_certificate_error(done.error())) {
    remedy = ca.empty() ? "name the file of the CA that signed it with --ca, or install that CA"
                        : "name the CA that signed it, or have a certificate for " + host +
                              " signed by this one";
  }
  return {State::broken, what, where + ": " + done.error().text, remedy};
}

void look_at_gateway(const policy::Config& config, const std::string& host, const std::string& ca,
                     Findings& findings) {
  const Endpoint& gateway = config.gateway.listen.front();
  if (!parse_ip(host)) {
    findings.push_back(
        judge_addresses(host, resolve_host({host, gateway.port}), config.gateway.listen));
  }
  if (!config.gateway.plain_http) {
    findings.push_back(look_at_tls("certificate", host, gateway, ca));
    for (const policy::Intercept& intercept : config.intercepts)
      findings.push_back(look_at_tls("intercept", intercept.host, gateway, ca));
  } else if (const Status done = try_to_reach(gateway, nullptr); done) {
    findings.push_back({State::ok, "gateway", "answers at " + tollgate::to_string(gateway)});
  } else {
    findings.push_back({State::broken, "gateway",
                        tollgate::to_string(gateway) + ": " + done.error().text,
                        "systemctl start tollgated"});
  }
}

Finding look_at_user(const policy::Config& config, const std::string& user,
                     const std::string& model) {
  Json args = {{"user", user}};
  if (!model.empty()) args["model"] = model;
  const Json question = {{"v", 1}, {"verb", "explain"}, {"args", std::move(args)}};
  return judge_explanation(
      user, ask_daemon(config.gateway.run_dir + "/admin.sock",
                       question.dump(-1, ' ', true, Json::error_handler_t::replace)));
}

// Everything but what is wrong: that goes into `findings`.
std::optional<ClientSetup> look(const ClientConfigAsk& ask, Findings& findings) {
  const auto config = load_config(ask.config);
  const auto policy = config ? load_policy(*config) : Error(config.error());
  const auto catalog = policy ? load_catalog(*config) : Error(policy.error());
  if (!catalog) {
    findings.push_back(broken("configuration", catalog.error()));
    return std::nullopt;
  }
  ClientSetup setup;
  std::vector<std::string> names;
  if (!config->gateway.plain_http) {
    const auto certificate = tls::read_certificate(config->gateway.certificate);
    if (certificate) names = certificate->names;
    if (!certificate) findings.push_back(broken("certificate", certificate.error()));
  }
  if (!ask.ca.empty()) {
    const auto authority = tls::read_certificate(ask.ca);
    if (!authority) findings.push_back(broken("CA", authority.error()));
    setup.ca_file = ask.ca;
    setup.ca_sha256 = authority ? authority->sha256 : "unknown";
  }
  const std::string host = gateway_host(config->gateway, names);
  setup.base_url = base_url_of(config->gateway, host);
  setup.user = ask.user;
  setup.catalog = *catalog != nullptr;
  setup.websocket = may_use_websocket(**policy, ask.user);
  for (const policy::Intercept& intercept : config->intercepts)
    setup.intercepted.push_back(intercept.host);
  look_at_gateway(*config, host, ask.ca, findings);
  if (!ask.user.empty()) {
    setup.model = model_for(**policy, catalog->get(), ask.user);
    findings.push_back(look_at_user(*config, ask.user, setup.model));
  }
  return setup;
}

Json to_json(const ClientSetup& setup) {
  Json ca;
  if (!setup.ca_file.empty()) ca = {{"file", setup.ca_file}, {"sha256", setup.ca_sha256}};
  return {{"base_url", setup.base_url},
          {"user", setup.user},
          {"model", setup.model},
          {"config_toml", config_toml(setup)},
          {"ca", std::move(ca)},
          {"requirements_toml", requirements_toml(setup)},
          {"intercepted", setup.intercepted}};
}

void show(std::ostream& out, const ClientSetup& setup) {
  out << "# ~/.codex/config.toml" << (setup.user.empty() ? "" : " of " + setup.user) << '\n'
      << config_toml(setup)
      << "\n# /etc/codex/requirements.toml, where the machine is managed: it wins over every\n"
         "# config.toml and -c of a developer\n"
      << requirements_toml(setup) << '\n'
      << certificate_notes(setup) << '\n';
}

}  // namespace

int client_config(std::ostream& out, const ClientConfigAsk& ask) {
  Findings findings;
  const std::optional<ClientSetup> setup = look(ask, findings);
  if (ask.json) {
    Json answer = setup ? to_json(*setup) : Json::object();
    answer.update(to_json(findings));
    out << answer.dump(2, ' ', true, Json::error_handler_t::replace) << '\n';
  } else {
    if (setup) show(out, *setup);
    show(out, findings);
  }
  out.flush();
  return exit_code(findings);
}

}  // namespace tollgate::daemon
