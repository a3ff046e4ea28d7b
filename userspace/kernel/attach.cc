#include "userspace/kernel/attach.h"

#include <bpf/bpf.h>
#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

namespace tollgate::kernel {
namespace {

constexpr const char* kOwnNetns = "/proc/thread-self/ns/net";
constexpr __u32 kLookupProgramsMax = 64;  // BPF_NETNS programs of one type: the kernel's own limit

Result<bpf_link_info> link_info(int fd) {
  bpf_link_info info{};
  __u32 size = sizeof info;
  if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return system_error(errno, "read link info");
  return info;
}

Result<bpf_prog_info> program_info(int fd) {
  bpf_prog_info info{};
  __u32 size = sizeof info;
  if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) {
    return system_error(errno, "read program info");
  }
  return info;
}

bool runs_pinned_program(const PinFolder& pins, const bpf_link_info& link) {
  // A daemon killed between replacing the program and publishing leaves the program in "new".
  for (const char* set : {"set", "new"}) {
    const UniqueFd program = pins.open_pinned(set, kSteerProgram);
    if (!program) continue;
    const auto info = program_info(program.get());
    if (info && info->id == link.prog_id) return true;
  }
  return false;
}

}  // namespace

Result<UniqueFd> find_steer_link(const PinFolder& pins) {
  const auto netns = netns_inode();
  if (!netns) return Error(netns.error());
  for (const char* set : {"set", "new"}) {
    UniqueFd link = pins.open_pinned(set, kSteerLink);
    if (!link) continue;
    const auto info = link_info(link.get());
    if (!info) return Error(info.error());
    // Inode 0: the namespace is gone, and its number was given to ours.
    if (info->type != BPF_LINK_TYPE_NETNS || info->netns.attach_type != BPF_SK_LOOKUP ||
        info->netns.netns_ino != *netns) {
      continue;
    }
    if (!runs_pinned_program(pins, *info)) {
      return Error{Fault::config, EPERM,
                   "take over the pinned link: it runs program " + std::to_string(info->prog_id) +
                       ", which is not the one pinned beside it",
                   "look at it with bpftool link, then run tollgated --uninstall"};
    }
    return link;
  }
  return UniqueFd{};
}

Status check_no_other_steers(int own_link_fd) {
  const UniqueFd netns(::open(kOwnNetns, O_RDONLY | O_CLOEXEC));
  if (!netns) return system_error(errno, "open ns/net");
  __u32 own = 0;
  if (own_link_fd >= 0) {
    const auto info = link_info(own_link_fd);
    if (!info) return Error(info.error());
    own = info->prog_id;
  }
  std::vector<__u32> ids(kLookupProgramsMax);
  __u32 count = kLookupProgramsMax;
  if (bpf_prog_query(netns.get(), BPF_SK_LOOKUP, 0, nullptr, ids.data(), &count) != 0) {
    return system_error(errno, "list sk_lookup programs");
  }
  ids.resize(count);
  for (const __u32 id : ids) {
    if (id == own) continue;
    const UniqueFd program(bpf_prog_get_fd_by_id(id));
    if (!program) continue;
    const auto info = program_info(program.get());
    if (!info || std::string_view(info->name) != kSteerProgram) continue;
    return Error{Fault::config, EBUSY,
                 "attach to this network namespace: another tollgated steers it, with program " +
                     std::to_string(id) + " pinned in another bpffs",
                 "find it with: bpftool link; uninstall it where its bpffs is mounted"};
  }
  return {};
}

Result<UniqueFd> attach_steer(int program_fd) {
  const UniqueFd netns(::open(kOwnNetns, O_RDONLY | O_CLOEXEC));
  if (!netns) return system_error(errno, "open ns/net");
  UniqueFd link(bpf_link_create(program_fd, netns.get(), BPF_SK_LOOKUP, nullptr));
  if (!link) return system_error(errno, "attach sk_lookup to the network namespace");
  return link;
}

Result<UniqueFd> attach_identify(int program_fd, int cgroup_fd) {
  UniqueFd link(bpf_link_create(program_fd, cgroup_fd, BPF_CGROUP_SOCK_OPS, nullptr));
  if (!link) return system_error(errno, "attach sock_ops to the own cgroup");
  return link;
}

Status replace_program(int link_fd, int program_fd) {
  if (bpf_link_update(link_fd, program_fd, nullptr) != 0) {
    return system_error(errno, "replace the program of the pinned link");
  }
  return {};
}

Status check_link_runs(int link_fd, int program_fd) {
  const auto link = link_info(link_fd);
  if (!link) return Error(link.error());
  const auto meant = program_info(program_fd);
  if (!meant) return Error(meant.error());
  if (link->prog_id == meant->id) return {};
  return Error{Fault::system, EBUSY,
               "check the link: it runs program " + std::to_string(link->prog_id) + ", not " +
                   std::to_string(meant->id),
               "another program manages this link"};
}

}  // namespace tollgate::kernel
