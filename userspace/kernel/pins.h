// Where the kernel objects are pinned, so that steering outlives the daemon:
//
//   BPFFS/tollgate/NETNS_INODE/       flocked by the daemon that lives
//     set/                            the set in force: programs, maps, links
//     new/                            the set that is being made; renamed or exchanged whole
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace tollgate::kernel {

class PinFolder {
 public:
  // Mounts a bpffs at `bpffs` if it is none, makes the folder of this network namespace and locks
  // it. Refuses while another daemon holds the lock, with its pid.
  static Result<PinFolder> lock(const std::string& bpffs, const std::string& folder);
  // The same for a folder that may not exist: no folder, no lock, exists() is false.
  static Result<PinFolder> lock_existing(const std::string& bpffs, const std::string& folder);

  // With the lock of the daemon that is there; it belongs to the open file, so both have it.
  static Result<PinFolder> adopt(const std::string& bpffs, const std::string& folder,
                                 UniqueFd lock);

  int lock_fd() const { return lock_.get(); }
  bool exists() const { return static_cast<bool>(lock_); }
  // A pinned object of the set in force or of a half-made one; -1 where there is none.
  UniqueFd open_pinned(const std::string& set, const std::string& name) const;
  Status pin_new(const std::vector<std::pair<std::string, int>>& objects);  // whole, or nothing
  Status publish();  // new → set; an older set is gone afterwards
  void discard_new();
  void abandon();       // after an error: the half-made set goes, and the folder if it is empty
  Status remove_all();  // both sets and the folder

 private:
  Status remove_set(const char* set);

  std::string path_;
  UniqueFd lock_;
};

Result<unsigned long> netns_inode();

}  // namespace tollgate::kernel
