#include "userspace/kernel/guard.h"

#include <nftables/libnftables.h>

#include <memory>

namespace tollgate::kernel {
namespace {

struct FreeContext {
  void operator()(nft_ctx* context) const { nft_ctx_free(context); }
};

// One buffer is one transaction: all of it, or nothing.
Status run_nft(const std::string& commands, const std::string& what) {
  const std::unique_ptr<nft_ctx, FreeContext> nft(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!nft || nft_ctx_buffer_output(nft.get()) != 0 || nft_ctx_buffer_error(nft.get()) != 0) {
    return system_error(ENOMEM, what);
  }
  if (nft_run_cmd_from_buffer(nft.get(), commands.c_str()) == 0) return {};
  std::string said = nft_ctx_get_error_buffer(nft.get());
  said = said.substr(0, said.find('\n'));
  return Error{Fault::system, 0, what + ": " + (said.empty() ? "refused" : said),
               "needs root and the kernel's nf_tables, nft_reject_inet and nft_socket"};
}

// A name that ends in * would stand for every name that begins so.
std::string quoted(std::string name) {
  if (!name.empty() && name.back() == '*') name.insert(name.size() - 1, "\\");
  return "\"" + name + "\"";
}

std::string set_of(const std::string& name, const std::string& type, const std::string& elements) {
  return " set " + name + " { type " + type + (elements.empty() ? "; " : "; elements = { ") +
         elements + (elements.empty() ? "}\n" : " }; }\n");
}

std::string addresses_of(const std::vector<IpPrefix>& prefixes, bool v4) {
  std::string elements;
  for (const IpPrefix& prefix : prefixes) {
    if (prefix.address.is_v4() != v4) continue;
    elements += (elements.empty() ? "" : ", ") + to_string(prefix);
  }
  return elements;
}

struct Family {
  const char* suffix;
  const char* match;  // a packet of a peer to a guarded address
};
constexpr Family kFamilies[] = {
    {"_v4", "  iifname @tunnels ip daddr @guarded_v4 "},
    {"_v6", "  iifname @tunnels ip6 daddr @guarded_v6 "},
};

// `rule` once for each family, counted by a counter of its own.
std::string rules(const std::string& match, const std::string& counter,
                  const std::string& verdict) {
  std::string text;
  for (const Family& family : kFamilies) {
    text +=
        family.match + match + "counter name \"" + counter + family.suffix + "\" " + verdict + "\n";
  }
  return text;
}

std::string chain(const std::string& hook, const std::string& body) {
  return " chain " + hook + " {\n  type filter hook " + hook +
         " priority filter - 10; policy accept;\n" + body + " }\n";
}

// Whose the socket is: ours is transparent and bound to loopback, so a SYN that sk_lookup gave to
// it finds a transparent socket without wildcard. Somebody's wildcard listener, an empty listener
// slot, and the time before the first start have none.
std::string input_rules() {
  return rules(
             "tcp dport 443 tcp flags & (syn | ack) == syn socket transparent 1 socket wildcard 0 ",
             "steered", "accept") +
         rules("tcp dport 443 tcp flags & (syn | ack) != syn socket transparent 1 ", "connected",
               "accept") +
         rules("meta l4proto tcp ", "refused", "reject with tcp reset") +
         rules("", "refused", "drop");
}

std::string table_of(const std::vector<std::string>& tunnels,
                     const std::vector<IpPrefix>& guarded) {
  std::string names;
  for (const std::string& tunnel : tunnels)
    names += (names.empty() ? "" : ", ") + quoted(tunnel);
  std::string text = "table inet tollgate {\n";
  for (const char* counter : {"not_tcp", "steered", "connected", "refused", "not_forwarded"}) {
    for (const Family& family : kFamilies)
      text += std::string(" counter ") + counter + family.suffix + " { }\n";
  }
  text += set_of("tunnels", "ifname", names);
  text +=
      set_of("guarded_v4", "ipv4_addr; flags interval; auto-merge", addresses_of(guarded, true));
  text +=
      set_of("guarded_v6", "ipv6_addr; flags interval; auto-merge", addresses_of(guarded, false));
  text += chain("prerouting", rules("meta l4proto != tcp ", "not_tcp", "reject"));
  text += chain("input", input_rules());
  text += chain("forward", rules("meta l4proto tcp ", "not_forwarded", "reject with tcp reset") +
                               rules("", "not_forwarded", "drop"));
  return text + "}\n";
}

// The first line makes sure that there is one to delete.
constexpr const char* kDelete = "table inet tollgate\ndelete table inet tollgate\n";

}  // namespace

Status set_guard(const std::vector<std::string>& tunnels, const std::vector<IpPrefix>& guarded) {
  return run_nft(kDelete + table_of(tunnels, guarded), "install the nftables guard");
}

bool has_guard() {
  return run_nft("list table inet tollgate", "look for the nftables guard").has_value();
}

Status remove_guard() {
  if (!has_guard()) return {};
  return run_nft(kDelete, "remove the nftables guard");
}

}  // namespace tollgate::kernel
