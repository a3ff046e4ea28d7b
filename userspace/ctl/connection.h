// One question to the daemon: connect, send a line, read answers until the last.
#pragma once

#include <cstdint>
#include <string>

#include "userspace/admin/lines.h"
#include "userspace/admin/protocol.h"
#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace tollgate::ctl {

class Connection {
 public:
  // timeout_ms 0 waits for ever. Every error of this class means "daemon unreachable".
  static Result<Connection> open(const std::string& path, int64_t timeout_ms);

  void send(const std::string& line);
  Result<admin::Answer> next();

 private:
  explicit Connection(UniqueFd socket) : socket_(std::move(socket)) {}

  UniqueFd socket_;
  admin::LineBuffer lines_{admin::kAnswerBytesMax};
};

}  // namespace tollgate::ctl
