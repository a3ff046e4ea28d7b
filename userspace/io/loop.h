// One event loop per thread: io_uring where the kernel lets us, else epoll with the same behaviour
// (IORING_OP_* see liburing man pages; traps in README.md). The loop owns no connections; owners
// embed a Socket or Listener, implement its events, and live until on_closed().
//
// All callbacks run on the loop's thread, after the completion queue was drained, never nested in
// a call into the loop, and the owner may do anything in them but destroy the socket (that waits
// for on_closed).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "userspace/base/fd.h"
#include "userspace/base/ip.h"
#include "userspace/base/result.h"

namespace tollgate::io {

class Loop;

class SocketEvents {
 public:
  virtual void on_connected(int sys_errno) = 0;  // after connect(); 0: established
  // `bytes` belong to the loop and are valid in the call only.
  virtual void on_received(std::span<const std::byte> bytes) = 0;
  virtual void on_receive_end(int sys_errno) = 0;  // 0: the peer's FIN; nothing is received after
  virtual void on_sent(int sys_errno) = 0;         // all bytes of send() were taken, or it failed
  virtual void on_closed() = 0;                    // last call: the owner may free the socket
  // After set_kernel_tls(): a record that is not data (an alert, a KeyUpdate). The socket is read
  // again only after the call, so that it may set new keys.
  virtual void on_control_record(uint8_t type, std::span<const std::byte> bytes);

 protected:
  ~SocketEvents() = default;
};

// A TCP socket in a loop. One send at a time; receiving is multishot into the loop's buffers.
class Socket {
 public:
  Socket(Loop& loop, SocketEvents& events);
  ~Socket();  // asserts that it is closed or was never opened
  Socket(const Socket&) = delete;

  void adopt(UniqueFd connected);          // an accepted connection
  Status connect(const Endpoint& remote);  // ends in on_connected
  void start_receiving();                  // also resumes; idempotent
  // One receive of at most `bytes_max`, and no other before the next call: when it has arrived,
  // nothing of this socket is being read. start_receiving() afterwards is as ever.
  void receive_once(size_t bytes_max);
  // Bytes that were on their way may still arrive after this.
  void stop_receiving();
  // `bytes`, and `more` behind them, must stay unchanged until on_sent. Not while sending().
  void send(std::span<const std::byte> bytes, std::span<const std::byte> more = {});
  bool sending() const;
  // The kernel does TLS on this socket from now on; not while anything is being read.
  void set_kernel_tls();
  // Sends `bytes` as a record of that type; otherwise as send().
  void send_control(uint8_t type, std::span<const std::byte> bytes);
  void shutdown_send();  // FIN; not while sending()
  // Cancels what is in the kernel, waits for it, closes; then on_closed. Idempotent. No other
  // callback comes after the call. reset: RST instead of FIN (SO_LINGER 0).
  void close(bool reset = false);
  bool open() const;
  int fd() const;

  class Impl;  // of the backend

 private:
  std::unique_ptr<Impl> impl_;
};

class ListenerEvents {
 public:
  virtual void on_accepted(UniqueFd connection) = 0;  // CLOEXEC, TCP_NODELAY set
  virtual void on_accept_error(int sys_errno) = 0;    // EMFILE and the like; accepting goes on
  virtual void on_listener_closed() = 0;  // until then on_accepted may come, also after close()

 protected:
  ~ListenerEvents() = default;
};

class Listener {
 public:
  Listener(Loop& loop, ListenerEvents& events, UniqueFd listening);
  ~Listener();
  void start();
  void close();
  int fd() const;

  class Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

class Loop {
 public:
  enum class Backend : uint8_t { io_uring, poll };
  struct Options {
    Backend backend = Backend::io_uring;
    uint32_t entries = 1024;  // submission queue; the completion queue is 8 ×
    uint32_t buffers = 256;   // power of two
    uint32_t buffer_bytes = 16 * 1024;
  };
  // io_uring is probed by a NOP round trip; where it is denied, the result is a poll loop whose
  // fallback_reason() says why (ENOSYS/seccomp and EPERM/sysctl told apart).
  static Result<std::unique_ptr<Loop>> make(const Options& options);
  virtual ~Loop() = default;

  virtual Backend backend() const = 0;
  virtual const std::string& fallback_reason() const = 0;  // empty when as asked

  // Runs until stop(). Must be called by the thread that then owns everything in the loop.
  virtual void run() = 0;
  virtual void stop() = 0;  // from a callback, or from post()

  // From any thread: runs `task` on the loop's thread.
  virtual void post(std::function<void()> task) = 0;
  // Calls `tick` about every period_ms, for coarse deadlines; one tick per loop.
  virtual void every(uint32_t period_ms, std::function<void()> tick) = 0;
  // Calls `ready` whenever `fd` (an eventfd, say) is readable; `ready` must clear it.
  virtual void watch(int fd, std::function<void()> ready) = 0;
  virtual void unwatch(int fd) = 0;

  // Read once per wake-up.
  virtual int64_t now_monotonic_ms() const = 0;

 private:
  friend class Socket;
  friend class Listener;
  virtual std::unique_ptr<Socket::Impl> make_socket(SocketEvents& events) = 0;
  virtual std::unique_ptr<Listener::Impl> make_listener(ListenerEvents& events,
                                                        UniqueFd listening) = 0;
};

// A listening TCP socket: CLOEXEC, SO_REUSEADDR, optional SO_REUSEPORT, IPV6_V6ONLY for v6.
struct ListenOptions {
  Endpoint at;
  bool reuse_port = true;
  int backlog = 4096;
  // Takes connections that were meant for others (IP_TRANSPARENT); needs CAP_NET_ADMIN.
  bool transparent = false;
};
Result<UniqueFd> listen_tcp(const ListenOptions& options);

}  // namespace tollgate::io
