// Routing rules and the nftables guard by real packets: a client, a gateway and a provider
// namespace in a row (t0 is the gateway's tunnel, u0 leads to the provider), all of this process.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/kernel/guard.h"
#include "userspace/kernel/routes.h"
#include "userspace/kernel/steering.h"

namespace tollgate::kernel {
namespace {

constexpr int kPatienceMs = 5000;
constexpr int kSilenceMs = 300;
constexpr const char* kProviders[] = {"198.51.100.7", "2001:db8:7::7"};

UniqueFd current_netns() {
  return UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

void run(const std::string& command) {
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "re"), ::pclose);
  std::string text;
  char block[4096];
  while (const size_t n = std::fread(block, 1, sizeof block, pipe.get()))
    text.append(block, n);
  return text;
}

size_t count_of(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + 1))
    ++count;
  return count;
}

IpPrefix prefix(const char* text) {
  return *parse_prefix(text);
}

class InterceptionTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: makes namespaces, rules and nftables tables";
    ASSERT_EQ(::unshare(CLONE_NEWNS | CLONE_NEWNET), 0);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    client_ = current_netns();
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    provider_ = current_netns();
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    gateway_ = current_netns();
    run("ip link set lo up && sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "
        "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0");
    run("ip link add t0 type veth peer name t1 netns " + path_of(client_) + " && " +
        "ip link add u0 type veth peer name u1 netns " + path_of(provider_) +
        " && ip link set t0 up && ip link set u0 up &&"
        "ip addr add 10.99.0.1/24 dev t0 && ip addr add fd99::1/64 dev t0 nodad &&"
        "ip addr add 10.98.0.1/24 dev u0 && ip addr add fd98::1/64 dev u0 nodad");
    in(client_, [] {
      run("ip link set t1 up && ip addr add 10.99.0.2/24 dev t1 &&"
          "ip addr add fd99::2/64 dev t1 nodad && ip route add default via 10.99.0.1 &&"
          "ip -6 route add default via fd99::1");
    });
    in(provider_, [] {
      run("ip link set lo up && ip link set u1 up && ip addr add 10.98.0.2/24 dev u1 &&"
          "ip addr add fd98::2/64 dev u1 nodad && ip route add default via 10.98.0.1 &&"
          "ip -6 route add default via fd98::1 && ip addr add 198.51.100.7/32 dev lo &&"
          "ip addr add 2001:db8:7::7/128 dev lo && ip addr add 203.0.113.7/32 dev lo");
    });
    run("ip route add default via 10.98.0.2 && ip -6 route add default via fd98::2");
  }
  void TearDown() override {
    steering_.reset();
    if (bpffs_.empty()) return;
    ::umount2(bpffs_.c_str(), MNT_DETACH);
    ::rmdir(bpffs_.c_str());
  }

  static std::string path_of(const UniqueFd& netns) {
    return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(netns.get());
  }
  template <typename Work>
  void in(const UniqueFd& netns, Work work) {
    ASSERT_EQ(::setns(netns.get(), CLONE_NEWNET), 0);
    work();
    ASSERT_EQ(::setns(gateway_.get(), CLONE_NEWNET), 0);
  }
  UniqueFd socket_at(const UniqueFd& netns, const char* address, uint16_t port, int kind,
                     bool transparent = false) {
    sockaddr_storage to{};
    const socklen_t size = sockaddr_from_endpoint({*parse_ip(address), port}, to);
    UniqueFd fd;
    in(netns, [&] { fd.reset(::socket(to.ss_family, kind | SOCK_CLOEXEC, 0)); });
    const int on = 1;
    if (to.ss_family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (transparent && to.ss_family == AF_INET) {
      EXPECT_EQ(::setsockopt(fd.get(), IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on), 0);
    } else if (transparent) {
      EXPECT_EQ(::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof on), 0);
    }
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&to), size), 0) << address;
    if (kind == SOCK_STREAM) {
      EXPECT_EQ(::listen(fd.get(), 64), 0);
    }
    return fd;
  }
  // The client's word: 0 when it connected, else its errno.
  int connects(const char* address, uint16_t port = 443) {
    sockaddr_storage to{};
    const socklen_t size = sockaddr_from_endpoint({*parse_ip(address), port}, to);
    UniqueFd fd;
    in(client_,
       [&] { fd.reset(::socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); });
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), size) == 0) return 0;
    pollfd wait{fd.get(), POLLOUT, 0};
    if (errno != EINPROGRESS || ::poll(&wait, 1, kPatienceMs) != 1) return ETIMEDOUT;
    int failure = 0;
    socklen_t length = sizeof failure;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &failure, &length);
    return failure;
  }
  // What the client hears of a datagram: ECONNREFUSED, or nothing at all.
  int says(const char* address) {
    sockaddr_storage to{};
    const socklen_t size = sockaddr_from_endpoint({*parse_ip(address), 443}, to);
    UniqueFd fd;
    in(client_, [&] { fd.reset(::socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), size), 0);
    EXPECT_EQ(::send(fd.get(), "x", 1, 0), 1);
    pollfd wait{fd.get(), POLLIN, 0};
    if (::poll(&wait, 1, kSilenceMs) != 1) return 0;
    char byte = 0;
    return ::recv(fd.get(), &byte, 1, 0) < 0 ? errno : 0;
  }
  static bool receives(const UniqueFd& socket) {
    pollfd wait{socket.get(), POLLIN, 0};
    char byte = 0;
    return ::poll(&wait, 1, kSilenceMs) == 1 && ::recv(socket.get(), &byte, 1, 0) == 1;
  }
  void load_steering() {
    char folder[] = "/tmp/tollgate-test-XXXXXX";
    ASSERT_NE(::mkdtemp(folder), nullptr);
    bpffs_ = folder;
    auto loaded = Steering::load({.endpoints = {*parse_endpoint("10.99.0.1:443")},
                                  .intercepts = destinations_,
                                  .tunnels = {"t0"},
                                  .bpffs = bpffs_});
    ASSERT_TRUE(loaded) << loaded.error().text;
    steering_ = *std::move(loaded);
  }
  void routes(const std::vector<std::string>& tunnels, const std::vector<IpPrefix>& to) {
    const Status set = set_routes(tunnels, to);
    ASSERT_TRUE(set) << set.error().text;
  }
  void guard(const std::vector<std::string>& tunnels, const std::vector<IpPrefix>& of) {
    const Status set = set_guard(tunnels, of);
    ASSERT_TRUE(set) << set.error().text << "; " << set.error().hint;
  }
  std::string all_rules() { return output_of("ip rule; ip -6 rule"); }
  std::string all_routes() {
    return output_of("(ip route show table 29799; ip -6 route show table 29799) 2>/dev/null");
  }
  uint64_t counted(const std::string& name) {
    const std::string text = output_of("nft list counter inet tollgate " + name);
    const size_t at = text.find("packets ");
    EXPECT_NE(at, text.npos) << name << ": " << text;
    return at == text.npos ? 0 : std::stoull(text.substr(at + 8));
  }

  const std::vector<IpPrefix> destinations_ = {prefix("198.51.100.0/24"),
                                               prefix("2001:db8:7::/48")};
  UniqueFd client_, provider_, gateway_;
  std::string bpffs_;
  std::unique_ptr<Steering> steering_;
};

TEST_F(InterceptionTest, RulesOfBothFamiliesAreThereOnceHoweverOftenTheyAreSet) {
  for (int turn = 0; turn < 3; ++turn)
    routes({"t0", "wg7"}, destinations_);
  const std::string rules = all_rules();
  EXPECT_EQ(count_of(rules, "lookup 29799"), 4u) << rules;
  EXPECT_EQ(count_of(rules, "90:\tfrom all to 198.51.100.0/24 iif t0 lookup 29799"), 1u) << rules;
  EXPECT_EQ(count_of(rules, "90:\tfrom all to 2001:db8:7::/48 iif wg7 [detached] lookup 29799"), 1u)
      << rules;
  EXPECT_EQ(count_of(all_routes(), "local default dev lo"), 2u) << all_routes();
}

TEST_F(InterceptionTest, ChangedDestinationsLeaveNoStaleRule) {
  run("ip rule add pref 90 to 203.0.113.0/24 lookup 100");
  routes({"t0"}, destinations_);
  routes({"t0"}, {prefix("192.0.2.1")});
  const std::string rules = all_rules();
  EXPECT_EQ(count_of(rules, "lookup 29799"), 1u) << rules;
  EXPECT_EQ(count_of(rules, "to 192.0.2.1 iif t0"), 1u) << rules;
  EXPECT_EQ(count_of(all_routes(), "local default dev lo"), 1u) << all_routes();
  routes({"t0"}, {});
  EXPECT_EQ(count_of(all_rules(), "29799"), 0u) << all_rules();
  EXPECT_EQ(all_routes(), "");
  EXPECT_EQ(count_of(all_rules(), "to 203.0.113.0/24 lookup 100"), 1u) << "somebody else's";
  routes({}, {});
}

TEST_F(InterceptionTest, AGuardedAddressGetsNothingForwarded) {
  for (const char* provider : kProviders) {
    const UniqueFd listening = socket_at(provider_, provider, 443, SOCK_STREAM);
    const UniqueFd quic = socket_at(provider_, provider, 443, SOCK_DGRAM);
    ASSERT_EQ(connects(provider), 0) << "control: " << provider;
    ASSERT_EQ(says(provider), 0);
    ASSERT_TRUE(receives(quic)) << "control: " << provider;
    guard({"t0"}, destinations_);
    EXPECT_EQ(connects(provider), ECONNREFUSED) << provider;
    EXPECT_EQ(connects(provider, 80), ECONNREFUSED) << provider;
    EXPECT_EQ(says(provider), ECONNREFUSED) << provider;
    EXPECT_FALSE(receives(quic)) << provider;
    const std::string family = parse_ip(provider)->is_v4() ? "_v4" : "_v6";
    EXPECT_EQ(counted("not_forwarded" + family), 2u);
    EXPECT_EQ(counted("not_tcp" + family), 1u);
    ASSERT_TRUE(remove_guard());
    EXPECT_EQ(connects(provider), 0) << "removed: " << provider;
  }
}

TEST_F(InterceptionTest, OtherAddressesAndOtherInterfacesPassTheGuard) {
  const UniqueFd other = socket_at(provider_, "203.0.113.7", 443, SOCK_STREAM);
  const UniqueFd guarded = socket_at(provider_, "198.51.100.7", 443, SOCK_STREAM);
  guard({"t0"}, destinations_);
  EXPECT_EQ(connects("203.0.113.7"), 0);
  EXPECT_EQ(connects("198.51.100.7"), ECONNREFUSED);
  guard({"t9"}, destinations_);
  EXPECT_EQ(connects("198.51.100.7"), 0) << "t0 is no tunnel any more";
}

TEST_F(InterceptionTest, TheGuardHoldsForAnInterfaceThatComesLater) {
  const UniqueFd listening = socket_at(provider_, "198.51.100.7", 443, SOCK_STREAM);
  guard({"t9"}, destinations_);
  ASSERT_EQ(connects("198.51.100.7"), 0) << "control";
  run("ip link set t0 down && ip link set t0 name t9 && ip link set t9 up");
  EXPECT_EQ(connects("198.51.100.7"), ECONNREFUSED);
}

TEST_F(InterceptionTest, TheGuardIsReplacedWholeAndRemovedWhole) {
  EXPECT_FALSE(has_guard());
  EXPECT_TRUE(remove_guard()) << "nothing to remove is no mistake";
  guard({"t0"}, destinations_);
  guard({"t0"}, {prefix("192.0.2.0/25"), prefix("192.0.2.0/24")});
  EXPECT_TRUE(has_guard());
  const std::string table = output_of("nft list table inet tollgate");
  EXPECT_EQ(count_of(table, "198.51.100.0"), 0u) << table;
  EXPECT_EQ(count_of(table, "192.0.2.0/24"), 1u) << table;
  EXPECT_TRUE(remove_guard());
  EXPECT_FALSE(has_guard());
  EXPECT_EQ(output_of("nft list ruleset"), "");
}

TEST_F(InterceptionTest, NobodysWildcardListenerAnswersUnderTheProvidersName) {
  guard({"t0"}, destinations_);
  routes({"t0"}, destinations_);
  for (const bool transparent : {false, true}) {
    const UniqueFd v4 = socket_at(gateway_, "0.0.0.0", 443, SOCK_STREAM, transparent);
    const UniqueFd v6 = socket_at(gateway_, "::", 443, SOCK_STREAM, transparent);
    const UniqueFd quic = socket_at(gateway_, "0.0.0.0", 443, SOCK_DGRAM);
    for (const char* provider : kProviders) {
      EXPECT_EQ(connects(provider), ECONNREFUSED) << provider << ", transparent " << transparent;
      EXPECT_EQ(says(provider), ECONNREFUSED) << provider;
    }
    EXPECT_FALSE(receives(quic));
    EXPECT_EQ(connects("10.99.0.1"), 0) << "our own address is not guarded";
  }
  EXPECT_EQ(counted("refused_v4"), 2u);
  EXPECT_EQ(counted("refused_v6"), 2u);
  EXPECT_EQ(counted("not_forwarded_v4"), 0u);
}

TEST_F(InterceptionTest, SteeredConnectionsKeepTheirDestinationAndAnEmptySlotRefusesAtOnce) {
  load_steering();
  guard({"t0"}, destinations_);
  routes({"t0"}, destinations_);
  for (const char* provider : kProviders)
    EXPECT_EQ(connects(provider), ECONNREFUSED) << "no listener yet: " << provider;
  UniqueFd listeners[] = {socket_at(gateway_, "127.0.0.1", 8443, SOCK_STREAM, true),
                          socket_at(gateway_, "::1", 8443, SOCK_STREAM, true)};
  ASSERT_TRUE(steering_->set_listeners(listeners[0].get(), listeners[1].get()));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(connects(kProviders[i]), 0) << kProviders[i];
    const UniqueFd accepted(::accept4(listeners[i].get(), nullptr, nullptr, SOCK_CLOEXEC));
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    ASSERT_EQ(::getsockname(accepted.get(), reinterpret_cast<sockaddr*>(&storage), &size), 0);
    EXPECT_EQ(endpoint_from_sockaddr(storage), (Endpoint{*parse_ip(kProviders[i]), 443}));
    EXPECT_EQ(connects(kProviders[i], 80), ECONNREFUSED) << "HTTPS alone is intercepted";
    EXPECT_EQ(says(kProviders[i]), ECONNREFUSED);
  }
  steering_.reset();  // what is pinned stays in force
  listeners[0].reset();
  listeners[1].reset();
  const UniqueFd wildcard = socket_at(gateway_, "0.0.0.0", 443, SOCK_STREAM);
  for (const char* provider : kProviders)
    EXPECT_EQ(connects(provider), ECONNREFUSED) << "stopped: " << provider;
}

TEST_F(InterceptionTest, TheGatewaysOwnConnectionsAreNotIntercepted) {
  guard({"t0"}, destinations_);
  routes({"t0"}, destinations_);
  for (const char* provider : kProviders) {
    const UniqueFd listening = socket_at(provider_, provider, 443, SOCK_STREAM);
    sockaddr_storage to{};
    const socklen_t size = sockaddr_from_endpoint({*parse_ip(provider), 443}, to);
    const UniqueFd own(::socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(own.get(), reinterpret_cast<sockaddr*>(&to), size), 0) << provider;
  }
}

}  // namespace
}  // namespace tollgate::kernel
