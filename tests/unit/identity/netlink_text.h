// Netlink messages for tests: built by hand, as the kernel would.
#pragma once

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/wireguard.h>
#include <netinet/in.h>

#include <cstring>
#include <initializer_list>
#include <string>

#include "userspace/base/ip.h"

namespace tollgate::identity {

inline std::string raw(const void* from, size_t bytes) {
  return {static_cast<const char*>(from), bytes};
}

template <typename T>
std::string raw_of(const T& value) {
  return raw(&value, sizeof value);
}

inline std::string padded(std::string bytes) {
  bytes.resize((bytes.size() + 3) / 4 * 4);
  return bytes;
}

inline std::string attribute(uint16_t type, const std::string& payload) {
  const nlattr head{static_cast<uint16_t>(sizeof(nlattr) + payload.size()), type};
  return padded(raw_of(head) + payload);
}

inline std::string nested(uint16_t type, const std::string& payload) {
  return attribute(static_cast<uint16_t>(type | NLA_F_NESTED), payload);
}

inline std::string message(uint16_t type, const std::string& payload, uint16_t flags = 0) {
  nlmsghdr head{};
  head.nlmsg_len = static_cast<uint32_t>(sizeof head + payload.size());
  head.nlmsg_type = type;
  head.nlmsg_flags = flags;
  return padded(raw_of(head) + payload);
}

inline std::string generic(const std::string& attributes, uint16_t flags = NLM_F_MULTI) {
  return message(0x20, raw_of(genlmsghdr{WG_CMD_GET_DEVICE, 1, 0}) + attributes, flags);
}

inline std::string done(int32_t error = 0) {
  return message(NLMSG_DONE, raw_of(error), NLM_F_MULTI);
}

inline std::string failed(int32_t error) {
  return message(NLMSG_ERROR, raw_of(error) + std::string(sizeof(nlmsghdr), '\0'));
}

inline std::string allowed_ip(uint16_t family, const std::string& address, uint8_t length) {
  return nested(0, attribute(WGALLOWEDIP_A_FAMILY, raw_of(family)) +
                       attribute(WGALLOWEDIP_A_IPADDR, address) +
                       attribute(WGALLOWEDIP_A_CIDR_MASK, raw_of(length)));
}

inline std::string allowed_v4(const char* address, uint8_t length = 32) {
  const IpAddress ip = *parse_ip(address);
  return allowed_ip(AF_INET, raw(ip.bytes.data() + 12, 4), length);
}

inline std::string allowed_v6(const char* address, uint8_t length = 128) {
  return allowed_ip(AF_INET6, raw(parse_ip(address)->bytes.data(), 16), length);
}

inline std::string wg_peer(char key, const std::string& allowed, const std::string& more = {}) {
  return nested(0, attribute(WGPEER_A_PUBLIC_KEY, std::string(WG_KEY_LEN, key)) + more +
                       nested(WGPEER_A_ALLOWEDIPS, allowed));
}

inline std::string wg_device(const std::string& peers) {
  return attribute(WGDEVICE_A_IFNAME, std::string("wg0\0", 4)) +
         attribute(WGDEVICE_A_PRIVATE_KEY, std::string(WG_KEY_LEN, 'p')) +
         nested(WGDEVICE_A_PEERS, peers);
}

}  // namespace tollgate::identity
