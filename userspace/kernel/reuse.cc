#include "userspace/kernel/reuse.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <string>

namespace tollgate::kernel {
namespace {

Result<bpf_map_info> map_info(int fd) {
  bpf_map_info info{};
  __u32 size = sizeof info;
  if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return system_error(errno, "read map info");
  return info;
}

Error refuse(const std::string& name, const char* why) {
  return Error{Fault::config, 0, "take over the pinned map " + name + ": " + why,
               "stop the running tollgated and start this one instead"};
}

Status reuse(bpf_map* map, const PinFolder& pins) {
  const std::string name = bpf_map__name(map);
  const UniqueFd pinned = pins.open_pinned("set", name);
  if (!pinned) return refuse(name, "there is none");
  const auto info = map_info(pinned.get());
  if (!info) return Error(info.error());
  // libbpf would believe the pinned map rather than the program that is about to use it.
  if (info->type != bpf_map__type(map) || info->key_size != bpf_map__key_size(map) ||
      info->value_size != bpf_map__value_size(map) ||
      info->max_entries != bpf_map__max_entries(map)) {
    return refuse(name, "it has another shape");
  }
  if (bpf_map__reuse_fd(map, pinned.get()) != 0) return system_error(errno, "reuse map " + name);
  return {};
}

}  // namespace

Status reuse_pinned_maps(bpf_object* object, const PinFolder& pins) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (bpf_map__is_internal(map)) continue;  // constants: each program's own
    if (Status reused = reuse(map, pins); !reused) return reused;
  }
  return {};
}

Result<bool> is_in_force(int outer_map, int inner_map) {
  const __u32 slot = 0;
  __u32 id = 0;
  if (bpf_map_lookup_elem(outer_map, &slot, &id) != 0) {
    return system_error(errno, "read which peer set is in force");
  }
  const auto inner = map_info(inner_map);
  if (!inner) return Error(inner.error());
  return inner->id == id;
}

}  // namespace tollgate::kernel
