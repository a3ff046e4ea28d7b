// What both backends share: the sockets' interface, tasks from other threads, the tick, and the
// rule that no callback is nested in a call of the owner.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "userspace/io/loop.h"

namespace tollgate::io {

// A record's type travels beside its bytes (linux/tls.h).
constexpr uint8_t kDataRecord = 23;
constexpr size_t kRecordBytesMax = 16 * 1024;

// A message to or from the kernel with room for a record's type. Its parts point into each other:
// it stays where it is while the kernel has it.
struct ControlMessage {
  iovec parts[2] = {};
  msghdr header = {};
  alignas(cmsghdr) unsigned char control[CMSG_SPACE(sizeof(uint8_t))] = {};

  ControlMessage() = default;
  ControlMessage(const ControlMessage&) = delete;
  void send(const Socket::Impl& socket);  // what is unsent
  void receive(std::span<std::byte> into);
  std::optional<uint8_t> record_type() const;  // of what was received
};

class Socket::Impl {
 public:
  explicit Impl(SocketEvents& owner) : events(owner) {}
  virtual ~Impl() = default;
  virtual void adopt(UniqueFd connected) = 0;
  virtual Status connect(const Endpoint& remote) = 0;
  virtual void start_receiving() = 0;
  virtual void receive_once(size_t bytes_max) = 0;
  virtual void stop_receiving() = 0;
  virtual void send() = 0;  // what is unsent
  virtual void close(bool reset) = 0;

  virtual bool reading() const = 0;  // a receive is in the kernel

  void shutdown_send();
  void begin_send(uint8_t type, std::span<const std::byte> bytes, std::span<const std::byte> more);
  bool advance_unsent(size_t bytes);  // true when nothing is left

  SocketEvents& events;
  UniqueFd fd;
  std::span<const std::byte> unsent;
  std::span<const std::byte> unsent_more;  // behind it
  uint8_t unsent_type = kDataRecord;       // of the record, with kernel TLS
  bool kernel_tls = false;
  bool sending = false;
  bool closing = false;
  bool closed = false;  // on_closed was or is being called
};

class Listener::Impl {
 public:
  explicit Impl(ListenerEvents& owner, UniqueFd listening)
      : events(owner), fd(std::move(listening)) {}
  virtual ~Impl() = default;
  virtual void start() = 0;
  virtual void close() = 0;

  ListenerEvents& events;
  UniqueFd fd;
  bool started = false;
  bool closing = false;
  bool closed = false;
};

// Tasks that other threads hand to the loop's.
class TaskQueue {
 public:
  static Result<std::unique_ptr<TaskQueue>> make();
  void post(std::function<void()> task);
  void run_all();  // on the loop's thread, when wake_fd is readable
  int wake_fd() const { return wake_fd_.get(); }

 private:
  UniqueFd wake_fd_;
  std::mutex mutex_;
  std::vector<std::function<void()>> tasks_;
};

class LoopBase : public Loop {
 public:
  void stop() override { running_ = false; }
  void post(std::function<void()> task) override { tasks_->post(std::move(task)); }
  void every(uint32_t period_ms, std::function<void()> tick) override;
  int64_t now_monotonic_ms() const override { return now_ms_; }
  const std::string& fallback_reason() const override { return fallback_reason_; }

  // Callbacks that wait for the end of the turn.
  void finish(Socket::Impl& socket) { finished_sockets_.push_back(&socket); }
  void finish(Listener::Impl& listener) { finished_listeners_.push_back(&listener); }

 protected:
  explicit LoopBase(std::string fallback_reason);

  void read_clock();
  // How long a wait may take; -1: until something happens.
  int64_t wait_ms() const;
  bool run_tick();  // true when the tick was due
  // on_closed of everything that finished; may finish more.
  void run_finished();
  bool has_finished() const { return !finished_sockets_.empty() || !finished_listeners_.empty(); }

  bool running_ = false;
  std::unique_ptr<TaskQueue> tasks_;

 private:
  std::string fallback_reason_;
  int64_t now_ms_;
  std::function<void()> tick_;
  uint32_t tick_period_ms_ = 0;
  int64_t next_tick_ms_ = 0;
  std::vector<Socket::Impl*> finished_sockets_;
  std::vector<Listener::Impl*> finished_listeners_;
};

// The backends. make_uring_loop fails where io_uring is denied; the error's text is the reason.
Result<std::unique_ptr<Loop>> make_uring_loop(const Loop::Options& options);
Result<std::unique_ptr<Loop>> make_poll_loop(const Loop::Options& options,
                                             std::string fallback_reason);
int probe_uring();  // 0 or an errno
// Says why io_uring cannot be used, from the errno of a probe.
std::string explain_probe_failure(int sys_errno);

// A non-blocking TCP socket that is not yet connected, TCP_NODELAY set.
Result<UniqueFd> make_tcp_socket(const Endpoint& remote);
void set_reset_on_close(int fd);

}  // namespace tollgate::io
