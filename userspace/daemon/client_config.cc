#include "userspace/daemon/client_config.h"

#include <algorithm>

#include "userspace/base/text.h"

namespace tollgate::daemon {
namespace {

using State = Finding::State;
using Json = nlohmann::json;

std::string in_brackets(const std::string& host) {
  return host.find(':') == host.npos ? host : "[" + host + "]";
}

// JSON's strings are TOML's, too.
std::string line(std::string_view key, const std::string& value) {
  return std::string(key) + " = " +
         Json(value).dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

// Codex asks for a catalogue only with some token at hand; the gateway drops it.
std::string provider_table(const ClientSetup& setup) {
  std::string text = "[model_providers.tollgate]\n";
  text += line("name", "Tollgate");
  text += line("base_url", setup.base_url);
  text += line("wire_api", "responses");
  if (setup.websocket) text += "supports_websockets = true\n";
  if (setup.catalog) {
    text += line("experimental_bearer_token", "keyless");
    text += line("model_catalog_url", setup.base_url + "/models");
  }
  return text;
}

}  // namespace

std::string gateway_host(const policy::GatewayConfig& gateway,
                         const std::vector<std::string>& certificate_names) {
  const auto is_host = [](const std::string& name) {
    return !parse_ip(name) && !name.starts_with("*");
  };
  const auto host = std::find_if(certificate_names.begin(), certificate_names.end(), is_host);
  if (host != certificate_names.end()) return *host;
  for (const Endpoint& endpoint : gateway.listen) {
    const std::string address = to_string(endpoint.address);
    if (std::find(certificate_names.begin(), certificate_names.end(), address) !=
        certificate_names.end())
      return address;
  }
  return to_string(gateway.listen.front().address);
}

std::string base_url_of(const policy::GatewayConfig& gateway, const std::string& host) {
  const uint16_t port = gateway.listen.front().port;
  const std::string scheme = gateway.plain_http ? "http" : "https";
  const bool usual = port == (gateway.plain_http ? 80 : 443);
  return scheme + "://" + in_brackets(host) + (usual ? "" : ":" + std::to_string(port)) + "/v1";
}

std::string config_toml(const ClientSetup& setup) {
  std::string text = line("model_provider", "tollgate");
  if (!setup.model.empty()) text += line("model", setup.model);
  return text + "\n" + provider_table(setup);
}

std::string requirements_toml(const ClientSetup& setup) {
  return line("model_provider", "tollgate") + "\n" + provider_table(setup);
}

std::string certificate_notes(const ClientSetup& setup) {
  std::string text;
  if (!setup.ca_file.empty()) {
    text +=
        "# The gateway's certificate is signed by the CA in " + setup.ca_file +
        "\n# (sha256 fingerprint " + setup.ca_sha256 +
        ").\n# Copy that file, never its key, to the client, and have in Codex's environment:\n"
        "#   CODEX_CA_CERTIFICATE=/etc/codex/tollgate-ca.pem\n"
        "# or in the client's own store, as /usr/local/share/ca-certificates/tollgate.crt, behind\n"
        "# which `update-ca-certificates` is run.\n";
  } else if (setup.base_url.starts_with("http:")) {
    text += "# No certificate: the tunnel alone encrypts (plain_http).\n";
  } else {
    text += "# Certificates: nothing to do where clients trust what this system trusts.\n";
  }
  for (const std::string& host : setup.intercepted) {
    text += "# Clients whose way to " + host +
            " leads into the tunnel need none of these files,\n" +
            "# only the CA of the certificate that the gateway shows for it.\n";
  }
  return text;
}

Finding judge_addresses(const std::string& host, const std::vector<Endpoint>& found,
                        const std::vector<Endpoint>& listen) {
  const std::string where = tollgate::to_string(listen.front().address);
  const std::string remedy = "give " + host + " the address " + where +
                             " in the name service that clients use, or in their /etc/hosts";
  if (found.empty()) return {State::broken, "name", host + " has no address here", remedy};
  std::string others;
  for (const Endpoint& endpoint : found) {
    const bool ours = std::any_of(listen.begin(), listen.end(), [&](const Endpoint& own) {
      return own.address == endpoint.address;
    });
    if (ours) continue;
    others += (others.empty() ? "" : ", ") + tollgate::to_string(endpoint.address);
  }
  if (others.empty()) return {State::ok, "name", host + " leads to this gateway"};
  return {State::broken, "name", host + " leads to " + others + ", where this gateway is not",
          remedy};
}

Finding judge_explanation(const std::string& user, const std::string& answer) {
  const std::string what = "user";
  if (answer.empty()) {
    return {State::broken, what, "no gateway runs that could say what " + user + " may do",
            "systemctl start tollgated"};
  }
  const Json parsed = Json::parse(answer, nullptr, false);
  const auto data = parsed.is_object() ? parsed.find("data") : parsed.end();
  if (!parsed.is_object() || data == parsed.end() || !data->is_object()) {
    return {State::degraded, what, "the gateway does not say what " + user + " may do",
            "run as root, or as a member of tollgate-viewer"};
  }
  const auto allowed = data->find("allowed");
  const auto message = data->find("message");
  const auto code = data->find("code");
  if (allowed != data->end() && allowed->is_boolean() && allowed->get<bool>()) {
    return {State::ok, what, "the gateway would let " + user + " in"};
  }
  // That passes by itself, and the files are right.
  const bool for_now = code != data->end() && *code == "budget_exceeded";
  return {for_now ? State::degraded : State::broken, what,
          message != data->end() && message->is_string()
              ? message->get<std::string>()
              : "the gateway would not let " + user + " in",
          "`tollgate explain " + user + "`; after a change of the file `tollgate reload`"};
}

}  // namespace tollgate::daemon
