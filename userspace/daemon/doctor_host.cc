// The machine: kernel, network, disk, clock, and what an earlier gateway left behind.
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <set>

#include "userspace/base/fd.h"
#include "userspace/daemon/doctor.h"
#include "userspace/identity/tunnel_reader.h"
#include "userspace/io/loop.h"
#include "userspace/kernel/guard.h"
#include "userspace/kernel/pins.h"
#include "userspace/kernel/steering.h"

namespace tollgate::daemon {
namespace {

using State = Finding::State;

constexpr const char* kAsRoot = "run this as root";

std::string first_word(const char* path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

Finding look_at_bpf() {
  if (::geteuid() != 0) return {State::degraded, "BPF", "cannot be tried without root", kAsRoot};
  const Status loaded = kernel::Steering::try_load();
  if (loaded) return {State::ok, "BPF", "the kernel accepts steering and identity"};
  return {State::broken, "BPF", loaded.error().text,
          "see the kernel's BPF settings, or set gateway.steering = \"userspace\""};
}

Finding look_at_bpffs(const std::string& path) {
  struct statfs info {};
  if (::statfs(path.c_str(), &info) == 0 && info.f_type == BPF_FS_MAGIC) {
    return {State::ok, "bpffs", path};
  }
  return {State::degraded, "bpffs", path + " is none: the gateway mounts one at its start",
          "mount -t bpf bpf " + path};
}

Finding look_at_cgroup() {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    if (line.find(" - cgroup2 ") != line.npos) return {State::ok, "cgroup2", "mounted"};
  }
  return {State::degraded, "cgroup2", "not mounted: the gateway mounts it for itself",
          "mount -t cgroup2 cgroup2 /sys/fs/cgroup"};
}

Finding look_at_io_uring(const std::string& wanted) {
  if (wanted != "io_uring") return {State::ok, "io_uring", "not asked for: gateway.io is poll"};
  const auto loop = io::Loop::make({});
  if (!loop) return {State::broken, "io_uring", loop.error().text, loop.error().hint};
  if (!(*loop)->fallback_reason().empty()) {
    return {State::degraded, "io_uring", (*loop)->fallback_reason() + "; polling serves instead",
            "gateway.io = \"poll\" says that this is meant"};
  }
  if (first_word("/proc/sys/kernel/io_uring_disabled") == "1") {
    return {State::degraded, "io_uring", "only for root and the group of io_uring_group",
            "sysctl kernel.io_uring_disabled=0, or put the gateway's user into that group"};
  }
  return {State::ok, "io_uring", "works"};
}

std::set<IpAddress> own_addresses() {
  std::set<IpAddress> addresses;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return addresses;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    sockaddr_storage storage{};
    std::memcpy(&storage, entry->ifa_addr,
                family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    if (const auto endpoint = endpoint_from_sockaddr(storage)) addresses.insert(endpoint->address);
  }
  ::freeifaddrs(list);
  return addresses;
}

Finding look_at_clock() {
  timex clock{};
  const int state = ::adjtimex(&clock);
  if (state >= 0 && state != TIME_ERROR && (clock.status & STA_UNSYNC) == 0) {
    return {State::ok, "clock", "synchronised"};
  }
  return {State::degraded, "clock",
          "not synchronised: records and calendar limits go by a clock that nobody corrects",
          "timedatectl set-ntp true"};
}

}  // namespace

void examine_kernel(const policy::Config& config, Findings& findings) {
  utsname host{};
  ::uname(&host);
  findings.push_back(judge_kernel(host.release));
  if (config.gateway.steering == "bpf") {
    const bool types = ::access("/sys/kernel/btf/vmlinux", R_OK) == 0;
    findings.push_back(types ? Finding{State::ok, "BTF", "/sys/kernel/btf/vmlinux"}
                             : Finding{State::broken, "BTF", "no /sys/kernel/btf/vmlinux",
                                       "a kernel with CONFIG_DEBUG_INFO_BTF=y"});
    findings.push_back(look_at_bpf());
    findings.push_back(look_at_bpffs(config.gateway.bpffs));
    findings.push_back(look_at_cgroup());
  } else {
    findings.push_back({State::degraded, "steering",
                        "userspace: identity is the source address alone, and nobody checks the "
                        "metering against the kernel's count",
                        "gateway.steering = \"bpf\""});
  }
  findings.push_back(look_at_io_uring(config.gateway.io));
  findings.push_back(judge_kernel_tls(config.gateway.tls, config.gateway.tls == "userspace"
                                                              ? tls::KernelTls{}
                                                              : tls::probe_kernel_tls()));
  findings.push_back(look_at_clock());
}

void examine_network(const policy::Config& config, Findings& findings) {
  const auto reader = identity::TunnelReader::make(config.gateway.tunnels);
  const auto tunnels =
      reader ? (*reader)->read() : Result<std::vector<identity::Tunnel>>(Error(reader.error()));
  if (!tunnels) {
    findings.push_back({State::degraded, "tunnels", tunnels.error().text, kAsRoot});
  } else {
    for (const identity::Tunnel& tunnel : *tunnels)
      findings.push_back(judge_tunnel(tunnel));
  }
  const std::set<IpAddress> own = own_addresses();
  for (const Endpoint& endpoint : config.gateway.listen) {
    const bool here = own.count(endpoint.address) != 0;
    const std::string text = tollgate::to_string(endpoint);
    findings.push_back(here ? Finding{State::ok, "listen", text}
                            : Finding{State::broken, "listen",
                                      text + ": no interface of this host has it",
                                      "give the tunnel that address, or correct gateway.listen"});
  }
}

void examine_storage(const policy::Config& config, Findings& findings) {
  const std::string& folder = config.gateway.state_dir;
  struct statvfs info {};
  if (::statvfs(folder.c_str(), &info) != 0) {
    const int failure = errno;
    findings.push_back(
        failure == ENOENT
            ? Finding{State::degraded, "state", folder + " is not there: the first start makes it",
                      "`mkdir -p` its parent if that is missing"}
            : Finding{State::broken, "state", folder + ": " + std::strerror(failure), kAsRoot});
    return;
  }
  findings.push_back(judge_space(folder, info.f_bavail * info.f_frsize));
  if (::access(folder.c_str(), W_OK) != 0) {
    const bool lasting = ::geteuid() == 0;
    findings.push_back({lasting ? State::broken : State::degraded, "state",
                        folder + " cannot be written" + (lasting ? "" : " by who asks"),
                        lasting ? "mount it writable" : kAsRoot});
    return;
  }
  const UniqueFd lock(::open((folder + "/lock").c_str(), O_RDONLY | O_CLOEXEC));
  const bool held = lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0;
  findings.push_back(
      {State::ok, "state", folder + (held ? ", in use by a gateway" : ", writable")});
}

void examine_leftovers(const policy::Config& config, Findings& findings) {
  if (config.gateway.steering != "bpf") return;
  if (::geteuid() != 0) {
    findings.push_back({State::degraded, "pins", "cannot be seen without root", kAsRoot});
    return;
  }
  const kernel::SteeringOptions defaults;
  const auto pins = kernel::PinFolder::lock_existing(config.gateway.bpffs, defaults.pin_folder);
  if (!pins) {
    findings.push_back({State::ok, "pins", "of a gateway that runs"});
  } else if (pins->exists()) {
    findings.push_back({State::degraded, "pins",
                        "of a gateway that has ended: connections to it are dropped meanwhile",
                        "start it, or `tollgated --uninstall FILE` to let go of its addresses"});
  } else {
    findings.push_back({State::ok, "pins", "none left behind"});
  }
  const bool guarded = kernel::has_guard();
  if (guarded || config.intercepts.empty()) {
    findings.push_back({State::ok, "guard",
                        guarded ? "in force: peers reach the providers through the gateway alone"
                                : "none, and nothing is intercepted"});
  } else {
    findings.push_back({State::degraded, "guard",
                        "none: while no gateway runs, peers may reach the providers directly",
                        "tollgated --install FILE, before the tunnel comes up"});
  }
}

}  // namespace tollgate::daemon
