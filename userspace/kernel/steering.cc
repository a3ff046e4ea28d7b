#include "userspace/kernel/steering.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <skeletons/identify.skel.h>
#include <skeletons/steer.skel.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <numeric>
#include <set>

#include "bpf/abi.h"
#include "ringbuf/kernel_reader.h"
#include "userspace/kernel/attach.h"
#include "userspace/kernel/cgroup.h"
#include "userspace/kernel/pins.h"
#include "userspace/kernel/reuse.h"

namespace tollgate::kernel {
namespace {

#define TG_COUNTER_NAME(id, name) name,
constexpr std::array<const char*, TG_COUNTER_MAX> kCounterNames = {TG_COUNTERS(TG_COUNTER_NAME)};
#undef TG_COUNTER_NAME

struct FreeSteer {
  void operator()(tg_steer_bpf* skeleton) const { tg_steer_bpf__destroy(skeleton); }
};
struct FreeIdentify {
  void operator()(tg_identify_bpf* skeleton) const { tg_identify_bpf__destroy(skeleton); }
};

uint32_t family_of(const IpAddress& address) {
  return address.is_v4() ? TG_FAMILY_V4 : TG_FAMILY_V6;
}

tg_endpoint_key key_of(const Endpoint& endpoint) {
  tg_endpoint_key key{};
  std::copy(endpoint.address.bytes.begin(), endpoint.address.bytes.end(), key.addr);
  key.family = family_of(endpoint.address);
  key.port = endpoint.port;
  return key;
}

tg_intercept_key key_of(const IpPrefix& prefix) {
  tg_intercept_key key{};
  key.prefix_bits = prefix.bits;
  std::copy(prefix.address.bytes.begin(), prefix.address.bytes.end(), key.addr);
  return key;
}

Result<uint64_t> own_netns_cookie() {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return system_error(errno, "make a socket");
  uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  constexpr int kSoNetnsCookie = 71;  // SO_NETNS_COOKIE: newer than bookworm's libc
  if (::getsockopt(socket.get(), SOL_SOCKET, kSoNetnsCookie, &cookie, &size) != 0) {
    return system_error(errno, "read the network namespace's cookie");
  }
  return cookie;
}

Error missing_interface(const std::string& name) {
  return Error{Fault::config, ENODEV, "resolve interface " + name + ": no such interface",
               "create the tunnel first; its peers have no identity until then"};
}

class Loaded final : public Steering {
 public:
  explicit Loaded(const SteeringOptions& options) : tunnels_(options.tunnels) {}

  Status start(const SteeringOptions& options);
  Status take_over(const SteeringOptions& options, pid_t running, UniqueFd lock);

  Status set_listeners(int v4_fd, int v6_fd) override;
  Status set_peers(std::span<const PeerEntry> peers) override;
  std::optional<PeerTag> tag_of(int socket_fd) const override;
  std::vector<std::pair<std::string, uint64_t>> counters() const override;
  int lock_fd() const override { return pins_.lock_fd(); }
  int flow_fd() const override { return reader_->fd(); }
  void poll_flows(const std::function<void(const ringbuf::FlowRecord&)>& visit) override;

  // With `maps` onto the maps that are pinned there, else with fresh ones.
  Status load_objects(const PinFolder* maps = nullptr);

 private:
  Status write_endpoints(const std::vector<Endpoint>& endpoints);
  Status write_intercepts(const std::vector<IpPrefix>& intercepts);
  Status drop_other_intercepts(const std::vector<IpPrefix>& intercepts);
  Status attach();
  Status pin_and_publish(int steer_link, bool replaces);
  Status replace_programs();
  Status put_into_links(int steer, int identify);
  Status read_maps();
  std::vector<std::pair<std::string, int>> objects_to_pin(int steer_link) const;
  // Brings the tunnel map up to date; returns name → ifindex of those that exist.
  Result<std::map<std::string, uint32_t>> write_tunnels();
  Status fill_idle_set(std::span<const PeerEntry> peers,
                       const std::map<std::string, uint32_t>& indexes, int set_fd);
  int steer_program() const { return bpf_program__fd(steer_->progs.tg_steer); }
  int identify_program() const { return bpf_program__fd(identify_->progs.tg_identify); }
  int counters_fd() const { return bpf_map__fd(steer_->maps.counters); }

  std::vector<std::string> tunnels_;
  OwnCgroup cgroup_;
  PinFolder pins_;  // its lock lives as long as we do
  std::unique_ptr<tg_steer_bpf, FreeSteer> steer_;
  std::unique_ptr<tg_identify_bpf, FreeIdentify> identify_;
  UniqueFd steer_link_;
  UniqueFd identify_link_;
  std::unique_ptr<ringbuf::KernelReader> reader_;
  std::set<uint32_t> tunnel_indexes_;
  bool second_set_active_ = false;
  size_t cpus_ = 0;  // read once: /sys may be out of reach later
};

Status Loaded::start(const SteeringOptions& options) {
  auto cgroup = OwnCgroup::enter();
  if (!cgroup) return std::move(cgroup).forward();
  cgroup_ = *std::move(cgroup);
  auto pins = PinFolder::lock(options.bpffs, options.pin_folder);
  if (!pins) return std::move(pins).forward();
  pins_ = *std::move(pins);
  Status done = load_objects();
  if (done) done = write_endpoints(options.endpoints);
  if (done) done = write_intercepts(options.intercepts);
  if (done) {
    const auto indexes = write_tunnels();
    if (!indexes) done = Error(indexes.error());
    for (const std::string& name : tunnels_) {
      if (done && indexes->count(name) == 0) done = missing_interface(name);
    }
  }
  if (done) done = attach();
  if (!done) pins_.abandon();
  return done;
}

Status Loaded::take_over(const SteeringOptions& options, pid_t running, UniqueFd lock) {
  auto pins = PinFolder::adopt(options.bpffs, options.pin_folder, std::move(lock));
  if (!pins) return std::move(pins).forward();
  pins_ = *std::move(pins);
  auto steer_link = find_steer_link(pins_);
  if (!steer_link) return std::move(steer_link).forward();
  steer_link_ = *std::move(steer_link);
  identify_link_ = pins_.open_pinned("set", kIdentifyLink);
  if (!steer_link_ || !identify_link_) {
    return Error{Fault::config, ENOENT, "take over the pinned links: there are none",
                 "stop the running tollgated and start this one instead"};
  }
  if (auto alone = check_no_other_steers(steer_link_.get()); !alone) return alone;
  if (Status loaded = load_objects(&pins_); !loaded) return loaded;
  auto cgroup = OwnCgroup::join(running);
  if (!cgroup) return std::move(cgroup).forward();
  cgroup_ = *std::move(cgroup);
  if (Status read = read_maps(); !read) return read;
  if (Status written = write_intercepts(options.intercepts); !written) return written;
  if (Status replaced = replace_programs(); !replaced) return replaced;
  return drop_other_intercepts(options.intercepts);
}

Status Loaded::load_objects(const PinFolder* maps) {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return system_error(-cpus, "count possible CPUs");
  cpus_ = static_cast<size_t>(cpus);
  const auto cookie = own_netns_cookie();
  if (!cookie) return Error(cookie.error());
  steer_.reset(tg_steer_bpf__open());
  identify_.reset(tg_identify_bpf__open());
  if (!steer_ || !identify_) return system_error(errno, "open the BPF objects");
  identify_->rodata->netns_cookie = *cookie;
  if (maps != nullptr) {
    if (Status reused = reuse_pinned_maps(steer_->obj, *maps); !reused) return reused;
    if (Status reused = reuse_pinned_maps(identify_->obj, *maps); !reused) return reused;
  }
  if (const int failure = tg_steer_bpf__load(steer_.get()); failure != 0) {
    return system_error(-failure, "load steer.bpf");
  }
  if (bpf_map__reuse_fd(identify_->maps.endpoints, bpf_map__fd(steer_->maps.endpoints)) != 0 ||
      bpf_map__reuse_fd(identify_->maps.intercepts, bpf_map__fd(steer_->maps.intercepts)) != 0 ||
      bpf_map__reuse_fd(identify_->maps.counters, counters_fd()) != 0) {
    return system_error(errno, "share maps between the BPF objects");
  }
  if (const int failure = tg_identify_bpf__load(identify_.get()); failure != 0) {
    return system_error(-failure, "load identify.bpf");
  }
  auto reader = ringbuf::KernelReader::make(bpf_map__fd(identify_->maps.events));
  if (!reader) return std::move(reader).forward();
  reader_ = *std::move(reader);
  return {};
}

// What the maps have that this process did not write.
Status Loaded::read_maps() {
  const auto second =
      is_in_force(bpf_map__fd(identify_->maps.peers), bpf_map__fd(identify_->maps.peers_b));
  if (!second) return Error(second.error());
  second_set_active_ = *second;
  const int tunnels = bpf_map__fd(steer_->maps.tunnels);
  __u32 index = 0;
  for (const __u32* before = nullptr; bpf_map_get_next_key(tunnels, before, &index) == 0;) {
    tunnel_indexes_.insert(index);
    before = &index;
  }
  return {};
}

Status Loaded::replace_programs() {
  const UniqueFd former_steer = pins_.open_pinned("set", kSteerProgram);
  const UniqueFd former_identify = pins_.open_pinned("set", kIdentifyProgram);
  if (!former_steer || !former_identify) return system_error(errno, "open the pinned programs");
  if (auto pinned = pins_.pin_new(objects_to_pin(steer_link_.get())); !pinned) return pinned;
  Status done = put_into_links(steer_program(), identify_program());
  if (done) done = pins_.publish();
  if (done) return {};
  // The older set stays in force as it was.
  if (Status restored = put_into_links(former_steer.get(), former_identify.get()); !restored) {
    return restored;
  }
  pins_.discard_new();
  return done;
}

Status Loaded::put_into_links(int steer, int identify) {
  for (const auto& [link, program] :
       {std::pair{steer_link_.get(), steer}, std::pair{identify_link_.get(), identify}}) {
    if (auto replaced = replace_program(link, program); !replaced) return replaced;
    if (auto checked = check_link_runs(link, program); !checked) return checked;
  }
  return {};
}

Status Loaded::write_endpoints(const std::vector<Endpoint>& endpoints) {
  const int map = bpf_map__fd(steer_->maps.endpoints);
  for (const Endpoint& endpoint : endpoints) {
    const tg_endpoint_key key = key_of(endpoint);
    const __u8 present = 1;
    if (bpf_map_update_elem(map, &key, &present, BPF_ANY) != 0) {
      return system_error(errno, "add endpoint " + to_string(endpoint));
    }
  }
  return {};
}

Status Loaded::drop_other_intercepts(const std::vector<IpPrefix>& intercepts) {
  const auto is_wanted = [&](const tg_intercept_key& key) {
    return std::any_of(intercepts.begin(), intercepts.end(), [&](const IpPrefix& prefix) {
      const tg_intercept_key wanted = key_of(prefix);
      return std::memcmp(&wanted, &key, sizeof key) == 0;
    });
  };
  const int map = bpf_map__fd(steer_->maps.intercepts);
  std::vector<tg_intercept_key> others;
  tg_intercept_key key{};
  for (const void* before = nullptr; bpf_map_get_next_key(map, before, &key) == 0; before = &key) {
    if (!is_wanted(key)) others.push_back(key);
  }
  for (const tg_intercept_key& other : others) {
    if (bpf_map_delete_elem(map, &other) != 0 && errno != ENOENT) {
      return system_error(errno, "drop an intercept of before");
    }
  }
  return {};
}

Status Loaded::write_intercepts(const std::vector<IpPrefix>& intercepts) {
  const int map = bpf_map__fd(steer_->maps.intercepts);
  for (const IpPrefix& prefix : intercepts) {
    const tg_intercept_key key = key_of(prefix);
    const __u8 present = 1;
    if (bpf_map_update_elem(map, &key, &present, BPF_ANY) != 0) {
      return system_error(errno, "intercept " + to_string(prefix));
    }
  }
  return {};
}

Status Loaded::attach() {
  auto pinned = find_steer_link(pins_);
  if (!pinned) return std::move(pinned).forward();
  if (auto alone = check_no_other_steers(pinned->get()); !alone) return alone;
  auto identify = attach_identify(identify_program(), cgroup_.fd());
  if (!identify) return std::move(identify).forward();
  identify_link_ = *std::move(identify);
  const bool replaces = static_cast<bool>(*pinned);
  if (!replaces) {
    pinned = attach_steer(steer_program());
    if (!pinned) return std::move(pinned).forward();
  }
  steer_link_ = *std::move(pinned);
  return pin_and_publish(steer_link_.get(), replaces);
}

Status Loaded::pin_and_publish(int steer_link, bool replaces) {
  UniqueFd former = pins_.open_pinned("set", kSteerProgram);
  if (auto pinned = pins_.pin_new(objects_to_pin(steer_link)); !pinned) return pinned;
  if (replaces) {
    if (auto replaced = replace_program(steer_link, steer_program()); !replaced) return replaced;
  }
  Status done = check_link_runs(steer_link, steer_program());
  if (done) done = pins_.publish();
  // The older set stays in force as it was.
  if (!done && replaces && former) {
    if (auto restored = replace_program(steer_link, former.get()); !restored) return restored;
  }
  return done;
}

std::vector<std::pair<std::string, int>> Loaded::objects_to_pin(int steer_link) const {
  return {{kSteerProgram, steer_program()},
          {kIdentifyProgram, identify_program()},
          {"endpoints", bpf_map__fd(steer_->maps.endpoints)},
          {"intercepts", bpf_map__fd(steer_->maps.intercepts)},
          {"tunnels", bpf_map__fd(steer_->maps.tunnels)},
          {"listeners", bpf_map__fd(steer_->maps.listeners)},
          {"counters", counters_fd()},
          {"peers", bpf_map__fd(identify_->maps.peers)},
          {"peers_a", bpf_map__fd(identify_->maps.peers_a)},
          {"peers_b", bpf_map__fd(identify_->maps.peers_b)},
          {"flows", bpf_map__fd(identify_->maps.flows)},
          {"events", bpf_map__fd(identify_->maps.events)},
          {kSteerLink, steer_link},
          {kIdentifyLink, identify_link_.get()}};
}

Status Loaded::set_listeners(int v4_fd, int v6_fd) {
  const int map = bpf_map__fd(steer_->maps.listeners);
  const std::array<int, TG_LISTENER_MAX> sockets = {v4_fd, v6_fd};
  for (__u32 slot = 0; slot < TG_LISTENER_MAX; ++slot) {
    const __u64 socket = static_cast<__u64>(sockets[slot]);
    if (sockets[slot] < 0) {
      // EINVAL: the slot is empty already.
      if (bpf_map_delete_elem(map, &slot) != 0 && errno != EINVAL && errno != ENOENT) {
        return system_error(errno, "take a listener out");
      }
    } else if (bpf_map_update_elem(map, &slot, &socket, BPF_ANY) != 0) {
      return system_error(errno, slot == TG_LISTENER_V4 ? "steer to the IPv4 listener"
                                                        : "steer to the IPv6 listener");
    }
  }
  return {};
}

Result<std::map<std::string, uint32_t>> Loaded::write_tunnels() {
  std::map<std::string, uint32_t> indexes;
  std::set<uint32_t> present;
  const int map = bpf_map__fd(steer_->maps.tunnels);
  for (const std::string& name : tunnels_) {
    const uint32_t index = ::if_nametoindex(name.c_str());
    if (index == 0) continue;
    indexes[name] = index;
    present.insert(index);
    const __u8 on = 1;
    if (bpf_map_update_elem(map, &index, &on, BPF_ANY) != 0) {
      return system_error(errno, "add tunnel " + name);
    }
  }
  // A number that went away may be another interface's tomorrow.
  for (const uint32_t index : tunnel_indexes_) {
    if (present.count(index) == 0 && bpf_map_delete_elem(map, &index) != 0 && errno != ENOENT) {
      return system_error(errno, "remove tunnel interface " + std::to_string(index));
    }
  }
  tunnel_indexes_ = std::move(present);
  return indexes;
}

Status Loaded::set_peers(std::span<const PeerEntry> peers) {
  const auto indexes = write_tunnels();
  if (!indexes) return Error(indexes.error());
  const int set =
      bpf_map__fd(second_set_active_ ? identify_->maps.peers_a : identify_->maps.peers_b);
  if (auto filled = fill_idle_set(peers, *indexes, set); !filled) return filled;
  const __u32 slot = 0;
  if (bpf_map_update_elem(bpf_map__fd(identify_->maps.peers), &slot, &set, BPF_ANY) != 0) {
    return system_error(errno, "swap the peer set");
  }
  second_set_active_ = !second_set_active_;
  for (const std::string& name : tunnels_) {
    if (indexes->count(name) == 0) return missing_interface(name);
  }
  for (const PeerEntry& peer : peers) {
    if (indexes->count(peer.tunnel) == 0) return missing_interface(peer.tunnel);
  }
  return {};
}

Status Loaded::fill_idle_set(std::span<const PeerEntry> peers,
                             const std::map<std::string, uint32_t>& indexes, int set_fd) {
  tg_peer_key former{};
  while (bpf_map_get_next_key(set_fd, nullptr, &former) == 0) {
    if (bpf_map_delete_elem(set_fd, &former) != 0) return system_error(errno, "clear a peer set");
  }
  for (const PeerEntry& peer : peers) {
    const auto index = indexes.find(peer.tunnel);
    if (index == indexes.end()) continue;  // reported after the swap
    if (peer.tag.peer_id == 0) {
      return Error{
          Fault::self, EINVAL, "add peer " + to_string(peer.address) + ": id 0 is nobody", {}};
    }
    tg_peer_key key{};
    key.prefix_bits = TG_PEER_PREFIX_BITS + peer.address.bits;
    key.ifindex = index->second;
    key.family = family_of(peer.address.address);
    const auto& bytes = peer.address.address.bytes;
    std::copy(bytes.begin(), bytes.end(), key.addr);
    const tg_peer_tag tag{peer.tag.peer_id, peer.tag.generation};
    // NOEXIST: one address that is two peers would be whoever came last.
    if (bpf_map_update_elem(set_fd, &key, &tag, BPF_NOEXIST) != 0) {
      return system_error(errno, "add peer " + to_string(peer.address) + " on " + peer.tunnel);
    }
  }
  return {};
}

std::optional<PeerTag> Loaded::tag_of(int socket_fd) const {
  tg_flow flow{};
  if (bpf_map_lookup_elem(bpf_map__fd(identify_->maps.flows), &socket_fd, &flow) != 0) {
    return std::nullopt;
  }
  if (flow.tag.peer_id == 0) return std::nullopt;
  return PeerTag{flow.tag.peer_id, flow.tag.generation};
}

std::vector<std::pair<std::string, uint64_t>> Loaded::counters() const {
  std::vector<std::pair<std::string, uint64_t>> all;
  std::vector<uint64_t> per_cpu(cpus_);
  for (__u32 id = 0; id < TG_COUNTER_MAX; ++id) {
    std::fill(per_cpu.begin(), per_cpu.end(), 0);
    // Cannot fail for an index below the map's size; were it to, zeros are shown.
    static_cast<void>(bpf_map_lookup_elem(counters_fd(), &id, per_cpu.data()));
    all.emplace_back(kCounterNames[id],
                     std::accumulate(per_cpu.begin(), per_cpu.end(), uint64_t{0}));
  }
  all.emplace_back("flow.malformed", reader_->malformed());
  return all;
}

void Loaded::poll_flows(const std::function<void(const ringbuf::FlowRecord&)>& visit) {
  // Fails only on a signal between events; what is left makes flow_fd() readable again.
  static_cast<void>(reader_->poll(visit).has_value());
}

}  // namespace

Result<std::unique_ptr<Steering>> Steering::load(const SteeringOptions& options) {
  auto loaded = std::make_unique<Loaded>(options);
  if (auto started = loaded->start(options); !started) return std::move(started).forward();
  return std::unique_ptr<Steering>(std::move(loaded));
}

Status Steering::try_load() {
  // libbpf writes the verifier's whole log to stderr; the error says it in a line.
  const libbpf_print_fn_t print = libbpf_set_print(nullptr);
  const Status loaded = Loaded(SteeringOptions{}).load_objects();
  libbpf_set_print(print);
  return loaded;
}

Result<std::unique_ptr<Steering>> Steering::take_over(const SteeringOptions& options, pid_t running,
                                                      UniqueFd lock) {
  auto loaded = std::make_unique<Loaded>(options);
  if (auto taken = loaded->take_over(options, running, std::move(lock)); !taken) {
    return std::move(taken).forward();
  }
  return std::unique_ptr<Steering>(std::move(loaded));
}

uint32_t abi_version() {
  return TG_ABI_VERSION;
}

Status Steering::uninstall(const SteeringOptions& options) {
  auto pins = PinFolder::lock_existing(options.bpffs, options.pin_folder);
  if (!pins) return std::move(pins).forward();
  return pins->exists() ? pins->remove_all() : Status{};
}

}  // namespace tollgate::kernel
