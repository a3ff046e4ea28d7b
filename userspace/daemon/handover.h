// What two daemons say to each other during an upgrade (README.md, "Upgrade"): frames of JSON on a
// unix socket, with descriptors. Parsed as if it were hostile: a program of another version, or
// another program, may be at the other end.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"
#include "userspace/identity/peer_table.h"

namespace tollgate::daemon {

inline constexpr uint32_t kHandoverProtocol = 1;
// 65,536 peers with long names.
inline constexpr size_t kFrameBytesMax = 64 * 1024 * 1024;
inline constexpr size_t kFrameFdsMax = 253;  // of one message: the kernel's limit

// Said by both first. What differs in meaning must differ here: the two share a ledger and maps.
struct Hello {
  uint32_t protocol = 0;
  uint32_t records = 0;  // ringbuf::kRecordVersion
  uint32_t bpf_abi = 0;
  int64_t ledger = 0;
  std::string release;
  std::string steering;             // "bpf" | "userspace"
  std::vector<std::string> listen;  // in order
};
// In words, for the person who called --upgrade.
struct Refused {
  std::string text;
  std::string hint;
};
// New to old: give me all that you serve with. Nothing ends by it.
struct Take {};
// Old to new. Descriptors: kState in this order, the last one only with BPF.
struct State {
  enum Fd : size_t {
    state_lock,
    admin_lock,
    admin_listener,
    upgrade_lock,
    upgrade_listener,
    pins_lock,
  };
  identity::PeerTable::Saved peers;
  uint32_t workers = 0;       // so many `listeners` follow
  std::string notify_socket;  // systemd's; empty: none
};
// Descriptors: the listening sockets of one worker.
struct Listeners {};
// New to old: I can serve. From here on the old one admits nothing and drains.
struct Ready {};
// Old to new: I admit nothing any more, and every hold of mine is in the ledger.
struct Quiet {};
// Old to new, every second: what still runs.
struct Running {
  uint64_t requests = 0;
};
// New to old: read the configuration again.
struct Reload {};
// New to old: end within this time.
struct Finish {
  int64_t within_ms = 0;
};

using Message =
    std::variant<Hello, Refused, Take, State, Listeners, Ready, Quiet, Running, Reload, Finish>;

std::string to_text(const Message& message);
// Refuses unknown kinds and every field that is missing or of another type or range.
Result<Message> parse_message(std::string_view text);

struct Frame {
  std::string text;
  std::vector<UniqueFd> fds;
};
// Bytes and descriptors → frames, however they were split. A frame is its length and the number of
// its descriptors (4 bytes each, little-endian), then text.
class FrameReader {
 public:
  void append(std::string_view bytes) { bytes_.append(bytes); }
  void append(UniqueFd fd) { fds_.push_back(std::move(fd)); }
  // Nothing when there is no whole frame yet. An error is final.
  Result<std::optional<Frame>> next();

 private:
  std::string bytes_;
  std::deque<UniqueFd> fds_;
};
std::string frame_head(size_t text_bytes, size_t fds);

struct Received {
  Message message;
  std::vector<UniqueFd> fds;
};

class Connection {
 public:
  explicit Connection(UniqueFd socket) : socket_(std::move(socket)) {}
  static Result<Connection> to(const std::string& path);

  int fd() const { return socket_.get(); }
  Result<ucred> peer() const;  // as the kernel knows it
  // Waits a few seconds for a peer that does not read.
  Status send(const Message& message, std::span<const int> fds = {});
  // What is there; nothing when no message is whole yet. An error, also when the peer has left, is
  // final.
  Result<std::optional<Received>> receive();
  Result<Received> wait(int timeout_ms);

 private:
  Status read_some();

  UniqueFd socket_;
  FrameReader frames_;
};

}  // namespace tollgate::daemon
