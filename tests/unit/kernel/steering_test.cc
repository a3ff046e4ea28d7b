// The loader and both programs over real TCP: a gateway and a client namespace joined by two veth
// pairs (t0 is the tunnel, x0 is not), all of it in namespaces of this process.
#include "userspace/kernel/steering.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "userspace/base/fd.h"
#include "userspace/kernel/bpf_resolver.h"
#include "userspace/kernel/pins.h"

namespace tollgate::kernel {
namespace {

constexpr int kPatienceMs = 5000;

UniqueFd current_netns() {
  return UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

void run(const std::string& command) {
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

IpAddress ip(const char* text) {
  return *parse_ip(text);
}

class SteeringTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: makes namespaces and loads BPF programs";
    ASSERT_EQ(::unshare(CLONE_NEWNS | CLONE_NEWNET), 0);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    client_ = current_netns();
    run("ip link set lo up");
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    gateway_ = current_netns();
    const std::string there =
        "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(client_.get());
    run("ip link set lo up; sysctl -qw net.ipv4.conf.all.rp_filter=0 "
        "net.ipv4.conf.default.rp_filter=0");
    for (const char* n : {"t", "x"}) {
      const std::string name = n;
      run("ip link add " + name + "0 type veth peer name " + name + "1 && ip link set " + name +
          "1 netns " + there + " && ip link set " + name + "0 up");
    }
    run("ip addr add 10.99.0.1/24 dev t0 && ip addr add fd99::1/64 dev t0 nodad &&"
        "ip addr add 10.98.0.1/24 dev x0");
    in_client([] {
      run("ip link set t1 up && ip link set x1 up && ip addr add 10.99.0.2/24 dev t1 &&"
          "ip addr add fd99::2/64 dev t1 nodad && ip addr add 10.98.0.2/24 dev x1");
    });
    char folder[] = "/tmp/tollgate-test-XXXXXX";
    ASSERT_NE(::mkdtemp(folder), nullptr);
    options_.bpffs = folder;
    options_.endpoints = {*parse_endpoint("10.99.0.1:443"), *parse_endpoint("[fd99::1]:443")};
    options_.tunnels = {"t0"};
  }
  void TearDown() override {
    steering_.reset();
    former_.clear();
    if (options_.bpffs == "/sys/fs/bpf") return;
    ::umount2(options_.bpffs.c_str(), MNT_DETACH);
    ::rmdir(options_.bpffs.c_str());
  }

  template <typename Work>
  void in_client(Work work) {
    ASSERT_EQ(::setns(client_.get(), CLONE_NEWNET), 0);
    work();
    ASSERT_EQ(::setns(gateway_.get(), CLONE_NEWNET), 0);
  }
  void load() {
    auto loaded = Steering::load(options_);
    ASSERT_TRUE(loaded) << loaded.error().text;
    steering_ = *std::move(loaded);
  }
  // Bound to loopback: only the program can lead a client there.
  UniqueFd listener(const char* address, uint16_t port = 8443) {
    sockaddr_storage to{};
    const socklen_t size = sockaddr_from_endpoint({ip(address), port}, to);
    UniqueFd fd(::socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&to), size), 0);
    EXPECT_EQ(::listen(fd.get(), 64), 0);
    return fd;
  }
  void listen_both() {
    v4_ = listener("127.0.0.1");
    v6_ = listener("::1");
    const auto set = steering_->set_listeners(v4_.get(), v6_.get());
    ASSERT_TRUE(set) << set.error().text;
  }
  // Empty when refused; errno says how.
  UniqueFd connect_from(const char* source, const char* endpoint) {
    UniqueFd fd;
    sockaddr_storage from{}, to{};
    const socklen_t from_size = sockaddr_from_endpoint({ip(source), 0}, from);
    const socklen_t to_size = sockaddr_from_endpoint(*parse_endpoint(endpoint), to);
    in_client([&] { fd.reset(::socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)); });
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&from), from_size), 0);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), to_size) != 0) fd.reset();
    return fd;
  }
  UniqueFd accept_on(const UniqueFd& listening) {
    pollfd wait{listening.get(), POLLIN, 0};
    if (::poll(&wait, 1, kPatienceMs) != 1) return UniqueFd{};
    return UniqueFd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  std::optional<PeerTag> tag_from(const char* source, const char* endpoint,
                                  const UniqueFd& listening) {
    const UniqueFd client = connect_from(source, endpoint);
    EXPECT_TRUE(client) << source;
    const UniqueFd accepted = accept_on(listening);
    EXPECT_TRUE(accepted) << source;
    return steering_->tag_of(accepted.get());
  }
  uint64_t counter(const std::string& name) {
    for (const auto& [each, value] : steering_->counters()) {
      if (each == name) return value;
    }
    ADD_FAILURE() << "no counter " << name;
    return 0;
  }
  void set_peers(std::vector<PeerEntry> peers) {
    const auto set = steering_->set_peers(peers);
    ASSERT_TRUE(set) << set.error().text;
  }
  std::optional<ringbuf::FlowRecord> next_flow(ringbuf::FlowEvent event) {
    std::optional<ringbuf::FlowRecord> found;
    for (pollfd wait{steering_->flow_fd(), POLLIN, 0};
         !found && ::poll(&wait, 1, kPatienceMs) == 1;) {
      steering_->poll_flows([&](const ringbuf::FlowRecord& r) {
        if (r.event == event) found = r;
      });
    }
    return found;
  }

  std::string pins() const {
    return options_.bpffs + "/tollgate/" + std::to_string(*netns_inode());
  }

  UniqueFd client_, gateway_, v4_, v6_;
  SteeringOptions options_;
  std::unique_ptr<Steering> steering_;
  std::vector<std::unique_ptr<Steering>> former_;
};

TEST_F(SteeringTest, TagsPeersOfBothFamiliesAndNobodyElse) {
  load();
  listen_both();
  EXPECT_EQ(tag_from("10.99.0.2", "10.99.0.1:443", v4_), std::nullopt);
  EXPECT_TRUE(next_flow(ringbuf::FlowEvent::peer_unknown));
  set_peers({{"t0", ip("10.99.0.2"), {1, 10}}, {"t0", ip("fd99::2"), {2, 20}}});
  EXPECT_EQ(tag_from("10.99.0.2", "10.99.0.1:443", v4_), (PeerTag{1, 10}));
  EXPECT_EQ(tag_from("fd99::2", "[fd99::1]:443", v6_), (PeerTag{2, 20}));
  set_peers({{"t0", ip("fd99::2"), {2, 20}}});
  EXPECT_EQ(tag_from("10.99.0.2", "10.99.0.1:443", v4_), std::nullopt);
  set_peers({{"t0", ip("10.99.0.2"), {1, 11}}});
  EXPECT_EQ(tag_from("10.99.0.2", "10.99.0.1:443", v4_), (PeerTag{1, 11}));
  EXPECT_EQ(tag_from("fd99::2", "[fd99::1]:443", v6_), std::nullopt);
  EXPECT_EQ(counter("identify.no_ifindex"), 0U);
}

TEST_F(SteeringTest, PrefixTagsAllItsAddressesAndTheLongerOneWins) {
  load();
  listen_both();
  in_client([] {
    run("ip addr add 10.99.0.9/24 dev t1; ip addr add 10.99.0.130/24 dev t1;"
        "ip addr add fd99::9/64 dev t1 nodad");
  });
  set_peers({{"t0", *parse_prefix("10.99.0.0/25"), {1, 10}},
             {"t0", *parse_prefix("10.99.0.8/30"), {2, 20}},
             {"t0", ip("10.99.0.2"), {3, 30}},
             {"t0", *parse_prefix("fd99::/64"), {4, 40}}});
  EXPECT_EQ(tag_from("10.99.0.2", "10.99.0.1:443", v4_), (PeerTag{3, 30}));
  EXPECT_EQ(tag_from("10.99.0.9", "10.99.0.1:443", v4_), (PeerTag{2, 20}));
  EXPECT_EQ(tag_from("10.99.0.130", "10.99.0.1:443", v4_), std::nullopt);
  EXPECT_EQ(tag_from("fd99::9", "[fd99::1]:443", v6_), (PeerTag{4, 40}));
  set_peers({{"t0", *parse_prefix("10.99.0.0/25"), {1, 10}}});
  EXPECT_EQ(tag_from("10.99.0.2", "10.99.0.1:443", v4_), (PeerTag{1, 10}));
  EXPECT_EQ(tag_from("10.99.0.9", "10.99.0.1:443", v4_), (PeerTag{1, 10}));
}

TEST_F(SteeringTest, PrefixOfTheOtherFamilyOrAnotherInterfaceTagsNobody) {
  options_.tunnels = {"t0", "x0"};
  load();
  listen_both();
  set_peers({{"t0", *parse_prefix("::/0"), {1, 10}}, {"x0", *parse_prefix("0.0.0.0/0"), {2, 20}}});
  EXPECT_EQ(tag_from("10.99.0.2", "10.99.0.1:443", v4_), std::nullopt);
  EXPECT_EQ(tag_from("fd99::2", "[fd99::1]:443", v6_), (PeerTag{1, 10}));
}

TEST_F(SteeringTest, MappedSocketIsTheIpv4Peer) {
  load();
  UniqueFd dual(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::listen(dual.get(), 8), 0);
  const auto set = steering_->set_listeners(dual.get(), -1);
  ASSERT_TRUE(set) << set.error().text;
  set_peers({{"t0", ip("10.99.0.2"), {1, 10}}});
  EXPECT_EQ(tag_from("10.99.0.2", "10.99.0.1:443", dual), (PeerTag{1, 10}));
}

TEST_F(SteeringTest, SameAddressFromAnotherInterfaceHasNoTag) {
  load();
  set_peers({{"t0", ip("10.98.0.2"), {1, 10}}});
  const UniqueFd plain = listener("10.99.0.1", 443);
  in_client([] { run("ip route replace 10.99.0.1/32 via 10.98.0.1 dev x1"); });
  EXPECT_EQ(tag_from("10.98.0.2", "10.99.0.1:443", plain), std::nullopt);
  EXPECT_EQ(counter("identify.peer_unknown"), 1U);
}

TEST_F(SteeringTest, CloseEventCarriesThePayloadBytes) {
  load();
  listen_both();
  set_peers({{"t0", ip("10.99.0.2"), {1, 10}}});
  UniqueFd client = connect_from("10.99.0.2", "10.99.0.1:443");
  UniqueFd accepted = accept_on(v4_);
  const std::string up(12345, 'u'), down(54321, 'd');
  ASSERT_EQ(::send(client.get(), up.data(), up.size(), 0), static_cast<ssize_t>(up.size()));
  std::string got(up.size(), 0);
  ASSERT_EQ(::recv(accepted.get(), got.data(), got.size(), MSG_WAITALL),
            static_cast<ssize_t>(up.size()));
  ASSERT_EQ(::send(accepted.get(), down.data(), down.size(), 0), static_cast<ssize_t>(down.size()));
  got.resize(down.size());
  ASSERT_EQ(::recv(client.get(), got.data(), got.size(), MSG_WAITALL),
            static_cast<ssize_t>(down.size()));
  client.reset();
  ASSERT_EQ(::recv(accepted.get(), got.data(), got.size(), 0), 0);  // the FIN is in
  accepted.reset();
  const auto closed = next_flow(ringbuf::FlowEvent::close);
  ASSERT_TRUE(closed);
  EXPECT_EQ(closed->bytes_received, up.size());
  EXPECT_EQ(closed->bytes_sent, down.size());
  EXPECT_GT(closed->srtt_us, 0U);
  EXPECT_EQ(closed->tag, (PeerTag{1, 10}));
  EXPECT_EQ(closed->local, *parse_endpoint("10.99.0.1:443"));
  EXPECT_EQ(closed->remote.address, ip("10.99.0.2"));
}

TEST_F(SteeringTest, GroupSpreadsAndAnEmptySlotRefuses) {
  load();
  listen_both();
  const UniqueFd second = listener("127.0.0.1");
  std::map<int, int> accepted;
  for (int i = 0; i < 64; ++i) {
    const UniqueFd client = connect_from("10.99.0.2", "10.99.0.1:443");
    ASSERT_TRUE(client);
    pollfd wait[2] = {{v4_.get(), POLLIN, 0}, {second.get(), POLLIN, 0}};
    ASSERT_EQ(::poll(wait, 2, kPatienceMs), 1);
    const int which = wait[0].revents != 0 ? 0 : 1;
    ++accepted[which];
    UniqueFd(::accept4(wait[which].fd, nullptr, nullptr, SOCK_CLOEXEC)).reset();
  }
  EXPECT_EQ(accepted.size(), 2U);
  v4_.reset();
  EXPECT_FALSE(connect_from("10.99.0.2", "10.99.0.1:443"));
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_GE(counter("steer.no_listener"), 1U);
}

TEST_F(SteeringTest, SwapUnderLoadNeverGivesAWrongTag) {
  load();
  listen_both();
  const std::vector<PeerEntry> one = {{"t0", ip("10.99.0.2"), {1, 100}}};
  const std::vector<PeerEntry> two = {{"t0", ip("10.99.0.2"), {2, 200}}};
  set_peers(one);
  std::jthread swapper([&](const std::stop_token& stop) {
    for (bool flip = false; !stop.stop_requested(); flip = !flip) {
      EXPECT_TRUE(steering_->set_peers(flip ? one : two));
    }
  });
  for (int i = 0; i < 500; ++i) {
    const auto tag = tag_from("10.99.0.2", "10.99.0.1:443", v4_);
    ASSERT_TRUE(tag);
    EXPECT_TRUE((*tag == PeerTag{1, 100}) || (*tag == PeerTag{2, 200}));
  }
}

TEST_F(SteeringTest, MissingInterfacesAndUnusablePeersAreErrors) {
  load();
  const std::vector<PeerEntry> missing = {{"t0", ip("10.99.0.2"), {1, 1}},
                                          {"wg7", ip("10.99.0.3"), {2, 1}}};
  const auto set = steering_->set_peers(missing);
  ASSERT_FALSE(set);
  EXPECT_NE(set.error().text.find("wg7"), std::string::npos);
  listen_both();
  EXPECT_EQ(tag_from("10.99.0.2", "10.99.0.1:443", v4_), (PeerTag{1, 1}));
  const std::vector<PeerEntry> nobody = {{"t0", ip("10.99.0.2"), {0, 1}}};
  EXPECT_FALSE(steering_->set_peers(nobody));
  const std::vector<PeerEntry> twice = {{"t0", ip("10.99.0.2"), {1, 1}},
                                        {"t0", ip("10.99.0.2"), {2, 1}}};
  EXPECT_FALSE(steering_->set_peers(twice));
  EXPECT_EQ(tag_from("10.99.0.2", "10.99.0.1:443", v4_), (PeerTag{1, 1}));
}

TEST_F(SteeringTest, SecondLoaderIsRefusedUntilTheFirstIsKilled) {
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  // Mounted here first, so that both processes see one bpffs.
  load();
  steering_.reset();
  const pid_t first = ::fork();
  if (first == 0) {
    auto loaded = Steering::load(options_);
    const char done = loaded ? 'y' : 'n';
    if (::write(ready[1], &done, 1) != 1) ::_exit(1);
    for (;;)
      ::pause();
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  const auto refused = Steering::load(options_);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("pid " + std::to_string(first)), std::string::npos)
      << refused.error().text;
  EXPECT_FALSE(Steering::uninstall(options_));
  ::kill(first, SIGKILL);
  ::waitpid(first, nullptr, 0);
  EXPECT_FALSE(connect_from("10.99.0.2", "10.99.0.1:443"));  // closed, not open
  load();
  listen_both();
  EXPECT_TRUE(connect_from("10.99.0.2", "10.99.0.1:443"));
}

TEST_F(SteeringTest, TakesOverWithoutARefusedConnectionOrALostTag) {
  load();
  listen_both();
  set_peers({{"t0", ip("10.99.0.2"), {1, 10}}});
  const Steering& first = *steering_;  // its maps are everybody's
  std::atomic<bool> done{false};
  std::thread taker([&] {
    for (int i = 0; i < 4; ++i) {
      auto next = Steering::take_over(options_, ::getpid(), UniqueFd(::dup(steering_->lock_fd())));
      EXPECT_TRUE(next) << next.error().text;
      if (!next) break;
      former_.push_back(std::exchange(steering_, *std::move(next)));
      // So that each of the two sets of peers is once the one in force.
      if (i % 2 == 1) set_peers({{"t0", ip("10.99.0.2"), {1, 10}}});
    }
    done = true;
  });
  for (int connected = 0; !done || connected < 20; ++connected) {
    const UniqueFd client = connect_from("10.99.0.2", "10.99.0.1:443");
    EXPECT_TRUE(client) << ::strerror(errno);
    const UniqueFd accepted = accept_on(v4_);
    EXPECT_TRUE(accepted);
    EXPECT_EQ(first.tag_of(accepted.get()), (PeerTag{1, 10}));
    if (!client || !accepted) break;
  }
  taker.join();
  EXPECT_EQ(former_.size(), 4u);
  EXPECT_TRUE(next_flow(ringbuf::FlowEvent::open));
  EXPECT_FALSE(std::filesystem::exists(pins() + "/new"));
}

TEST_F(SteeringTest, TakesOverWithTheInterceptsOfTheNewOne) {
  options_.intercepts = {*parse_prefix("192.0.2.0/24")};
  load();
  listen_both();
  in_client([] {
    run("ip route add 192.0.2.0/24 via 10.99.0.1; ip route add 198.51.100.0/24 via "
        "10.99.0.1");
  });
  run("ip route add local 192.0.2.0/24 dev lo; ip route add local 198.51.100.0/24 dev lo");
  EXPECT_TRUE(connect_from("10.99.0.2", "192.0.2.7:443"));
  EXPECT_FALSE(connect_from("10.99.0.2", "198.51.100.7:443"));
  options_.intercepts = {*parse_prefix("198.51.100.0/24")};
  auto next = Steering::take_over(options_, ::getpid(), UniqueFd(::dup(steering_->lock_fd())));
  ASSERT_TRUE(next) << next.error().text;
  former_.push_back(std::exchange(steering_, *std::move(next)));
  EXPECT_FALSE(connect_from("10.99.0.2", "192.0.2.7:443"));
  EXPECT_TRUE(connect_from("10.99.0.2", "198.51.100.7:443"));
}

TEST_F(SteeringTest, TakesOverOnlyWithTheLockOfThatDaemon) {
  load();
  const auto refused = [&](UniqueFd lock) {
    const auto taken = Steering::take_over(options_, ::getpid(), std::move(lock));
    return !taken && taken.error().text.find("lock") != std::string::npos;
  };
  EXPECT_TRUE(refused(UniqueFd(::open("/", O_RDONLY | O_CLOEXEC)))) << "of another file";
  EXPECT_TRUE(refused(UniqueFd(::open(pins().c_str(), O_RDONLY | O_CLOEXEC)))) << "not locked";
  EXPECT_TRUE(refused(UniqueFd{})) << "none";
  const auto taken =
      Steering::take_over(options_, ::getpid(), UniqueFd(::dup(steering_->lock_fd())));
  EXPECT_TRUE(taken) << taken.error().text;
}

TEST_F(SteeringTest, UninstallLeavesNothing) {
  load();
  steering_.reset();
  EXPECT_TRUE(std::filesystem::exists(options_.bpffs + "/tollgate"));
  const auto removed = Steering::uninstall(options_);
  ASSERT_TRUE(removed) << removed.error().text;
  EXPECT_FALSE(std::filesystem::exists(options_.bpffs + "/tollgate"));
  EXPECT_TRUE(Steering::uninstall(options_));
}

TEST_F(SteeringTest, FailedLoadLeavesNothing) {
  options_.tunnels = {"wg7"};
  const auto loaded = Steering::load(options_);
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().text.find("wg7"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(options_.bpffs + "/tollgate"));
}

TEST_F(SteeringTest, WorksWithoutPrivilegesAfterLoad) {
  load();
  listen_both();
  const UniqueFd client = connect_from("10.99.0.2", "10.99.0.1:443");
  const UniqueFd unknown = accept_on(v4_);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgroups(0, nullptr) != 0 || ::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
    const std::vector<PeerEntry> peers = {{"t0", ip("10.99.0.2"), {1, 10}}};
    if (!steering_->set_peers(peers)) ::_exit(2);
    ::_exit(steering_->tag_of(unknown.get()) ? 3 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(WEXITSTATUS(status), 0);
  const UniqueFd known = connect_from("10.99.0.2", "10.99.0.1:443");
  const UniqueFd accepted = accept_on(v4_);
  const pid_t reader = ::fork();
  if (reader == 0) {
    if (::setgroups(0, nullptr) != 0 || ::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
    ::_exit(steering_->tag_of(accepted.get()) == PeerTag{1, 10} ? 0 : 3);
  }
  ::waitpid(reader, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(SteeringTest, ResolverWantsTagAndAddressToAgree) {
  load();
  listen_both();
  set_peers({{"t0", ip("10.99.0.2"), {1, 10}}});
  const UniqueFd client = connect_from("10.99.0.2", "10.99.0.1:443");
  const UniqueFd accepted = accept_on(v4_);
  const auto resolver = make_bpf_resolver(*steering_);
  const auto policy_with = [](PeerTag tag, const char* address) {
    policy::Policy::Parts parts;
    policy::Peer peer;
    peer.tag = tag;
    peer.address = ip(address);
    parts.peers.push_back(peer);
    return std::make_unique<policy::Policy>(std::move(parts));
  };
  const IpAddress remote = ip("10.99.0.2");
  const auto resolve = [&](const std::unique_ptr<policy::Policy>& policy, const IpAddress& from) {
    return resolver->resolve(accepted.get(), from, *policy);
  };
  EXPECT_EQ(resolve(policy_with({1, 10}, "10.99.0.2"), remote), (PeerTag{1, 10}));
  EXPECT_EQ(resolve(policy_with({1, 11}, "10.99.0.2"), remote), (PeerTag{1, 11}));
  EXPECT_EQ(resolve(policy_with({2, 10}, "10.99.0.2"), remote), std::nullopt);
  EXPECT_EQ(resolve(policy_with({1, 10}, "10.99.0.3"), remote), std::nullopt);
  EXPECT_EQ(resolve(policy_with({1, 10}, "10.99.0.2"), ip("10.99.0.3")), std::nullopt);
}

}  // namespace
}  // namespace tollgate::kernel
