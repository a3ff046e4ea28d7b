#include <charconv>
#include <set>

#include "policy/parse_internal.h"

namespace tollgate::policy {
namespace {

std::string read_name(TomlReader& reader, std::string_view example, std::set<std::string>& taken) {
  std::string name = reader.required_text("name", example);
  if (name.empty()) return name;
  if (!is_name(name)) {
    reader.problem("name", "\"" + name + "\" is no name",
                   "use 1 to 64 visible ASCII characters without spaces");
  } else if (!taken.insert(name).second) {
    reader.problem("name", "\"" + name + "\" is there twice", "give each its own name");
  }
  return name;
}

bool is_loopback(std::string_view host) {
  if (host == "localhost") return true;
  const auto address = parse_ip(host);
  if (!address) return false;
  if (address->is_v4()) return address->bytes[12] == 127;
  return to_string(*address) == "::1";
}

// A host name or address without brackets; strict, since it goes into a Host field and an SNI.
bool is_host(std::string_view host) {
  if (host.empty() || host.size() > 253) return false;
  if (parse_ip(host)) return true;
  for (const char c : host) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != '_') return false;
  }
  return host.front() != '.' && host.front() != '-';
}

bool is_path(std::string_view path) {
  for (const char c : path) {
    if (c <= ' ' || c >= '\x7f' || c == '?' || c == '#' || c == '\\' || c == '"') return false;
  }
  return path.find("//") == path.npos && path.find("/../") == path.npos;
}

// SCHEME://HOST[:PORT][/PATH] into the provider; false when it is not of that shape.
bool split_url(std::string_view url, Provider& provider) {
  const size_t scheme_end = url.find("://");
  if (scheme_end == url.npos) return false;
  provider.scheme = url.substr(0, scheme_end);
  if (provider.scheme != "https" && provider.scheme != "http") return false;
  std::string_view authority = url.substr(scheme_end + 3);
  std::string_view path;
  if (const size_t slash = authority.find('/'); slash != authority.npos) {
    path = authority.substr(slash);
    authority = authority.substr(0, slash);
  }
  while (path.ends_with('/'))
    path.remove_suffix(1);
  std::string_view host = authority;
  std::string_view port;
  const bool bracketed = authority.starts_with('[');
  const size_t host_end = bracketed ? authority.find(']') : authority.find(':');
  if (bracketed && host_end == authority.npos) return false;
  if (bracketed) {
    host = authority.substr(1, host_end - 1);
    port = authority.substr(host_end + 1);
  } else if (host_end != authority.npos) {
    host = authority.substr(0, host_end);
    port = authority.substr(host_end);
  }
  if (!is_host(host) || bracketed != (host.find(':') != host.npos) || !is_path(path)) return false;
  provider.host = host;
  provider.path_prefix = path;
  provider.port = provider.scheme == "https" ? 443 : 80;
  if (port.empty()) return true;
  const char* end = port.data() + port.size();
  const auto [stop, failure] = std::from_chars(port.data() + 1, end, provider.port);
  return port.front() == ':' && failure == std::errc{} && stop == end && provider.port != 0;
}

void read_base_url(TomlReader& reader, Provider& provider) {
  constexpr std::string_view kExample = "\"https://api.openai.com/v1\"";
  const std::string url = reader.required_text("base_url", kExample);
  if (url.empty()) return;
  if (!split_url(url, provider)) {
    reader.problem("base_url", "\"" + url + "\" is no base URL",
                   "write it like " + std::string(kExample));
  } else if (provider.scheme == "http" && !is_loopback(provider.host)) {
    reader.problem("base_url", "\"" + url + "\" would send the key unencrypted",
                   "write https://; http:// is for a loopback host only");
  }
}

void read_keys(TomlReader& reader, Provider& provider) {
  const std::string example = "keys = [{ name = \"main\", file = \"/etc/tollgate/keys/openai\" }]";
  std::set<std::string> names;
  const bool present = reader.has("keys");
  auto entries = reader.tables("keys", "write " + example);
  for (TomlReader& entry : entries) {
    KeySource key;
    key.name = read_name(entry, "\"main\"", names);
    key.file = entry.required_text("file", "\"/etc/tollgate/keys/openai\"");
    if (!key.file.empty() && key.file.front() != '/') {
      entry.problem("file", "\"" + key.file + "\" is no absolute path", "begin it with /");
    }
    entry.finish();
    provider.keys.push_back(std::move(key));
  }
  if (!present)
    reader.problem("keys", "is missing", "write " + example);
  else if (entries.empty())
    reader.problem("keys", "has no key", "write " + example);
}

void parse_provider(TomlReader& reader, Config& config, std::set<std::string>& names) {
  Provider provider;
  provider.name = read_name(reader, "\"openai\"", names);
  read_base_url(reader, provider);
  if (const auto to = reader.text("connect_to")) {
    provider.connect_to = parse_endpoint(*to);
    if (!provider.connect_to) {
      reader.problem("connect_to", "\"" + *to + "\" is no address and port",
                     "write it like \"10.0.0.5:443\" or \"[fd00::5]:443\"");
    }
  }
  if (const auto file = reader.text("ca_file")) {
    provider.ca_file = *file;
    if (!file->starts_with('/')) {
      reader.problem("ca_file", "\"" + *file + "\" is no absolute path",
                     "begin it with /, or leave the key out for the system's trust store");
    }
  }
  read_keys(reader, provider);
  reader.finish();
  config.providers.push_back(std::move(provider));
}

void parse_group(TomlReader& reader, Config& config, std::set<std::string>& names) {
  Group group;
  group.name = read_name(reader, "\"engineering\"", names);
  if (!reader.has("members")) {
    reader.problem("members", "is missing", "write members = [\"alice@example.com\"]");
  }
  std::set<std::string> members;
  for (Located& member : reader.texts("members", "[\"alice@example.com\"]")) {
    if (!members.insert(member.text).second) {
      reader.problem("members", "\"" + member.text + "\" is there twice", "keep one");
    }
    group.members.push_back(std::move(member.text));
  }
  reader.finish();
  config.groups.push_back(std::move(group));
}

void read_address(TomlReader& reader, Peer& peer) {
  const std::string text = reader.required_text("address", "\"10.99.0.2\"");
  if (text.empty()) return;
  if (const auto address = parse_ip(text)) {
    peer.address = *address;
  } else if (text.find('/') != text.npos) {
    reader.problem("address", "\"" + text + "\" is a prefix: everyone in it would be one user",
                   "write one [[peer]] for each address, without /");
  } else {
    reader.problem("address", "\"" + text + "\" is no IP address",
                   "write it like \"10.99.0.2\" or \"fd99::2\"");
  }
}

void read_tunnel(TomlReader& reader, const std::vector<std::string>& tunnels, Peer& peer) {
  const auto tunnel = reader.text("tunnel");
  if (!tunnel) {
    if (tunnels.size() == 1) peer.tunnel = tunnels.front();
    if (tunnels.size() > 1 && !reader.has("tunnel")) {
      reader.problem("tunnel", "is missing, and gateway.tunnels names more than one",
                     "write tunnel = \"" + tunnels.front() + "\"");
    }
    return;
  }
  peer.tunnel = *tunnel;
  for (const std::string& known : tunnels) {
    if (known == *tunnel) return;
  }
  reader.problem("tunnel", "\"" + *tunnel + "\" is not in gateway.tunnels",
                 "add it there, or correct the name");
}

void parse_peer(TomlReader& reader, Draft& draft) {
  Peer peer;
  read_address(reader, peer);
  read_tunnel(reader, draft.config.gateway.tunnels, peer);
  peer.user = reader.required_text("user", "\"alice@example.com\"");
  reader.finish();
  draft.peer_lines.push_back(reader.line());
  draft.config.peers.push_back(std::move(peer));
}

void parse_rule(TomlReader& reader, Draft& draft, std::set<std::string>& names) {
  Rule rule;
  rule.name = read_name(reader, "\"engineering-codex\"", names);
  for (Located& group : reader.texts("groups", "[\"engineering\"]")) {
    rule.groups.push_back(group.text);
    draft.rule_groups.push_back(std::move(group));
  }
  if (rule.groups.empty()) {
    reader.problem("groups", "names no group, so the policy is for nobody",
                   "write groups = [\"engineering\"]");
  }
  rule.provider = reader.required_text("provider", "\"openai\"");
  if (!rule.provider.empty()) {
    draft.rule_providers.push_back(
        {rule.provider, reader.line_of("provider"), reader.path_of("provider")});
  }
  for (Located& model : reader.texts("models", "[\"gpt-5.*\"]")) {
    rule.models.push_back(std::move(model.text));
  }
  if (rule.models.empty()) {
    reader.problem("models", "names no model, so the policy allows nothing",
                   "write models = [\"gpt-5.*\"]");
  }
  reader.finish();
  draft.config.rules.push_back(std::move(rule));
}

}  // namespace

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > 64) return false;
  for (const char c : text) {
    if (c <= ' ' || c >= '\x7f' || c == '"' || c == '\\') return false;
  }
  return true;
}

void parse_parts(TomlReader& root, Draft& draft) {
  std::set<std::string> provider_names;
  for (TomlReader& reader : root.tables("provider", "write [[provider]] and its keys below")) {
    parse_provider(reader, draft.config, provider_names);
  }
  if (!root.has("provider")) {
    root.problem("provider", "is missing: there is nobody to send requests to",
                 "write [[provider]] with name, base_url and keys");
  }
  std::set<std::string> group_names;
  for (TomlReader& reader : root.tables("group", "write [[group]] and its keys below")) {
    parse_group(reader, draft.config, group_names);
  }
  for (TomlReader& reader : root.tables("peer", "write [[peer]] and its keys below")) {
    parse_peer(reader, draft);
  }
  std::set<std::string> rule_names;
  for (TomlReader& reader : root.tables("policy", "write [[policy]] and its keys below")) {
    parse_rule(reader, draft, rule_names);
  }
}

}  // namespace tollgate::policy
