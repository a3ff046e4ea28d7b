#include "userspace/daemon/load.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "policy/price.h"
#include "userspace/base/calendar.h"
#include "userspace/base/fd.h"
#include "userspace/proxy/catalog.h"

namespace tollgate::daemon {
namespace {

constexpr size_t kConfigBytesMax = 4 * 1024 * 1024;

Result<std::shared_ptr<const proxy::Target>> make_target(const policy::Provider& provider,
                                                         const tls::KernelUse& kernel) {
  auto target = std::make_shared<proxy::Target>();
  target->provider = provider.name;
  target->scheme = provider.scheme;
  target->host = provider.host;
  target->path_prefix = provider.path_prefix;
  const bool usual_port = provider.port == (provider.scheme == "https" ? 443 : 80);
  const bool ipv6_literal = provider.host.find(':') != std::string::npos;
  target->authority = ipv6_literal ? "[" + provider.host + "]" : provider.host;
  if (!usual_port) target->authority += ":" + std::to_string(provider.port);
  // The first key serves; rotation among several comes with `tollgate key`.
  const policy::KeySource& source = provider.keys.front();
  auto secret = read_secret_file(source.file);
  if (!secret) return std::move(secret).forward();
  target->key_name = source.name;
  target->key = std::make_shared<const Secret>(std::move(*secret));
  if (provider.scheme == "https") {
    auto context = tls::make_client_context(provider.host, provider.ca_file, kernel);
    if (!context) return std::move(context).forward();
    target->tls = std::move(*context);
  }
  target->pool_key = provider.scheme + "://" + target->authority + "|" + provider.ca_file + "|" +
                     (provider.connect_to ? to_string(*provider.connect_to) : "");
  target->websocket = provider.websocket;
  if (provider.connect_to) target->addresses = {*provider.connect_to};
  return std::shared_ptr<const proxy::Target>(std::move(target));
}

// The parser is pure and cannot ask the system which zones there are.
Status check_timezones(const policy::Config& config, const std::string& path) {
  for (const policy::Rule& rule : config.rules) {
    for (const policy::Limit& limit : rule.limits) {
      const policy::Window& window = limit.window;
      if (window.kind == policy::Window::Kind::rolling || is_timezone(window.timezone)) continue;
      return Error{Fault::config, 0,
                   path + ": policy " + rule.name + ": timezone \"" + window.timezone +
                       "\" is not in this system's tz database",
                   "write one that `timedatectl list-timezones` shows, like \"Europe/Berlin\""};
    }
  }
  return {};
}

}  // namespace

Result<std::string> read_text_file(const std::string& path, size_t bytes_max) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return system_error(errno, "open " + path);
  std::string text;
  char block[16 * 1024];
  while (true) {
    const ssize_t n = ::read(fd.get(), block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error(errno, "read " + path);
    if (n == 0) return text;
    text.append(block, static_cast<size_t>(n));
    if (text.size() > bytes_max) {
      return Error{Fault::config, 0, "read " + path + ": larger than a configuration can be", {}};
    }
  }
}

Result<policy::Config> load_config(const std::string& path) {
  auto text = read_text_file(path, kConfigBytesMax);
  if (!text) return std::move(text).forward();
  auto parsed = policy::parse_config(*text);
  if (auto* config = std::get_if<policy::Config>(&parsed)) {
    if (Status ok = check_timezones(*config, path); !ok) return ok.error();
    return std::move(*config);
  }
  std::string problems;
  for (const policy::Problem& problem : std::get<std::vector<policy::Problem>>(parsed)) {
    if (!problems.empty()) problems += "\n";
    problems += policy::to_string(problem, path);
  }
  return Error{Fault::config, 0, std::move(problems), {}};
}

Result<TlsPath> choose_tls_path(const policy::GatewayConfig& gateway) {
  if (gateway.tls == "userspace") return TlsPath{{}, "configured"};
  const tls::KernelTls found = tls::probe_kernel_tls();
  if (gateway.tls == "ktls" && !found.available) {
    return Error{Fault::config, 0, "gateway.tls = \"ktls\": " + found.reason,
                 "load what is missing, or write tls = \"auto\""};
  }
  // A peer may change its key at any time, and a kernel that cannot follow has to end that
  // connection: nobody gets such a one unasked.
  const bool in_kernel = gateway.tls == "ktls" || (found.available && found.use.rekey);
  return TlsPath{in_kernel ? found.use : tls::KernelUse{}, found.reason};
}

Result<std::shared_ptr<const proxy::Catalog>> load_catalog(const policy::Config& config) {
  const std::string& path = config.gateway.model_catalog;
  if (path.empty()) return std::shared_ptr<const proxy::Catalog>{};
  const auto text = read_text_file(path, kConfigBytesMax);
  if (!text) return text.error();
  return proxy::parse_catalog(*text, path);
}

Result<std::shared_ptr<const policy::Policy>> load_policy(const policy::Config& config) {
  const auto text = read_text_file(config.gateway.price_file, kConfigBytesMax);
  if (!text) return text.error();
  auto prices = policy::parse_prices(*text, config.gateway.price_file);
  if (!prices) return std::move(prices).forward();
  policy::Policy::Parts parts;
  parts.contact = config.gateway.contact;
  parts.providers = config.providers;
  parts.groups = config.groups;
  parts.rules = config.rules;
  parts.prices = std::move(*prices);
  return std::make_shared<const policy::Policy>(std::move(parts));
}

Result<std::shared_ptr<proxy::Snapshot>> load_snapshot(const policy::Config& config,
                                                       const tls::KernelUse& kernel) {
  auto snapshot = std::make_shared<proxy::Snapshot>();
  auto policy = load_policy(config);
  if (!policy) return std::move(policy).forward();
  snapshot->policy = *std::move(policy);
  auto catalog = load_catalog(config);
  if (!catalog) return std::move(catalog).forward();
  snapshot->catalog = *std::move(catalog);
  for (const policy::Provider& provider : config.providers) {
    auto target = make_target(provider, kernel);
    if (!target) return std::move(target).forward();
    snapshot->targets.push_back(std::move(*target));
  }
  if (!config.gateway.plain_http) {
    std::vector<tls::HostCertificate> hosts;
    for (const policy::Intercept& intercept : config.intercepts)
      hosts.push_back({intercept.host, intercept.certificate, intercept.private_key});
    auto context = tls::make_server_context(config.gateway.certificate, config.gateway.private_key,
                                            kernel, hosts);
    if (!context) return std::move(context).forward();
    snapshot->server_tls = std::move(*context);
    if (!hosts.empty()) snapshot->own_endpoints = config.gateway.listen;
  }
  return snapshot;
}

}  // namespace tollgate::daemon
