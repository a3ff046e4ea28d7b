#include <set>

#include "policy/parse_internal.h"
#include "userspace/base/text.h"

namespace tollgate::policy {
namespace {

void read_base_url(TomlReader& reader, Provider& provider) {
  constexpr std::string_view kExample = "\"https://api.openai.com/v1\"";
  const std::string url = reader.required_text("base_url", kExample);
  if (url.empty()) return;
  auto parsed = parse_url(url);
  if (!parsed) {
    reader.problem("base_url", "\"" + url + "\" is no base URL",
                   "write it like " + std::string(kExample));
    return;
  }
  if (parsed->scheme == "http" && !is_loopback(parsed->host)) {
    reader.problem("base_url", "\"" + url + "\" would send the key unencrypted",
                   "write https://; http:// is for a loopback host only");
  }
  provider.scheme = std::move(parsed->scheme);
  provider.host = std::move(parsed->host);
  provider.port = parsed->port;
  provider.path_prefix = std::move(parsed->path);
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
  provider.websocket = reader.flag("websocket").value_or(false);
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

void read_address(TomlReader& reader, ConfiguredPeer& peer) {
  const bool by_key = reader.has("public_key");
  if (by_key && !reader.has("address")) {
    reader.text("address");  // makes the key known
    return;
  }
  const std::string text = reader.required_text("address", "\"10.99.0.2\"");
  if (text.empty()) return;
  const auto prefix = parse_prefix(text);
  if (!prefix) {
    const bool slash = text.find('/') != text.npos;
    reader.problem("address",
                   "\"" + text + (slash ? "\" is no prefix of addresses" : "\" is no IP address"),
                   slash ? "write it like \"10.99.4.0/24\", with zeros behind the prefix"
                         : "write it like \"10.99.0.2\" or \"fd99::2\"");
  } else if (!prefix->is_single() && !peer.prefix_is_one_user) {
    reader.problem("address", "\"" + text + "\" is a prefix: everyone in it would be one user",
                   "write one [[peer]] for each address, without /; or, where one machine of one "
                   "user has them all, prefix_is_one_user = true");
  } else {
    peer.address = *prefix;
  }
}

void read_public_key(TomlReader& reader, ConfiguredPeer& peer) {
  constexpr size_t kKeyBytes = 32;
  const auto key = reader.text("public_key");
  if (!key) return;
  if (is_base64(*key, kKeyBytes)) {
    peer.public_key = *key;
  } else {
    reader.problem("public_key", "\"" + printable(*key) + "\" is no WireGuard key",
                   "write the 44 characters that `wg show INTERFACE peers` shows");
  }
}

void read_tunnel(TomlReader& reader, const std::vector<std::string>& tunnels,
                 ConfiguredPeer& peer) {
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
  ConfiguredPeer peer;
  peer.prefix_is_one_user = reader.flag("prefix_is_one_user").value_or(false);
  read_public_key(reader, peer);
  read_address(reader, peer);
  read_tunnel(reader, draft.config.gateway.tunnels, peer);
  peer.user = reader.required_text("user", "\"alice@example.com\"");
  reader.finish();
  draft.peer_lines.push_back(reader.line());
  draft.config.peers.push_back(std::move(peer));
}

}  // namespace

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > 64) return false;
  for (const char c : text) {
    if (c <= ' ' || c >= '\x7f' || c == '"' || c == '\\') return false;
  }
  return true;
}

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
