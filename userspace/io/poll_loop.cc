// The epoll backend, for where io_uring is denied: the same interface, the same order of callbacks.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <unordered_map>
#include <utility>

#include "userspace/io/backend.h"

namespace tollgate::io {
namespace {

// A busy connection gives way to the others after this many reads.
constexpr int kReadsPerTurn = 4;
constexpr int kAcceptsPerTurn = 64;
constexpr int64_t kAcceptPauseMs = 100;

class PollLoop;

class Source {
 public:
  virtual void ready(uint32_t events) = 0;

 protected:
  ~Source() = default;
};

class PollSocket final : public Socket::Impl, Source {
 public:
  PollSocket(PollLoop& loop, SocketEvents& owner) : Socket::Impl(owner), loop_(loop) {}
  void adopt(UniqueFd connected) override;
  Status connect(const Endpoint& remote) override;
  void start_receiving() override;
  void receive_once(size_t bytes_max) override;
  void stop_receiving() override;
  bool reading() const override { return false; }  // every receive returns at once
  void send() override;
  void close(bool reset) override;

  void report_sent();
  void read_queued();

 private:
  void ready(uint32_t events) override;
  void queue_read();
  void read_some();
  bool read_one();
  bool read_control();
  void write_some();
  void finish_send(int sys_errno);
  void end_receiving(int sys_errno);
  void connected();
  void update();

  PollLoop& loop_;
  uint32_t interest_ = 0;
  bool registered_ = false;
  bool connecting_ = false;
  bool want_receive_ = false;
  size_t once_bytes_max_ = 0;  // of the one receive that is wanted; 0: of many
  bool receive_ended_ = false;
  bool write_blocked_ = false;
  bool read_pending_ = false;  // to be read in the next turn, whatever epoll says
  bool sent_pending_ = false;  // on_sent is queued
  int sent_errno_ = 0;
};

class PollListener final : public Listener::Impl, Source {
 public:
  PollListener(PollLoop& loop, ListenerEvents& owner, UniqueFd listening)
      : Listener::Impl(owner, std::move(listening)), loop_(loop) {}
  void start() override;
  void close() override;
  void go_on();

 private:
  void ready(uint32_t events) override;

  PollLoop& loop_;
  bool paused_ = false;
};

struct PollWatch final : Source {
  std::function<void()> on_ready;
  bool cancelled = false;  // kept until the end of the turn: it may be running
  void ready(uint32_t) override {
    if (!cancelled) on_ready();
  }
};

class PollLoop final : public LoopBase {
 public:
  explicit PollLoop(std::string fallback_reason) : LoopBase(std::move(fallback_reason)) {}
  Status set_up(const Options& options);

  Backend backend() const override { return Backend::poll; }
  void run() override;
  void watch(int fd, std::function<void()> ready) override;
  void unwatch(int fd) override;

  void control(int operation, int fd, uint32_t events, Source* source);
  void queue_sent(PollSocket& socket) { sent_.push_back(&socket); }
  void queue_read(PollSocket& socket) { read_.push_back(&socket); }
  void forget_queued(PollSocket& socket) {
    for (auto* queue : {&sent_, &sent_turn_, &read_, &read_turn_})
      std::replace(queue->begin(), queue->end(), &socket, static_cast<PollSocket*>(nullptr));
  }
  void pause(PollListener& listener) { paused_.push_back(&listener); }
  void forget_paused(PollListener& listener) { std::erase(paused_, &listener); }
  std::span<std::byte> buffer() { return buffer_; }

 private:
  std::unique_ptr<Socket::Impl> make_socket(SocketEvents& events) override {
    return std::make_unique<PollSocket>(*this, events);
  }
  std::unique_ptr<Listener::Impl> make_listener(ListenerEvents& events,
                                                UniqueFd listening) override {
    return std::make_unique<PollListener>(*this, events, std::move(listening));
  }
  void run_queued();

  UniqueFd epoll_;
  std::vector<std::byte> buffer_;
  std::vector<PollSocket*> sent_;       // on_sent is due in the next turn
  std::vector<PollSocket*> sent_turn_;  // and in this one
  std::vector<PollSocket*> read_;       // likewise to be read
  std::vector<PollSocket*> read_turn_;
  std::vector<PollListener*> paused_;
  std::unordered_map<int, std::unique_ptr<PollWatch>> watches_;
  std::vector<std::unique_ptr<PollWatch>> retired_watches_;
};

// ---- socket ------------------------------------------------------------------------------------

void PollSocket::adopt(UniqueFd connected) {
  fd = std::move(connected);
}

Status PollSocket::connect(const Endpoint& remote) {
  auto made = make_tcp_socket(remote);
  if (!made) return std::move(made).forward();
  fd = std::move(*made);
  sockaddr_storage storage{};
  const socklen_t length = sockaddr_from_endpoint(remote, storage);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0 &&
      errno != EINPROGRESS) {
    const int failure = errno;
    fd.reset();
    return system_error(failure, "connect to " + to_string(remote));
  }
  connecting_ = true;
  update();
  return {};
}

// Brings epoll's interest in line with ours. With none the descriptor leaves epoll: a hang-up is
// reported whatever was asked for, and would spin.
void PollSocket::update() {
  uint32_t wanted = 0;
  if (!closing) {
    if (want_receive_ && !receive_ended_ && !connecting_) wanted |= EPOLLIN;
    if (connecting_ || write_blocked_) wanted |= EPOLLOUT;
  }
  if (wanted == interest_) return;
  interest_ = wanted;
  if (wanted == 0) {
    loop_.control(EPOLL_CTL_DEL, fd.get(), 0, nullptr);
    registered_ = false;
  } else {
    loop_.control(registered_ ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd.get(), wanted, this);
    registered_ = true;
  }
}

void PollSocket::start_receiving() {
  once_bytes_max_ = 0;
  want_receive_ = true;
  update();
  if (kernel_tls) queue_read();
}

// The kernel's poll is silent while a KeyUpdate waits for its key, also when the KeyUpdate itself
// was not read yet: a receive of the data before it may have decrypted it. So a socket with kernel
// TLS is read until it has no more, and asked again where reading stopped before.
void PollSocket::queue_read() {
  if (closing || receive_ended_ || std::exchange(read_pending_, true)) return;
  loop_.queue_read(*this);
}

void PollSocket::read_queued() {
  read_pending_ = false;
  if (!closing && want_receive_ && !receive_ended_) read_some();
}

void PollSocket::receive_once(size_t bytes_max) {
  once_bytes_max_ = bytes_max;
  want_receive_ = true;
  update();
}

void PollSocket::stop_receiving() {
  want_receive_ = false;
  if (fd) update();
}

void PollSocket::send() {
  write_some();
}

void PollSocket::write_some() {
  for (;;) {
    ControlMessage message;
    message.send(*this);
    const ssize_t n = ::sendmsg(fd.get(), &message.header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      write_blocked_ = true;
      update();
      return;
    }
    if (n < 0) {
      finish_send(errno);
      return;
    }
    if (advance_unsent(static_cast<size_t>(n))) break;
  }
  finish_send(0);
}

// on_sent comes from the loop, never from inside the owner's send().
void PollSocket::finish_send(int sys_errno) {
  write_blocked_ = false;
  update();
  sent_pending_ = true;
  sent_errno_ = sys_errno;
  loop_.queue_sent(*this);
}

void PollSocket::report_sent() {
  sent_pending_ = false;
  sending = false;
  events.on_sent(sent_errno_);
}

void PollSocket::close(bool reset) {
  if (closing || closed || !fd) return;
  closing = true;
  if (reset) set_reset_on_close(fd.get());
  update();
  if (sent_pending_ || read_pending_) loop_.forget_queued(*this);
  sending = false;
  fd.reset();
  loop_.finish(*this);
}

void PollSocket::ready(uint32_t ready_events) {
  if (closing) return;
  if (connecting_) {
    connected();
    return;
  }
  if (write_blocked_ && (ready_events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) write_some();
  if (!closing && want_receive_ && !receive_ended_ &&
      (ready_events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
    read_some();
  }
}

void PollSocket::connected() {
  int failure = 0;
  socklen_t length = sizeof failure;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &failure, &length);
  connecting_ = false;
  update();
  events.on_connected(failure);
}

void PollSocket::read_some() {
  for (int i = 0; i < kReadsPerTurn; ++i) {
    if (!read_one()) return;
  }
  if (kernel_tls) queue_read();
}

// True when there may be more to read at once.
bool PollSocket::read_one() {
  auto buffer = loop_.buffer();
  if (once_bytes_max_ != 0) buffer = buffer.first(std::min(buffer.size(), once_bytes_max_));
  const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (n < 0 && errno == EINTR) return true;
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
  if (n < 0 && errno == EIO && kernel_tls) return read_control();
  if (n <= 0) {
    end_receiving(n < 0 ? errno : 0);
    return false;
  }
  const bool once = once_bytes_max_ != 0;
  if (once) want_receive_ = false;
  events.on_received(buffer.first(static_cast<size_t>(n)));
  if (once && !closing) update();
  const bool full = static_cast<size_t>(n) == buffer.size();
  return !once && !closing && want_receive_ && (full || kernel_tls);
}

// The next record is not data, which a plain receive refuses.
bool PollSocket::read_control() {
  const auto buffer = loop_.buffer();
  ControlMessage message;
  message.receive(buffer);
  const ssize_t n = ::recvmsg(fd.get(), &message.header, MSG_DONTWAIT);
  if (n < 0 && errno == EINTR) return true;
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
  const auto type = message.record_type();
  if (n < 0 || !type) {
    end_receiving(n < 0 ? errno : 0);
    return false;
  }
  events.on_control_record(*type, buffer.first(static_cast<size_t>(n)));
  return !closing && want_receive_;
}

void PollSocket::end_receiving(int sys_errno) {
  receive_ended_ = true;
  update();
  events.on_receive_end(sys_errno);
}

// ---- listener ----------------------------------------------------------------------------------

void PollListener::start() {
  started = true;
  loop_.control(EPOLL_CTL_ADD, fd.get(), EPOLLIN, this);
}

void PollListener::go_on() {
  if (closing || !std::exchange(paused_, false)) return;
  loop_.control(EPOLL_CTL_ADD, fd.get(), EPOLLIN, this);
}

void PollListener::close() {
  if (closing || !started) return;
  closing = true;
  if (!paused_) loop_.control(EPOLL_CTL_DEL, fd.get(), 0, nullptr);
  loop_.forget_paused(*this);
  fd.reset();
  loop_.finish(*this);
}

void PollListener::ready(uint32_t) {
  for (int i = 0; i < kAcceptsPerTurn && !closing; ++i) {
    UniqueFd connection(::accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection) {
      events.on_accepted(std::move(connection));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    // EMFILE and its kind last, and the listener stays readable: without a pause it would spin.
    loop_.control(EPOLL_CTL_DEL, fd.get(), 0, nullptr);
    paused_ = true;
    loop_.pause(*this);
    events.on_accept_error(errno);
    return;
  }
}

// ---- loop --------------------------------------------------------------------------------------

Status PollLoop::set_up(const Options& options) {
  auto tasks = TaskQueue::make();
  if (!tasks) return std::move(tasks).forward();
  tasks_ = std::move(*tasks);
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return system_error(errno, "make epoll");
  buffer_.resize(options.buffer_bytes);
  watch(tasks_->wake_fd(), [this] { tasks_->run_all(); });
  return {};
}

void PollLoop::control(int operation, int fd, uint32_t events, Source* source) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = source;
  TG_ASSERT(::epoll_ctl(epoll_.get(), operation, fd, &event) == 0);
}

void PollLoop::watch(int fd, std::function<void()> ready) {
  auto watch = std::make_unique<PollWatch>();
  watch->on_ready = std::move(ready);
  control(EPOLL_CTL_ADD, fd, EPOLLIN, watch.get());
  watches_[fd] = std::move(watch);
}

void PollLoop::unwatch(int fd) {
  const auto found = watches_.find(fd);
  if (found == watches_.end()) return;
  control(EPOLL_CTL_DEL, fd, 0, nullptr);
  found->second->cancelled = true;
  retired_watches_.push_back(std::move(found->second));
  watches_.erase(found);
}

void PollLoop::run_queued() {
  // Only what was queued before: a callback that sends or reads again is the next turn's.
  sent_turn_.swap(sent_);
  read_turn_.swap(read_);
  for (PollSocket*& entry : sent_turn_) {
    if (PollSocket* socket = std::exchange(entry, nullptr)) socket->report_sent();
  }
  for (PollSocket*& entry : read_turn_) {
    if (PollSocket* socket = std::exchange(entry, nullptr)) socket->read_queued();
  }
  sent_turn_.clear();
  read_turn_.clear();
}

void PollLoop::run() {
  running_ = true;
  std::array<epoll_event, 256> events{};
  while (running_) {
    int64_t wait = sent_.empty() && read_.empty() ? wait_ms() : 0;
    if (!paused_.empty() && (wait < 0 || wait > kAcceptPauseMs)) wait = kAcceptPauseMs;
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                   static_cast<int>(std::min<int64_t>(wait, 60'000)));
    read_clock();
    run_queued();
    for (int i = 0; i < count; ++i) {
      static_cast<Source*>(events[static_cast<size_t>(i)].data.ptr)
          ->ready(events[static_cast<size_t>(i)].events);
    }
    run_tick();
    run_finished();
    if (count == 0) {
      for (PollListener* listener : std::exchange(paused_, {}))
        listener->go_on();
    }
    retired_watches_.clear();
  }
  run_finished();
}

}  // namespace

Result<std::unique_ptr<Loop>> make_poll_loop(const Loop::Options& options,
                                             std::string fallback_reason) {
  auto loop = std::make_unique<PollLoop>(std::move(fallback_reason));
  if (const Status ok = loop->set_up(options); !ok) return Error(ok.error());
  return std::unique_ptr<Loop>(std::move(loop));
}

}  // namespace tollgate::io
