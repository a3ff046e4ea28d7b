// Links: one sk_lookup link for the life of the network namespace, whose program is replaced in
// place, so that no moment is without steering; one sock_ops link on the daemon's own cgroup.
#pragma once

#include <cstdint>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"
#include "userspace/kernel/pins.h"

namespace tollgate::kernel {

inline constexpr const char* kSteerProgram = "tg_steer";
inline constexpr const char* kSteerLink = "link_steer";
inline constexpr const char* kIdentifyProgram = "tg_identify";
inline constexpr const char* kIdentifyLink = "link_identify";

// The pinned sk_lookup link that is still attached to this namespace; empty where there is none.
// Refuses a link whose program is not the one pinned beside it: somebody else replaced it.
Result<UniqueFd> find_steer_link(const PinFolder& pins);
// Refuses when another Tollgate, pinned elsewhere, steers this namespace. Needs CAP_SYS_ADMIN to
// see names; without it nothing is found.
Status check_no_other_steers(int own_link_fd);

Result<UniqueFd> attach_steer(int program_fd);
Result<UniqueFd> attach_identify(int program_fd, int cgroup_fd);
// In one step for the kernel; new connections meet the new program.
Status replace_program(int link_fd, int program_fd);
// What the link runs after all must be the program that was meant, by id (ids are unique, tags are
// not).
Status check_link_runs(int link_fd, int program_fd);

}  // namespace tollgate::kernel
