#include <algorithm>
#include <set>

#include "policy/parse_internal.h"

namespace tollgate::policy {
namespace {

constexpr std::string_view kDestinationsExample = "[\"198.51.100.0/24\", \"2001:db8:7::/48\"]";
constexpr size_t kHostBytesMax = 253;  // of a DNS name
constexpr uint8_t kV4Bits = 96;        // where an IPv4 address begins in the 16 bytes

// A name as SNI and Host carry it. An address never is one: RFC 6066 forbids it in SNI.
bool is_host(std::string_view host) {
  if (host.empty() || host.size() > kHostBytesMax || parse_ip(host)) return false;
  if (host.front() == '.' || host.back() == '.' || host.find("..") != host.npos) return false;
  return std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  });
}

void read_host(TomlReader& reader, std::set<std::string>& taken, Intercept& intercept) {
  std::string host = reader.required_text("host", "\"api.openai.com\"");
  if (host.empty()) return;
  std::transform(host.begin(), host.end(), host.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (!is_host(host)) {
    reader.problem("host", "\"" + host + "\" is no host name",
                   "write the name that clients connect to, like \"api.openai.com\"");
  } else if (!taken.insert(host).second) {
    reader.problem("host", "\"" + host + "\" is there twice",
                   "list all its destinations in one [[intercept]]");
  }
  intercept.host = std::move(host);
}

// Empty when the prefix may be intercepted.
std::string why_not(const IpPrefix& prefix, const GatewayConfig& gateway) {
  // Also "::/0": the kernel's map looks at the 16 bytes, in which IPv4 lies beside ::fffe:0:0.
  if (prefix.bits <= kV4Bits &&
      (prefix.contains(*parse_ip("0.0.0.0")) || prefix.contains(*parse_ip("::fffe:0:0")))) {
    return "would intercept everything";
  }
  for (const Endpoint& endpoint : gateway.listen) {
    if (prefix.contains(endpoint.address)) {
      return "contains the gateway's own " + to_string(endpoint);
    }
  }
  if (prefix.contains(*parse_ip("127.0.0.1")) || prefix.contains(*parse_ip("::1"))) {
    return "contains a loopback address";
  }
  return {};
}

void read_destinations(TomlReader& reader, Draft& draft, Problems& problems, Intercept& intercept) {
  if (!reader.has("destinations")) {
    reader.problem("destinations", "is missing",
                   "write destinations = " + std::string(kDestinationsExample));
  }
  const auto listed = reader.texts("destinations", kDestinationsExample);
  if (listed.empty() && reader.has("destinations")) {
    reader.problem("destinations", "names no address",
                   "write destinations = " + std::string(kDestinationsExample));
  }
  for (const Located& item : listed) {
    const auto prefix = parse_prefix(item.text);
    if (!prefix) {
      problems.push_back({item.line, item.key, "\"" + item.text + "\" is no address or prefix",
                          "write it like \"198.51.100.7\" or \"198.51.100.0/24\", with zeros "
                          "behind the prefix"});
      continue;
    }
    if (const std::string why = why_not(*prefix, draft.config.gateway); !why.empty()) {
      problems.push_back({item.line, item.key, "\"" + item.text + "\" " + why,
                          "name the provider's own addresses only"});
      continue;
    }
    if (std::find(intercept.destinations.begin(), intercept.destinations.end(), *prefix) !=
        intercept.destinations.end()) {
      problems.push_back({item.line, item.key, "\"" + item.text + "\" is there twice", "keep one"});
      continue;
    }
    intercept.destinations.push_back(*prefix);
  }
}

void read_file(TomlReader& reader, std::string_view key, std::string_view example,
               std::string& into) {
  into = reader.required_text(key, example);
  if (!into.empty() && into.front() != '/') {
    reader.problem(key, "\"" + into + "\" is no absolute path", "begin it with /");
  }
}

}  // namespace

void parse_intercepts(TomlReader& root, Draft& draft, Problems& problems) {
  const GatewayConfig& gateway = draft.config.gateway;
  std::set<std::string> hosts;
  for (TomlReader& reader : root.tables("intercept", "write [[intercept]] and its keys below")) {
    Intercept intercept;
    read_host(reader, hosts, intercept);
    read_destinations(reader, draft, problems, intercept);
    read_file(reader, "certificate", "\"/etc/tollgate/tls/api.openai.com.pem\"",
              intercept.certificate);
    read_file(reader, "private_key", "\"/etc/tollgate/tls/api.openai.com.key\"",
              intercept.private_key);
    reader.finish();
    draft.config.intercepts.push_back(std::move(intercept));
  }
  if (draft.config.intercepts.empty()) return;
  if (gateway.steering != "bpf") {
    root.problem("intercept", "needs the kernel's steering, and steering is \"userspace\"",
                 "write steering = \"bpf\" in [gateway]");
  }
  if (gateway.plain_http) {
    root.problem("intercept", "needs TLS, and plain_http is true",
                 "write plain_http = false in [gateway], with certificate and private_key");
  }
}

}  // namespace tollgate::policy
