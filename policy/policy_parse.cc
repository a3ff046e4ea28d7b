#include "policy/policy_parse.h"

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <limits>

#include "policy/parse_internal.h"

namespace tollgate::policy {
namespace {

constexpr std::string_view kContactDefault = "ask the administrator of this gateway";
constexpr size_t kContactBytesMax = 200;   // it goes into a header field and a terminal line
constexpr size_t kInterfaceBytesMax = 15;  // IFNAMSIZ less its zero
constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;
constexpr uint64_t kGiB = 1024 * kMiB;
constexpr uint64_t kDayMs = 86'400'000;
constexpr uint64_t kThresholdPercentMax = 1000;  // warn-only limits go beyond 100

void read_path(TomlReader& reader, std::string_view key, std::string& into) {
  const auto value = reader.text(key);
  if (!value) return;
  into = *value;
  if (!value->starts_with('/')) {
    reader.problem(key, "\"" + *value + "\" is no absolute path", "begin it with /");
  }
}

void read_choice(TomlReader& reader, std::string_view key,
                 std::initializer_list<std::string_view> choices, std::string& into) {
  const auto value = reader.text(key);
  if (!value) return;
  into = *value;
  if (std::find(choices.begin(), choices.end(), *value) != choices.end()) return;
  std::string hint = "write ";
  for (const std::string_view choice : choices) {
    if (choice != *choices.begin()) hint += " or ";
    hint += "\"" + std::string(choice) + "\"";
  }
  reader.problem(key, "\"" + *value + "\" is no choice", hint);
}

void read_listen(TomlReader& reader, Problems& problems, GatewayConfig& gateway) {
  constexpr std::string_view kExample = "[\"10.99.0.1:443\", \"[fd99::1]:443\"]";
  const auto listed = reader.texts("listen", kExample);
  for (const Located& item : listed) {
    const auto endpoint = parse_endpoint(item.text);
    if (!endpoint) {
      problems.push_back({item.line, item.key, "\"" + item.text + "\" is no address and port",
                          "write it like \"10.99.0.1:443\" or \"[fd99::1]:443\""});
    } else if (std::find(gateway.listen.begin(), gateway.listen.end(), *endpoint) !=
               gateway.listen.end()) {
      problems.push_back({item.line, item.key, "\"" + item.text + "\" is there twice", "keep one"});
    } else {
      gateway.listen.push_back(*endpoint);
    }
  }
  if (listed.empty()) {
    reader.problem("listen", "names no address to listen on",
                   "write listen = " + std::string(kExample));
  }
}

void read_tunnels(TomlReader& reader, Problems& problems, GatewayConfig& gateway) {
  for (const Located& item : reader.texts("tunnels", "[\"wg0\"]")) {
    const bool fits = item.text.size() <= kInterfaceBytesMax && is_name(item.text) &&
                      item.text.find('/') == std::string::npos && item.text != "." &&
                      item.text != "..";
    const bool again = std::find(gateway.tunnels.begin(), gateway.tunnels.end(), item.text) !=
                       gateway.tunnels.end();
    if (!fits || again) {
      problems.push_back({item.line, item.key,
                          "\"" + item.text + (again ? "\" is there twice" : "\" is no interface"),
                          again ? "keep one" : "write the interface's name, like \"wg0\""});
      continue;
    }
    gateway.tunnels.push_back(item.text);
  }
  if (gateway.tunnels.empty() && gateway.steering == "bpf") {
    reader.problem("tunnels", "names no interface, and steering is \"bpf\"",
                   "write tunnels = [\"wg0\"], or steering = \"userspace\"");
  }
}

void read_certificate(TomlReader& reader, GatewayConfig& gateway) {
  read_path(reader, "certificate", gateway.certificate);
  read_path(reader, "private_key", gateway.private_key);
  if (gateway.plain_http) return;
  for (const char* key : {"certificate", "private_key"}) {
    if (reader.has(key)) continue;
    reader.problem(key, "is missing",
                   std::string("write ") + key +
                       " = \"/etc/tollgate/tls/...pem\", or plain_http = true on a tunnel");
  }
}

void read_contact(TomlReader& reader, GatewayConfig& gateway) {
  gateway.contact = reader.text("contact").value_or(std::string(kContactDefault));
  const bool visible = std::all_of(gateway.contact.begin(), gateway.contact.end(),
                                   [](char c) { return c >= ' ' && c < '\x7f'; });
  if (!visible || gateway.contact.empty() || gateway.contact.size() > kContactBytesMax) {
    reader.problem("contact", "is not one line of 1 to 200 ASCII characters",
                   "write it like \"ask #ai-platform\"");
  }
}

void parse_gateway(TomlReader& reader, Problems& problems, GatewayConfig& gateway) {
  read_choice(reader, "steering", {"bpf", "userspace"}, gateway.steering);
  read_choice(reader, "io", {"io_uring", "poll"}, gateway.io);
  read_choice(reader, "tls", {"auto", "ktls", "userspace"}, gateway.tls);
  read_choice(reader, "on_unmetered", {"alarm", "refuse"}, gateway.on_unmetered);
  gateway.plain_http = reader.flag("plain_http").value_or(false);
  read_listen(reader, problems, gateway);
  read_tunnels(reader, problems, gateway);
  read_certificate(reader, gateway);
  read_contact(reader, gateway);
  read_path(reader, "state_dir", gateway.state_dir);
  read_path(reader, "run_dir", gateway.run_dir);
  read_path(reader, "price_file", gateway.price_file);
  read_path(reader, "model_catalog", gateway.model_catalog);
  read_path(reader, "bpffs", gateway.bpffs);
  gateway.user = reader.text("user").value_or(gateway.user);
  gateway.workers = static_cast<uint32_t>(reader.number("workers", 0, 256).value_or(0));
  reader.finish();
}

template <typename Number>
void read_limit(TomlReader& reader, std::string_view key, uint64_t min, uint64_t max,
                Number& into) {
  static_assert(std::is_unsigned_v<Number>);
  max = std::min<uint64_t>(max, std::numeric_limits<Number>::max());
  if (const auto value = reader.number(key, min, max)) into = static_cast<Number>(*value);
}

void parse_limits(TomlReader& reader, Limits& limits) {
  read_limit(reader, "connections_max", 1, 1'000'000, limits.connections_max);
  read_limit(reader, "head_bytes_max", kKiB, kMiB, limits.head_bytes_max);
  read_limit(reader, "body_bytes_max", kKiB, kGiB, limits.body_bytes_max);
  read_limit(reader, "body_memory_bytes_max", kKiB, 1024 * kGiB, limits.body_memory_bytes_max);
  read_limit(reader, "event_bytes_max", kKiB, kGiB, limits.event_bytes_max);
  const std::pair<const char*, uint32_t*> times[] = {
      {"client_idle_ms", &limits.client_idle_ms},
      {"client_request_ms", &limits.client_request_ms},
      {"client_stall_ms", &limits.client_stall_ms},
      {"upstream_connect_ms", &limits.upstream_connect_ms},
      {"upstream_first_byte_ms", &limits.upstream_first_byte_ms},
      {"upstream_silence_ms", &limits.upstream_silence_ms},
      {"upstream_idle_pool_ms", &limits.upstream_idle_pool_ms},
      {"drain_ms", &limits.drain_ms},
      {"keepalive_ms", &limits.keepalive_ms},
      {"websocket_ms", &limits.websocket_ms},
      {"abort_drain_ms", &limits.abort_drain_ms},
  };
  for (const auto& [key, into] : times)
    read_limit(reader, key, 10, kDayMs, *into);
  if (limits.body_memory_bytes_max < limits.body_bytes_max) {
    reader.problem("body_memory_bytes_max", "is less than body_bytes_max: no full body would fit",
                   "write at least " + std::to_string(limits.body_bytes_max));
  }
  reader.finish();
}

void read_thresholds(TomlReader& reader, Alerts& alerts) {
  constexpr std::string_view kExample = "[75, 90, 100]";
  const bool present = reader.has("thresholds");
  const auto listed = reader.numbers("thresholds", 1, kThresholdPercentMax, kExample);
  if (!present) return;
  alerts.thresholds_percent.assign(listed.begin(), listed.end());
  const bool ascending =
      std::adjacent_find(listed.begin(), listed.end(), std::greater_equal<>()) == listed.end();
  if (!ascending) {
    reader.problem("thresholds", "does not ascend",
                   "write each percentage once, like " + std::string(kExample));
  }
}

// The address is not repeated in a Problem: whoever knows it may post there.
void read_webhook(TomlReader& reader, Alerts& alerts) {
  const auto text = reader.text("webhook");
  if (!text) return;
  alerts.webhook = *text;
  const size_t query = std::min(text->find('?'), text->size());
  const bool query_visible = std::all_of(text->begin() + static_cast<std::ptrdiff_t>(query),
                                         text->end(), [](char c) { return c > ' ' && c < '\x7f'; });
  const auto url = parse_url(std::string_view(*text).substr(0, query));
  if (!url || !query_visible || text->find('#') != std::string::npos) {
    reader.problem("webhook", "is no URL", "write it like \"https://alerts.example.com/tollgate\"");
  } else if (url->scheme == "http" && !is_loopback(url->host)) {
    reader.problem("webhook", "would send alerts unencrypted",
                   "write https://; http:// is for a loopback host only");
  }
}

void parse_alerts(TomlReader& reader, Alerts& alerts) {
  read_thresholds(reader, alerts);
  read_webhook(reader, alerts);
  reader.finish();
}

}  // namespace

std::string to_string(const Problem& problem, std::string_view file) {
  std::string text(file);
  if (problem.line != 0) text += ":" + std::to_string(problem.line);
  text += ": ";
  if (!problem.key.empty()) text += problem.key + ": ";
  text += problem.text;
  if (!problem.remedy.empty()) text += "; " + problem.remedy;
  return text;
}

std::variant<Config, std::vector<Problem>> parse_config(std::string_view toml) {
  const toml::parse_result parsed = toml::parse(toml);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return Problems{{static_cast<uint32_t>(error.source().begin.line), "",
                     "not TOML: " + std::string(error.description()),
                     "mend this first; the rest of the file was not read"}};
  }
  Problems problems;
  Draft draft;
  TomlReader root(parsed.table(), "", problems);
  if (auto gateway = root.table("gateway")) {
    parse_gateway(*gateway, problems, draft.config.gateway);
  } else if (!root.has("gateway")) {
    root.problem("gateway", "is missing", "write [gateway] with listen, tunnels and certificate");
  }
  if (auto limits = root.table("limits")) parse_limits(*limits, draft.config.limits);
  if (auto alerts = root.table("alerts")) parse_alerts(*alerts, draft.config.alerts);
  parse_intercepts(root, draft, problems);
  parse_parts(root, draft);
  root.finish();
  check_references(draft, problems);
  if (problems.empty()) return std::move(draft.config);
  std::stable_sort(problems.begin(), problems.end(),
                   [](const Problem& a, const Problem& b) { return a.line < b.line; });
  return problems;
}

}  // namespace tollgate::policy
