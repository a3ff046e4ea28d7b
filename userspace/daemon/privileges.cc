#include "userspace/daemon/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace tollgate::daemon {
namespace {

struct User {
  uid_t uid;
  gid_t gid;
};

Result<User> find_user(const std::string& name) {
  char buffer[4096];
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwnam_r(name.c_str(), &entry, buffer, sizeof buffer, &found) != 0 || found == nullptr) {
    return Error{Fault::config, 0, "find user " + name + ": there is none",
                 "systemd-sysusers (deploy/sysusers.conf), or set gateway.user"};
  }
  return User{entry.pw_uid, entry.pw_gid};
}

Status make_folder(const std::string& path, mode_t mode) {
  std::error_code failure;
  std::filesystem::create_directories(path, failure);
  if (failure) return system_error(failure.value(), "make folder " + path);
  if (::chmod(path.c_str(), mode) != 0 && errno != EPERM) {
    return system_error(errno, "set mode of " + path);
  }
  return {};
}

// Both of uid and gid, with no supplementary group but the user's own, and no way back.
Status become(const std::string& user_name) {
  const auto user = find_user(user_name);
  if (!user) return Error(user.error());
  if (::initgroups(user_name.c_str(), user->gid) != 0) return system_error(errno, "set groups");
  if (::setresgid(user->gid, user->gid, user->gid) != 0) return system_error(errno, "set group");
  if (::setresuid(user->uid, user->uid, user->uid) != 0) return system_error(errno, "set user");
  return {};
}

Status forbid_more() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return system_error(errno, "no_new_privs");
  // The change of user made the process dumpable again (prctl(2)).
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return system_error(errno, "forbid dumping");
  return {};
}

}  // namespace

Status harden_process(const policy::Limits& limits) {
  const rlimit no_core{0, 0};
  if (::setrlimit(RLIMIT_CORE, &no_core) != 0) return system_error(errno, "forbid core dumps");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return system_error(errno, "forbid dumping");
  // A client and an upstream connection for each, and some for ourselves.
  const rlim_t wanted = rlim_t{limits.connections_max} * 2 + 256;
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return system_error(errno, "read RLIMIT_NOFILE");
  if (files.rlim_cur >= wanted) return {};
  files.rlim_cur = wanted;
  files.rlim_max = std::max(files.rlim_max, wanted);
  if (::setrlimit(RLIMIT_NOFILE, &files) != 0) {
    Error error = system_error(errno, "raise RLIMIT_NOFILE to " + std::to_string(wanted));
    error.hint = "LimitNOFILE= in the unit, or a smaller limits.connections_max";
    return error;
  }
  return {};
}

Status prepare_folders(const policy::GatewayConfig& gateway) {
  if (Status made = make_folder(gateway.state_dir, 0750); !made) return made;
  if (Status made = make_folder(gateway.run_dir, 0755); !made) return made;
  if (::geteuid() != 0 || gateway.user.empty()) return {};
  const auto user = find_user(gateway.user);
  if (!user) return Error(user.error());
  for (const std::string& path : {gateway.state_dir, gateway.run_dir}) {
    if (::chown(path.c_str(), user->uid, user->gid) != 0) {
      return system_error(errno, "give " + path + " to " + gateway.user);
    }
    // Files of an earlier run as another user, the ledger among them, follow their folder.
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      if (!entry.is_regular_file() || entry.is_symlink()) continue;
      if (::lchown(entry.path().c_str(), user->uid, user->gid) != 0) {
        return system_error(errno, "give " + entry.path().string() + " to " + gateway.user);
      }
    }
  }
  return {};
}

Result<uid_t> uid_of(const std::string& user_name) {
  if (::geteuid() != 0 || user_name.empty()) return ::geteuid();
  const auto user = find_user(user_name);
  if (!user) return Error(user.error());
  return user->uid;
}

Status drop_privileges(const std::string& user_name) {
  if (::geteuid() != 0 || user_name.empty()) return {};
  // Leaving uid 0 clears the permitted, effective and ambient capabilities (capabilities(7)).
  if (Status ok = become(user_name); !ok) return ok;
  if (::getuid() != 0 && ::setuid(0) == 0) {
    return Error{Fault::self, 0, "drop privileges: root could be had back", {}};
  }
  return forbid_more();
}

Status keep_net_admin_only(const std::string& user_name) {
  if (::geteuid() == 0 && !user_name.empty()) {
    if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return system_error(errno, "keep capabilities");
    if (Status ok = become(user_name); !ok) return ok;
    if (::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0) return system_error(errno, "keep capabilities");
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return system_error(errno, "read capabilities");
  const __u32 kept = data[0].permitted & (1u << CAP_NET_ADMIN);
  data[0] = {kept, kept, 0};
  data[1] = {};
  if (::syscall(SYS_capset, &header, data) != 0) return system_error(errno, "drop capabilities");
  return forbid_more();
}

}  // namespace tollgate::daemon
