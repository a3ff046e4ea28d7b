#include "userspace/admin/role.h"

#include <grp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace tollgate::admin {
namespace {

Result<std::optional<gid_t>> find_group(const std::string& name) {
  std::vector<char> buffer(4096);
  group entry{};
  group* found = nullptr;
  int error = 0;
  while ((error = ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found)) ==
         ERANGE) {
    buffer.resize(buffer.size() * 2);
  }
  // Name services say "not there" in several ways (getgrnam_r(3)).
  if (found == nullptr && error != 0 && error != ENOENT && error != ESRCH) {
    return system_error(error, "look up group " + name);
  }
  return found == nullptr ? std::optional<gid_t>{} : std::optional<gid_t>{found->gr_gid};
}

// SO_PEERGROUPS, and neither getgrouplist nor /proc/PID/status: it is the caller's own set at the
// moment of connect, needs no name service, and a reused pid cannot fake it. When it fails, the
// caller has no supplementary groups here, which is less and never more than it should have.
std::vector<gid_t> supplementary_groups(int socket) {
  std::vector<gid_t> groups(32);
  for (int attempt = 0; attempt < 2; ++attempt) {
    socklen_t bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const int result = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes);
    if (result != 0 && errno != ERANGE) return {};
    groups.resize(bytes / sizeof(gid_t));
    if (result == 0) return groups;
  }
  return {};
}

}  // namespace

Result<RoleGroups> find_role_groups(const std::string& admin_name, const std::string& viewer_name) {
  auto admin = find_group(admin_name);
  if (!admin) return std::move(admin).forward();
  auto viewer = find_group(viewer_name);
  if (!viewer) return std::move(viewer).forward();
  return RoleGroups{::geteuid(), *admin, *viewer};
}

Result<Caller> caller_of(int socket, const RoleGroups& groups) {
  ucred credentials{};
  socklen_t bytes = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0) {
    return system_error(errno, "read the caller's credentials");
  }
  Caller caller{credentials.uid, Role::none};
  if (caller.uid == 0 || caller.uid == groups.own_uid) {
    caller.role = Role::admin;
    return caller;
  }
  std::vector<gid_t> memberships = supplementary_groups(socket);
  memberships.push_back(credentials.gid);
  const auto is_in = [&](const std::optional<gid_t>& group) {
    return group && std::find(memberships.begin(), memberships.end(), *group) != memberships.end();
  };
  if (is_in(groups.admin)) {
    caller.role = Role::admin;
  } else if (is_in(groups.viewer)) {
    caller.role = Role::viewer;
  }
  return caller;
}

}  // namespace tollgate::admin
