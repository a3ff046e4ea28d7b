#include "userspace/identity/tunnel_report.h"

#include <nlohmann/json.hpp>

#include "userspace/base/text.h"

namespace tollgate::identity {
namespace {

using nlohmann::json;

constexpr size_t kKeyBytes = 32;
constexpr size_t kReasonBytesMax = 512;

json peer_json(const TunnelPeer& peer) {
  json allowed = json::array();
  for (const IpPrefix& prefix : peer.allowed)
    allowed.push_back(to_string(prefix));
  return {{"public_key", peer.public_key},
          {"allowed", std::move(allowed)},
          {"endpoint", peer.endpoint},
          {"last_handshake_unix_s", peer.last_handshake_unix_s}};
}

// The member, or null when there is none.
const json& part(const json& object, const char* name) {
  static const json kNothing;
  if (!object.is_object()) return kNothing;
  const auto found = object.find(name);
  return found == object.end() ? kNothing : *found;
}

bool read_text(const json& value, std::string& into) {
  if (!value.is_string()) return false;
  into = value.get<std::string>();
  return true;
}

bool read_peer(const json& value, TunnelPeer& peer) {
  const json& allowed = part(value, "allowed");
  const json& handshake = part(value, "last_handshake_unix_s");
  if (!read_text(part(value, "public_key"), peer.public_key) ||
      !read_text(part(value, "endpoint"), peer.endpoint) || !allowed.is_array() ||
      !handshake.is_number_integer()) {
    return false;
  }
  peer.last_handshake_unix_s = handshake.get<int64_t>();
  for (const json& text : allowed) {
    const auto prefix = text.is_string() ? parse_prefix(text.get<std::string>()) : std::nullopt;
    if (!prefix) return false;
    peer.allowed.push_back(*prefix);
  }
  return is_base64(peer.public_key, kKeyBytes) &&
         (peer.endpoint.empty() || parse_endpoint(peer.endpoint));
}

bool read_tunnel(const json& value, Tunnel& tunnel) {
  const json& ifindex = part(value, "ifindex");
  const json& up = part(value, "up");
  const json& wireguard = part(value, "wireguard");
  const json& peers = part(value, "peers");
  if (!read_text(part(value, "name"), tunnel.name) ||
      !read_text(part(value, "unreadable"), tunnel.unreadable) || !ifindex.is_number_unsigned() ||
      ifindex.get<uint64_t>() > UINT32_MAX || !up.is_boolean() || !wireguard.is_boolean() ||
      !peers.is_array() || tunnel.unreadable.size() > kReasonBytesMax) {
    return false;
  }
  tunnel.unreadable = printable(tunnel.unreadable);
  tunnel.ifindex = static_cast<uint32_t>(ifindex.get<uint64_t>());
  tunnel.up = up.get<bool>();
  tunnel.wireguard = wireguard.get<bool>();
  for (const json& each : peers) {
    TunnelPeer peer;
    if (!read_peer(each, peer)) return false;
    tunnel.peers.push_back(std::move(peer));
  }
  return true;
}

}  // namespace

std::string report_text(const std::vector<Tunnel>& tunnels) {
  json list = json::array();
  for (const Tunnel& tunnel : tunnels) {
    json peers = json::array();
    for (const TunnelPeer& peer : tunnel.peers)
      peers.push_back(peer_json(peer));
    list.push_back({{"name", tunnel.name},
                    {"ifindex", tunnel.ifindex},
                    {"up", tunnel.up},
                    {"wireguard", tunnel.wireguard},
                    {"unreadable", tunnel.unreadable},
                    {"peers", std::move(peers)}});
  }
  return list.dump(-1, ' ', true, json::error_handler_t::replace);
}

Result<std::vector<Tunnel>> parse_report(std::string_view text,
                                         const std::vector<std::string>& names) {
  const Error refused{Fault::self, EBADMSG, "read a report of the tunnels: not one of ours", {}};
  const json list = json::parse(text, nullptr, false);
  if (!list.is_array() || list.size() != names.size()) return refused;
  std::vector<Tunnel> tunnels;
  for (size_t i = 0; i < list.size(); ++i) {
    Tunnel tunnel;
    if (!read_tunnel(list[i], tunnel) || tunnel.name != names[i]) return refused;
    tunnels.push_back(std::move(tunnel));
  }
  return tunnels;
}

}  // namespace tollgate::identity
