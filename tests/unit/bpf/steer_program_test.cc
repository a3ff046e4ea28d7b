// The sk_lookup program as a table, through BPF_PROG_TEST_RUN: packet → verdict and counter.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <sched.h>
#include <skeletons/steer.skel.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "bpf/abi.h"
#include "userspace/base/fd.h"
#include "userspace/base/ip.h"

namespace tollgate {
namespace {

// A test run refuses to set the ingress interface, so here number 0 is the tunnel; real interfaces
// are tested over TCP in tests/unit/kernel.
constexpr uint32_t kTunnel = 0;
constexpr uint32_t kDrop = 0;
constexpr uint32_t kPass = 1;

struct Case {
  const char* description;
  uint32_t family;
  uint32_t protocol;
  const char* local;
  uint32_t port;
  uint32_t verdict;
  tg_counter moved;
};

class SteerProgram : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: loads a BPF program";
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    skeleton_.reset(tg_steer_bpf__open_and_load());
    ASSERT_NE(skeleton_, nullptr);
    const __u8 on = 1;
    ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(skeleton_->maps.tunnels), &kTunnel, &on, 0), 0);
    for (const char* address : {"10.99.0.1", "fd99::1"}) {
      tg_endpoint_key key{};
      const auto ip = parse_ip(address);
      std::copy(ip->bytes.begin(), ip->bytes.end(), key.addr);
      key.family = ip->is_v4() ? TG_FAMILY_V4 : TG_FAMILY_V6;
      key.port = 443;
      ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(skeleton_->maps.endpoints), &key, &on, 0), 0);
    }
  }
  void listen_on(int family, __u32 slot) {
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::listen(fd.get(), 1), 0);
    const __u64 value = static_cast<__u64>(fd.get());
    ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(skeleton_->maps.listeners), &slot, &value, 0), 0);
    listeners_.push_back(std::move(fd));
  }
  uint64_t counter(__u32 id) {
    std::vector<uint64_t> cpus(static_cast<size_t>(libbpf_num_possible_cpus()));
    bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.counters), &id, cpus.data());
    uint64_t sum = 0;
    for (const uint64_t value : cpus)
      sum += value;
    return sum;
  }
  void check(const Case& c) {
    SCOPED_TRACE(c.description);
    bpf_sk_lookup ctx{};
    ctx.family = c.family;
    ctx.protocol = c.protocol;
    ctx.local_port = c.port;
    ctx.remote_port = htons(40000);
    const auto ip = parse_ip(c.local);
    if (ip->is_v4() && c.family == TG_FAMILY_V4) {
      std::copy(ip->bytes.begin() + 12, ip->bytes.end(),
                reinterpret_cast<uint8_t*>(&ctx.local_ip4));
    } else {
      std::copy(ip->bytes.begin(), ip->bytes.end(), reinterpret_cast<uint8_t*>(ctx.local_ip6));
    }
    std::vector<uint64_t> before(TG_COUNTER_MAX);
    for (__u32 id = 0; id < TG_COUNTER_MAX; ++id)
      before[id] = counter(id);
    LIBBPF_OPTS(bpf_test_run_opts, run);
    run.ctx_in = &ctx;
    run.ctx_size_in = sizeof ctx;
    ASSERT_EQ(bpf_prog_test_run_opts(bpf_program__fd(skeleton_->progs.tg_steer), &run), 0);
    EXPECT_EQ(run.retval, c.verdict);
    for (__u32 id = 0; id < TG_COUNTER_MAX; ++id) {
      EXPECT_EQ(counter(id) - before[id], id == c.moved ? 1U : 0U) << "counter " << id;
    }
  }

  struct Free {
    void operator()(tg_steer_bpf* skeleton) const { tg_steer_bpf__destroy(skeleton); }
  };
  std::unique_ptr<tg_steer_bpf, Free> skeleton_;
  std::vector<UniqueFd> listeners_;
};

TEST_F(SteerProgram, SteersOnlyTcpFromATunnelToAnEndpoint) {
  listen_on(AF_INET, TG_LISTENER_V4);
  listen_on(AF_INET6, TG_LISTENER_V6);
  const Case cases[] = {
      {"v4 endpoint", 2, 6, "10.99.0.1", 443, kPass, TG_STEER_ASSIGNED},
      {"v6 endpoint", 10, 6, "fd99::1", 443, kPass, TG_STEER_ASSIGNED},
      {"UDP", 2, 17, "10.99.0.1", 443, kPass, TG_STEER_NOT_TCP},
      {"another port", 2, 6, "10.99.0.1", 444, kPass, TG_STEER_NOT_ENDPOINT},
      {"another v4 address", 2, 6, "10.99.0.2", 443, kPass, TG_STEER_NOT_ENDPOINT},
      {"another v6 address", 10, 6, "fd99::2", 443, kPass, TG_STEER_NOT_ENDPOINT},
      {"mapped address in a v6 packet is not the v4 endpoint", 10, 6, "10.99.0.1", 443, kPass,
       TG_STEER_NOT_ENDPOINT},
  };
  for (const Case& c : cases)
    check(c);
}

TEST_F(SteerProgram, LeavesOtherInterfacesAlone) {
  listen_on(AF_INET, TG_LISTENER_V4);
  check({"tunnel", 2, 6, "10.99.0.1", 443, kPass, TG_STEER_ASSIGNED});
  ASSERT_EQ(bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.tunnels), &kTunnel), 0);
  check({"not a tunnel", 2, 6, "10.99.0.1", 443, kPass, TG_STEER_NOT_TUNNEL});
}

TEST_F(SteerProgram, DropsWithoutAListener) {
  check({"v4", 2, 6, "10.99.0.1", 443, kDrop, TG_STEER_NO_LISTENER});
  check({"v6", 10, 6, "fd99::1", 443, kDrop, TG_STEER_NO_LISTENER});
}

TEST_F(SteerProgram, DropsWhenTheListenerIsOfTheOtherFamily) {
  listen_on(AF_INET, TG_LISTENER_V6);
  check({"v6", 10, 6, "fd99::1", 443, kDrop, TG_STEER_ASSIGN_FAILED});
}

TEST_F(SteerProgram, DropsAfterTheListenerWasClosed) {
  listen_on(AF_INET, TG_LISTENER_V4);
  listeners_.clear();
  check({"v4", 2, 6, "10.99.0.1", 443, kDrop, TG_STEER_NO_LISTENER});
}

}  // namespace
}  // namespace tollgate
