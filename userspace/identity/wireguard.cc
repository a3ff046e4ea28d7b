#include "userspace/identity/wireguard.h"

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/wireguard.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>

#include "userspace/base/text.h"

namespace tollgate::identity {
namespace {

using View = std::span<const std::byte>;

constexpr size_t kQuestionBytes = 512;
// linux/netlink.h's, which are signed.
constexpr size_t kMessageHead = NLMSG_ALIGN(sizeof(nlmsghdr));
constexpr size_t kAttributeHead = NLMSG_ALIGN(sizeof(nlattr));
constexpr size_t kGenericHead = NLMSG_ALIGN(sizeof(genlmsghdr));

// A header at the front of `bytes`, whatever their alignment.
template <typename T>
std::optional<T> value_of(View bytes) {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

View after(View bytes, size_t count) {
  return bytes.subspan(std::min(bytes.size(), size_t{NLMSG_ALIGN(count)}));
}

std::string text_of(View bytes) {
  const auto end = std::find(bytes.begin(), bytes.end(), std::byte{0});
  return {reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(end - bytes.begin())};
}

std::span<const uint8_t> octets(View bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

// visit(type, payload) → false stops. False: stopped, or the attributes are not whole.
template <typename Visit>
bool each_attribute(View bytes, Visit visit) {
  while (!bytes.empty()) {
    const auto head = value_of<nlattr>(bytes);
    if (!head || head->nla_len < kAttributeHead || head->nla_len > bytes.size()) return false;
    const View payload = bytes.subspan(kAttributeHead, head->nla_len - kAttributeHead);
    if (!visit(static_cast<uint16_t>(head->nla_type & NLA_TYPE_MASK), payload)) return false;
    bytes = after(bytes, head->nla_len);
  }
  return true;
}

Error malformed(const char* what) {
  return Error{
      Fault::system, EBADMSG, std::string("read ") + what + ": not what the kernel sends", {}};
}

// visit(payload) → false: malformed. True when a message said that it is the last one.
template <typename Visit>
Result<bool> each_message(View bytes, const char* what, Visit visit) {
  while (!bytes.empty()) {
    const auto head = value_of<nlmsghdr>(bytes);
    if (!head || head->nlmsg_len < kMessageHead || head->nlmsg_len > bytes.size()) {
      return malformed(what);
    }
    const View payload = bytes.subspan(kMessageHead, head->nlmsg_len - kMessageHead);
    if ((head->nlmsg_flags & NLM_F_DUMP_INTR) != 0) {
      return system_error(EINTR, std::string("read ") + what);
    }
    if (head->nlmsg_type == NLMSG_DONE || head->nlmsg_type == NLMSG_ERROR) {
      const auto answer = value_of<int32_t>(payload);
      if (!answer || *answer > 0 || *answer < -4095) return malformed(what);
      if (*answer != 0) return system_error(-*answer, std::string("read ") + what);
      return true;
    }
    if (head->nlmsg_type >= NLMSG_MIN_TYPE && !visit(payload)) return malformed(what);
    bytes = after(bytes, head->nlmsg_len);
  }
  return false;
}

template <typename Fill>
Bytes question(uint16_t type, uint16_t flags, Fill fill) {
  alignas(nlmsghdr) char buffer[kQuestionBytes] = {};
  nlmsghdr* message = mnl_nlmsg_put_header(buffer);
  message->nlmsg_type = type;
  message->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  fill(message);
  const auto* first = reinterpret_cast<const std::byte*>(buffer);
  return {first, first + message->nlmsg_len};
}

void put_generic(nlmsghdr* message, uint8_t command, uint8_t version) {
  auto* head = static_cast<genlmsghdr*>(mnl_nlmsg_put_extra_header(message, sizeof(genlmsghdr)));
  head->cmd = command;
  head->version = version;
}

bool add_prefix(View attributes, std::vector<IpPrefix>& allowed) {
  uint16_t family = 0;
  View address;
  std::optional<uint8_t> length;
  const bool whole = each_attribute(attributes, [&](uint16_t type, View payload) {
    if (type == WGALLOWEDIP_A_FAMILY) family = value_of<uint16_t>(payload).value_or(0);
    if (type == WGALLOWEDIP_A_IPADDR) address = payload;
    if (type == WGALLOWEDIP_A_CIDR_MASK) length = value_of<uint8_t>(payload);
    return true;
  });
  const size_t bytes = family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
  if (!whole || bytes == 0 || address.size() != bytes || !length || *length > bytes * 8) {
    return false;
  }
  IpPrefix prefix;
  if (bytes == 4) prefix.address.bytes[10] = prefix.address.bytes[11] = 0xff;
  std::copy_n(octets(address).begin(), bytes, prefix.address.bytes.end() - ptrdiff_t(bytes));
  prefix.bits = static_cast<uint8_t>(128 - bytes * 8 + *length);
  for (size_t bit = prefix.bits; bit < 128; ++bit) {
    if ((prefix.address.bytes[bit / 8] & (0x80 >> (bit % 8))) != 0) return false;
  }
  // IPv6 among the mapped addresses never comes over the wire, and would read as IPv4.
  const bool mapped = bytes == 16 && prefix.bits >= 96 && prefix.address.is_v4();
  if (!mapped) allowed.push_back(prefix);
  return true;
}

bool add_allowed(View list, std::vector<IpPrefix>& allowed) {
  return each_attribute(list, [&](uint16_t, View entry) { return add_prefix(entry, allowed); });
}

std::string endpoint_of(View payload) {
  sockaddr_storage storage{};
  if (payload.size() > sizeof storage) return {};
  std::memcpy(&storage, payload.data(), payload.size());
  const size_t wanted = storage.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (payload.size() < wanted) return {};
  const auto endpoint = endpoint_from_sockaddr(storage);
  return endpoint ? to_string(*endpoint) : std::string();
}

}  // namespace

Bytes link_question(const std::string& interface) {
  return question(RTM_GETLINK, 0, [&](nlmsghdr* message) {
    mnl_nlmsg_put_extra_header(message, sizeof(ifinfomsg));
    mnl_attr_put_strz(message, IFLA_IFNAME, interface.substr(0, IFNAMSIZ - 1).c_str());
    mnl_attr_put_u32(message, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  });
}

Bytes family_question() {
  return question(GENL_ID_CTRL, 0, [](nlmsghdr* message) {
    put_generic(message, CTRL_CMD_GETFAMILY, 1);
    mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
  });
}

Bytes device_question(uint16_t family, uint32_t ifindex) {
  return question(family, NLM_F_DUMP, [&](nlmsghdr* message) {
    put_generic(message, WG_CMD_GET_DEVICE, WG_GENL_VERSION);
    mnl_attr_put_u32(message, WGDEVICE_A_IFINDEX, ifindex);
  });
}

Result<Link> parse_link(View datagram) {
  Link link;
  const auto read = each_message(datagram, "an interface", [&](View payload) {
    const auto head = value_of<ifinfomsg>(payload);
    if (!head || head->ifi_index <= 0) return false;
    link.ifindex = static_cast<uint32_t>(head->ifi_index);
    link.up = (head->ifi_flags & IFF_UP) != 0;
    return each_attribute(after(payload, sizeof(ifinfomsg)), [&](uint16_t type, View value) {
      if (type != IFLA_LINKINFO) return true;
      return each_attribute(value, [&](uint16_t inner, View text) {
        if (inner == IFLA_INFO_KIND) link.kind = text_of(text);
        return true;
      });
    });
  });
  if (!read) return Error(read.error());
  if (link.ifindex == 0) return malformed("an interface");
  return link;
}

Result<uint16_t> parse_family(View datagram) {
  uint16_t family = 0;
  const auto read = each_message(datagram, "WireGuard's family", [&](View payload) {
    return each_attribute(after(payload, kGenericHead), [&](uint16_t type, View value) {
      if (type == CTRL_ATTR_FAMILY_ID) family = value_of<uint16_t>(value).value_or(0);
      return true;
    });
  });
  if (!read) return Error(read.error());
  if (family < NLMSG_MIN_TYPE) return malformed("WireGuard's family");
  return family;
}

Result<bool> DeviceDump::add(View datagram) {
  return each_message(datagram, "a WireGuard device", [&](View payload) {
    return payload.size() >= kGenericHead && add_device(after(payload, kGenericHead));
  });
}

bool DeviceDump::add_device(View attributes) {
  return each_attribute(attributes, [&](uint16_t type, View list) {
    if (type != WGDEVICE_A_PEERS) return true;
    return each_attribute(list, [&](uint16_t, View peer) { return add_peer(peer); });
  });
}

bool DeviceDump::add_peer(View attributes) {
  TunnelPeer peer;
  const bool whole = each_attribute(attributes, [&](uint16_t type, View payload) {
    switch (type) {
      case WGPEER_A_PUBLIC_KEY:
        if (payload.size() == WG_KEY_LEN) peer.public_key = base64(octets(payload));
        return true;
      case WGPEER_A_ENDPOINT:
        peer.endpoint = endpoint_of(payload);
        return true;
      case WGPEER_A_LAST_HANDSHAKE_TIME:
        peer.last_handshake_unix_s = value_of<int64_t>(payload).value_or(0);
        return true;
      case WGPEER_A_ALLOWEDIPS:
        return add_allowed(payload, peer.allowed);
      default:
        return true;
    }
  });
  if (!whole || peer.public_key.empty()) return false;
  if (!peers_.empty() && peers_.back().public_key == peer.public_key) {
    auto& allowed = peers_.back().allowed;
    allowed.insert(allowed.end(), peer.allowed.begin(), peer.allowed.end());
  } else {
    peers_.push_back(std::move(peer));
  }
  return true;
}

}  // namespace tollgate::identity
