// The admin socket: newline-delimited JSON on a unix socket, version 1, roles by SO_PEERCRED (root
// and group tollgate-admin change, group tollgate-viewer read; both groups may be absent). Runs on
// the control thread's poll loop; a client that does not read is cut, never waited for.
#pragma once

#include <memory>
#include <string>

#include "ringbuf/record.h"
#include "userspace/admin/service.h"
#include "userspace/base/result.h"

namespace tollgate::admin {

class Server {
 public:
  struct Options {
    std::string socket_path;  // made with mode 0660, a stale one replaced, a live one refused
    // Called for every change (reload, …) with the caller's uid: the audit log.
    std::function<void(uint32_t uid, const std::string& what)> audit;
  };
  static Result<std::unique_ptr<Server>> make(Options options, Service& service);
  virtual ~Server() = default;

  // Poll integration: add fds() to the control thread's poll set (POLLIN and, where asked,
  // POLLOUT), then call step() after every poll.
  struct Interest {
    int fd;
    short events;
  };
  virtual std::vector<Interest> interests() const = 0;
  virtual void step() = 0;

  // From any thread: gives a record to the `tail` subscribers.
  virtual void publish(const ringbuf::UsageRecord& record) = 0;
  virtual int publish_fd() const = 0;  // becomes readable when step() has something to deliver
};

}  // namespace tollgate::admin
