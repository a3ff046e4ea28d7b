// Who is at the other end of the admin socket, and what they may do. The kernel vouches for it:
// credentials and supplementary groups as they were when the caller connected.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "userspace/base/result.h"

namespace tollgate::admin {

enum class Role : uint8_t { none, viewer, admin };

struct RoleGroups {
  uid_t own_uid = 0;           // the daemon's: whoever can be it can do as it does
  std::optional<gid_t> admin;  // absent when the machine has no such group
  std::optional<gid_t> viewer;
};

// Looked up once, at start: a name service must not stand between an administrator and the socket
// later on. A missing group is no error, a failing look-up is.
Result<RoleGroups> find_role_groups(const std::string& admin_name, const std::string& viewer_name);

struct Caller {
  uid_t uid = 0;
  Role role = Role::none;
};
Result<Caller> caller_of(int socket, const RoleGroups& groups);

}  // namespace tollgate::admin
