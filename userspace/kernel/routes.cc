#include "userspace/kernel/routes.h"

#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <set>

namespace tollgate::kernel {
namespace {

constexpr size_t kV4Offset = 12;  // of an IPv4 address in its 16 bytes
constexpr unsigned kV4Bits = 96;
constexpr std::array<uint8_t, 2> kFamilies = {AF_INET, AF_INET6};

struct Rule {
  std::string tunnel;
  IpPrefix destination;
  auto operator<=>(const Rule&) const = default;
};

struct CloseSocket {
  void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
};

using Buffer = std::array<char, 8192>;  // MNL_SOCKET_BUFFER_SIZE at most

class Netlink {
 public:
  static Result<Netlink> open() {
    Netlink netlink;
    netlink.socket_.reset(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC));
    if (!netlink.socket_ || mnl_socket_bind(netlink.socket_.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
      return system_error(errno, "open rtnetlink");
    }
    return netlink;
  }

  // 0, or the errno that the kernel answered; messages of a dump go to `visit`.
  int ask(nlmsghdr* request, mnl_cb_t visit = nullptr, void* data = nullptr) {
    request->nlmsg_seq = ++sequence_;
    if (mnl_socket_sendto(socket_.get(), request, request->nlmsg_len) < 0) return errno;
    const unsigned port = mnl_socket_get_portid(socket_.get());
    Buffer answer;
    for (;;) {
      const ssize_t bytes = mnl_socket_recvfrom(socket_.get(), answer.data(), answer.size());
      if (bytes < 0) return errno;
      const int more =
          mnl_cb_run(answer.data(), static_cast<size_t>(bytes), sequence_, port, visit, data);
      if (more == MNL_CB_ERROR) return errno;
      if (more == MNL_CB_STOP) return 0;
    }
  }

 private:
  std::unique_ptr<mnl_socket, CloseSocket> socket_;
  unsigned sequence_ = 0;
};

uint8_t family_of(const IpPrefix& prefix) {
  return prefix.address.is_v4() ? AF_INET : AF_INET6;
}

const uint8_t* octets_of(const IpAddress& address) {
  return address.bytes.data() + (address.is_v4() ? kV4Offset : 0);
}

template <typename Header>
Header* begin(Buffer& buffer, uint16_t type, uint16_t flags) {
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = type;
  request->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  return static_cast<Header*>(mnl_nlmsg_put_extra_header(request, sizeof(Header)));
}

nlmsghdr* message_in(Buffer& buffer) {
  return reinterpret_cast<nlmsghdr*>(buffer.data());
}

int change_rule(Netlink& netlink, const Rule& rule, uint16_t type, uint16_t flags) {
  alignas(nlmsghdr) Buffer buffer;
  auto* header = begin<fib_rule_hdr>(buffer, type, static_cast<uint16_t>(NLM_F_ACK | flags));
  const bool v4 = rule.destination.address.is_v4();
  header->family = family_of(rule.destination);
  header->dst_len = static_cast<uint8_t>(rule.destination.bits - (v4 ? kV4Bits : 0));
  header->table = RT_TABLE_UNSPEC;
  header->action = FR_ACT_TO_TBL;
  nlmsghdr* request = message_in(buffer);
  mnl_attr_put_strz(request, FRA_IIFNAME, rule.tunnel.c_str());
  mnl_attr_put(request, FRA_DST, v4 ? 4 : 16, octets_of(rule.destination.address));
  mnl_attr_put_u32(request, FRA_PRIORITY, kRulePriority);
  mnl_attr_put_u32(request, FRA_TABLE, kRouteTable);
  return netlink.ask(request);
}

struct DumpedRule {
  Rule rule;
  uint32_t table = 0;
  uint32_t priority = 0;
};

int take_attribute(const nlattr* attribute, void* data) {
  auto& dumped = *static_cast<DumpedRule*>(data);
  switch (mnl_attr_get_type(attribute)) {
    case FRA_IIFNAME:
      dumped.rule.tunnel = mnl_attr_get_str(attribute);
      break;
    case FRA_DST: {
      const auto* octets = static_cast<const uint8_t*>(mnl_attr_get_payload(attribute));
      const size_t size = mnl_attr_get_payload_len(attribute);
      auto& bytes = dumped.rule.destination.address.bytes;
      if (size <= bytes.size()) std::copy_n(octets, size, bytes.end() - static_cast<int>(size));
      break;
    }
    case FRA_TABLE:
      dumped.table = mnl_attr_get_u32(attribute);
      break;
    case FRA_PRIORITY:
      dumped.priority = mnl_attr_get_u32(attribute);
      break;
    default:
      break;
  }
  return MNL_CB_OK;
}

// Takes the rules of a dump that lead to our table.
int take_rule(const nlmsghdr* message, void* data) {
  const auto* header = static_cast<const fib_rule_hdr*>(mnl_nlmsg_get_payload(message));
  DumpedRule dumped;
  dumped.table = header->table;
  const bool v4 = header->family == AF_INET;
  if (v4) dumped.rule.destination.address = *parse_ip("0.0.0.0");
  dumped.rule.destination.bits = static_cast<uint8_t>(header->dst_len + (v4 ? kV4Bits : 0));
  mnl_attr_parse(message, sizeof *header, take_attribute, &dumped);
  if (dumped.table == kRouteTable && dumped.priority == kRulePriority) {
    static_cast<std::set<Rule>*>(data)->insert(std::move(dumped.rule));
  }
  return MNL_CB_OK;
}

Result<std::set<Rule>> our_rules(Netlink& netlink) {
  std::set<Rule> rules;
  for (const uint8_t family : kFamilies) {
    alignas(nlmsghdr) Buffer buffer;
    begin<fib_rule_hdr>(buffer, RTM_GETRULE, NLM_F_DUMP)->family = family;
    const int failure = netlink.ask(message_in(buffer), take_rule, &rules);
    // A host without IPv6 has none of its rules.
    if (failure != 0 && failure != EAFNOSUPPORT && failure != EOPNOTSUPP) {
      return system_error(failure, "list routing rules");
    }
  }
  return rules;
}

int change_route(Netlink& netlink, uint8_t family, uint16_t type, uint16_t flags) {
  alignas(nlmsghdr) Buffer buffer;
  auto* header = begin<rtmsg>(buffer, type, static_cast<uint16_t>(NLM_F_ACK | flags));
  header->rtm_family = family;
  header->rtm_table = RT_TABLE_UNSPEC;
  header->rtm_protocol = RTPROT_STATIC;
  header->rtm_scope = RT_SCOPE_HOST;
  header->rtm_type = RTN_LOCAL;
  nlmsghdr* request = message_in(buffer);
  mnl_attr_put_u32(request, RTA_TABLE, kRouteTable);
  mnl_attr_put_u32(request, RTA_OIF, ::if_nametoindex("lo"));
  return netlink.ask(request);
}

Status set_local_route(Netlink& netlink, uint8_t family, bool wanted) {
  if (wanted) {
    const int failure = change_route(netlink, family, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
    if (failure == 0) return {};
    Error error = system_error(
        failure, "add route local default dev lo table " + std::to_string(kRouteTable));
    if (failure == ENETDOWN) error.hint = "ip link set lo up";
    return error;
  }
  const int failure = change_route(netlink, family, RTM_DELROUTE, 0);
  for (const int fine : {0, ESRCH, ENOENT, EAFNOSUPPORT, EOPNOTSUPP, ENETDOWN}) {
    if (failure == fine) return {};
  }
  return system_error(failure, "remove the route of table " + std::to_string(kRouteTable));
}

std::string text_of(const Rule& rule) {
  return "routing rule iif " + rule.tunnel + " to " + to_string(rule.destination);
}

}  // namespace

Status set_routes(const std::vector<std::string>& tunnels,
                  const std::vector<IpPrefix>& destinations) {
  auto netlink = Netlink::open();
  if (!netlink) return std::move(netlink).forward();
  auto present = our_rules(*netlink);
  if (!present) return std::move(present).forward();
  const auto in_family = [&](uint8_t family) {
    return std::any_of(destinations.begin(), destinations.end(),
                       [family](const IpPrefix& prefix) { return family_of(prefix) == family; });
  };
  // The table first: a rule that leads to nothing would let the packet go on to the main table.
  for (const uint8_t family : kFamilies) {
    if (!in_family(family)) continue;
    if (Status ok = set_local_route(*netlink, family, true); !ok) return ok;
  }
  std::set<Rule> wanted;
  for (const std::string& tunnel : tunnels) {
    for (const IpPrefix& destination : destinations)
      wanted.insert({tunnel, destination});
  }
  for (const Rule& rule : wanted) {
    if (present->count(rule) != 0) continue;
    const int failure = change_rule(*netlink, rule, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
    if (failure != 0 && failure != EEXIST) return system_error(failure, "add " + text_of(rule));
  }
  for (const Rule& rule : *present) {
    if (wanted.count(rule) != 0) continue;
    const int failure = change_rule(*netlink, rule, RTM_DELRULE, 0);
    if (failure != 0 && failure != ENOENT) return system_error(failure, "remove " + text_of(rule));
  }
  for (const uint8_t family : kFamilies) {
    if (in_family(family)) continue;
    if (Status ok = set_local_route(*netlink, family, false); !ok) return ok;
  }
  return {};
}

}  // namespace tollgate::kernel
