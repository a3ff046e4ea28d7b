// The io_uring backend. Sources: io_uring_setup(2), io_uring_prep_multishot_accept(3),
// io_uring_prep_recv_multishot(3), io_uring_register_buf_ring(3). Traps in README.md.
#include <liburing.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "userspace/io/backend.h"

namespace tollgate::io {
namespace {

constexpr int kBufferGroup = 0;

class UringLoop;

// What a completion belongs to. user_data is its address; it is freed only when the kernel holds
// no operation of it, so that an address in a late completion is never stale.
class Target {
 public:
  enum class Kind : uint8_t { accept, receive, send, connect, cancel, watch };
  struct Op {
    Target* target = nullptr;
    Kind kind = Kind::cancel;
    bool armed = false;  // in the kernel: exactly between its SQE and its last CQE
  };
  virtual void complete(Op& op, int result, uint32_t flags) = 0;

 protected:
  ~Target() = default;
};

class UringSocket final : public Socket::Impl, Target {
 public:
  UringSocket(UringLoop& loop, SocketEvents& owner);
  void adopt(UniqueFd connected) override { fd = std::move(connected); }
  Status connect(const Endpoint& remote) override;
  void start_receiving() override;
  void receive_once(size_t bytes_max) override;
  void stop_receiving() override;
  bool reading() const override { return receive_.armed; }
  void send() override;
  void close(bool reset) override;

  void rearm_starved();

 private:
  void complete(Op& op, int result, uint32_t flags) override;
  void received(int result, uint32_t flags);
  void receive_failed(int sys_errno);
  void control_received(int result);
  void sent(int result);
  void arm_receive();
  void arm_control();
  bool idle() const { return !receive_.armed && !send_.armed && !connect_.armed && !cancels_; }
  void finish_if_idle();

  UringLoop& loop_;
  Op receive_{this, Kind::receive};
  Op send_{this, Kind::send};
  Op connect_{this, Kind::connect};
  Op cancel_{this, Kind::cancel};
  uint32_t cancels_ = 0;  // cancel requests in the kernel
  bool want_receive_ = false;
  size_t once_bytes_max_ = 0;  // of the one receive that is wanted; 0: of many
  bool receive_ended_ = false;
  bool starved_ = false;  // waits for buffers, in the loop's list
  bool finishing_ = false;
  std::unique_ptr<sockaddr_storage> remote_;
  std::unique_ptr<ControlMessage> gather_;  // the kernel may read it until the send completes
  struct Control {
    ControlMessage message;
    std::byte bytes[kRecordBytesMax];
  };
  std::unique_ptr<Control> control_;  // while a record that is not data is being read
};

class UringListener final : public Listener::Impl, Target {
 public:
  UringListener(UringLoop& loop, ListenerEvents& owner, UniqueFd listening)
      : Listener::Impl(owner, std::move(listening)), loop_(loop) {}
  void start() override;
  void close() override;
  void rearm();

 private:
  void complete(Op& op, int result, uint32_t flags) override;
  void finish_if_idle();

  UringLoop& loop_;
  Op accept_{this, Kind::accept};
  Op cancel_{this, Kind::cancel};
};

class Watch final : public Target {
 public:
  Watch(UringLoop& loop, int fd, std::function<void()> ready)
      : loop_(loop), fd_(fd), ready_(std::move(ready)) {}
  void arm();
  void cancel();
  bool armed() const { return poll_.armed || cancel_.armed; }

 private:
  void complete(Op& op, int result, uint32_t flags) override;

  UringLoop& loop_;
  int fd_;
  std::function<void()> ready_;
  bool cancelled_ = false;
  Op poll_{this, Kind::watch};
  Op cancel_{this, Kind::cancel};
};

class UringLoop final : public LoopBase {
 public:
  UringLoop() : LoopBase({}) {}
  ~UringLoop() override;
  int set_up(const Options& options);  // 0 or an errno

  Backend backend() const override { return Backend::io_uring; }
  void run() override;
  void watch(int fd, std::function<void()> ready) override;
  void unwatch(int fd) override;

  io_uring_sqe& sqe(Target::Op& op);
  std::span<const std::byte> buffer(uint32_t flags, int length) const;
  size_t buffer_part(size_t bytes) const { return std::min<size_t>(bytes, buffer_bytes_); }
  void give_back(uint32_t flags);
  void starve(UringSocket& socket) { starved_.push_back(&socket); }
  void forget_starved(const UringSocket& socket) { std::erase(starved_, &socket); }
  void retry_accept(UringListener& listener) { accept_retries_.push_back(&listener); }

 private:
  std::unique_ptr<Socket::Impl> make_socket(SocketEvents& events) override {
    return std::make_unique<UringSocket>(*this, events);
  }
  std::unique_ptr<Listener::Impl> make_listener(ListenerEvents& events,
                                                UniqueFd listening) override {
    return std::make_unique<UringListener>(*this, events, std::move(listening));
  }
  int make_ring(const Options& options);
  int make_buffers(const Options& options);
  void enable();
  void wait();
  void collect();

  struct Completed {
    Target::Op* op;
    int result;
    uint32_t flags;
  };

  io_uring ring_{};
  bool ring_made_ = false;
  bool enabled_ = false;
  io_uring_buf_ring* buffer_ring_ = nullptr;
  std::byte* buffer_memory_ = nullptr;
  size_t buffer_memory_bytes_ = 0;
  uint32_t buffers_ = 0;
  uint32_t buffer_bytes_ = 0;
  std::vector<Completed> completed_;
  std::vector<UringSocket*> starved_;
  std::vector<UringListener*> accept_retries_;
  std::unordered_map<int, std::unique_ptr<Watch>> watches_;
  std::vector<std::unique_ptr<Watch>> retired_watches_;
};

// ---- socket ------------------------------------------------------------------------------------

UringSocket::UringSocket(UringLoop& loop, SocketEvents& owner) : Socket::Impl(owner), loop_(loop) {}

Status UringSocket::connect(const Endpoint& remote) {
  auto made = make_tcp_socket(remote);
  if (!made) return std::move(made).forward();
  fd = std::move(*made);
  remote_ = std::make_unique<sockaddr_storage>();
  const socklen_t length = sockaddr_from_endpoint(remote, *remote_);
  io_uring_prep_connect(&loop_.sqe(connect_), fd.get(),
                        reinterpret_cast<const sockaddr*>(remote_.get()), length);
  return {};
}

void UringSocket::start_receiving() {
  receive_once(0);
}

void UringSocket::receive_once(size_t bytes_max) {
  once_bytes_max_ = bytes_max;
  want_receive_ = true;
  // While a cancelled receive is still in the kernel, its last completion arms the next one.
  if (!receive_.armed && !starved_) arm_receive();
}

void UringSocket::arm_receive() {
  if (receive_ended_ || closing || !want_receive_) return;
  io_uring_sqe& sqe = loop_.sqe(receive_);
  if (once_bytes_max_ == 0) {
    io_uring_prep_recv_multishot(&sqe, fd.get(), nullptr, 0, 0);
  } else {
    io_uring_prep_recv(&sqe, fd.get(), nullptr, loop_.buffer_part(once_bytes_max_), 0);
  }
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.buf_group = kBufferGroup;
}

// The next record is not data, which a plain receive refuses.
void UringSocket::arm_control() {
  if (receive_ended_ || closing || !want_receive_) return;
  control_.reset(new Control);  // its bytes need no zeroes
  control_->message.receive(control_->bytes);
  io_uring_prep_recvmsg(&loop_.sqe(receive_), fd.get(), &control_->message.header, 0);
}

void UringSocket::rearm_starved() {
  starved_ = false;
  if (!receive_.armed) arm_receive();
}

void UringSocket::stop_receiving() {
  if (!std::exchange(want_receive_, false) || !receive_.armed) return;
  ++cancels_;
  io_uring_prep_cancel(&loop_.sqe(cancel_), &receive_, 0);
}

void UringSocket::send() {
  if (unsent_more.empty() && unsent_type == kDataRecord) {
    io_uring_prep_send(&loop_.sqe(send_), fd.get(), unsent.data(), unsent.size(), MSG_NOSIGNAL);
    return;
  }
  if (!gather_) gather_ = std::make_unique<ControlMessage>();
  gather_->send(*this);
  io_uring_prep_sendmsg(&loop_.sqe(send_), fd.get(), &gather_->header, MSG_NOSIGNAL);
}

void UringSocket::close(bool reset) {
  if (closing || closed || !fd) return;
  closing = true;
  if (reset) {
    set_reset_on_close(fd.get());
  } else if (receive_.armed) {
    // A cancel alone can miss a live multishot. With kernel TLS an alert may be about to leave.
    ::shutdown(fd.get(), kernel_tls ? SHUT_RD : SHUT_RDWR);
  }
  if (starved_) {
    loop_.forget_starved(*this);
    starved_ = false;
  }
  if (!idle()) {
    ++cancels_;
    io_uring_prep_cancel_fd(&loop_.sqe(cancel_), fd.get(), IORING_ASYNC_CANCEL_ALL);
  }
  finish_if_idle();
}

void UringSocket::finish_if_idle() {
  if (!closing || finishing_ || !idle()) return;
  finishing_ = true;
  sending = false;
  fd.reset();
  loop_.finish(*this);
}

void UringSocket::complete(Op& op, int result, uint32_t flags) {
  switch (op.kind) {
    case Kind::receive:
      received(result, flags);
      break;
    case Kind::send:
      sent(result);
      break;
    case Kind::connect:
      remote_.reset();
      if (!closing) events.on_connected(-result);
      break;
    default:  // a cancel: done, missed or too late are all fine
      --cancels_;
      break;
  }
  finish_if_idle();
}

void UringSocket::received(int result, uint32_t flags) {
  if (control_) {
    control_received(result);
    return;
  }
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    if (once_bytes_max_ != 0 && result > 0) want_receive_ = false;
    if (result > 0 && !closing) events.on_received(loop_.buffer(flags, result));
    loop_.give_back(flags);
    if (result > 0) {
      if (!receive_.armed && !closing) arm_receive();
      return;
    }
  }
  if (receive_.armed || closing) return;
  if (result == -EIO && kernel_tls) {
    arm_control();
  } else {
    receive_failed(-result);
  }
}

void UringSocket::receive_failed(int sys_errno) {
  if (sys_errno == ENOBUFS) {
    if (!want_receive_) return;
    starved_ = true;  // armed again when this turn has given its buffers back
    loop_.starve(*this);
  } else if (sys_errno == ECANCELED || sys_errno == EINTR || sys_errno == EAGAIN) {
    arm_receive();  // nothing when receiving was stopped, which is what a cancel means
  } else {
    receive_ended_ = true;
    events.on_receive_end(sys_errno);
  }
}

void UringSocket::control_received(int result) {
  const std::unique_ptr<Control> control = std::move(control_);
  if (closing) return;
  const auto type = control->message.record_type();
  if (result < 0 || !type) {
    receive_failed(result < 0 ? -result : 0);
    return;
  }
  events.on_control_record(*type, std::span(control->bytes).first(static_cast<size_t>(result)));
  if (!receive_.armed && !closing) arm_receive();
}

void UringSocket::sent(int result) {
  if (closing) {
    sending = false;
    return;
  }
  if (result == -EINTR || result == -EAGAIN) {
    send();
    return;
  }
  if (result >= 0 && !advance_unsent(static_cast<size_t>(result))) {
    send();
    return;
  }
  sending = false;
  events.on_sent(result < 0 ? -result : 0);
}

// ---- listener ----------------------------------------------------------------------------------

void UringListener::start() {
  started = true;
  rearm();
}

void UringListener::rearm() {
  if (closing || accept_.armed) return;
  io_uring_prep_multishot_accept(&loop_.sqe(accept_), fd.get(), nullptr, nullptr, SOCK_CLOEXEC);
}

void UringListener::close() {
  if (closing || !started) return;
  closing = true;
  if (accept_.armed) {
    io_uring_prep_cancel_fd(&loop_.sqe(cancel_), fd.get(), IORING_ASYNC_CANCEL_ALL);
  }
  finish_if_idle();
}

void UringListener::complete(Op& op, int result, uint32_t) {
  if (op.kind == Kind::accept) {
    if (result >= 0) {
      // Also while closing: the kernel accepted it before it heard of that, and dropping it here
      // would be a reset to a client who did nothing wrong.
      events.on_accepted(UniqueFd(result));
      rearm();
    } else if (!closing) {
      // EMFILE and its kind last: trying again at once would spin.
      events.on_accept_error(-result);
      loop_.retry_accept(*this);
    }
  }
  finish_if_idle();
}

void UringListener::finish_if_idle() {
  if (!closing || closed || accept_.armed || cancel_.armed || !fd) return;
  fd.reset();
  loop_.finish(*this);
}

// ---- watched descriptors -----------------------------------------------------------------------

void Watch::arm() {
  io_uring_prep_poll_multishot(&loop_.sqe(poll_), fd_, POLLIN);
}

void Watch::cancel() {
  cancelled_ = true;
  if (poll_.armed) io_uring_prep_cancel(&loop_.sqe(cancel_), &poll_, 0);
}

void Watch::complete(Op& op, int result, uint32_t) {
  if (op.kind != Kind::watch || cancelled_) return;
  if (result > 0) ready_();
  if (!poll_.armed && !cancelled_) arm();
}

// ---- loop --------------------------------------------------------------------------------------

UringLoop::~UringLoop() {
  if (ring_made_) io_uring_queue_exit(&ring_);
  if (buffer_ring_ != nullptr) ::munmap(buffer_ring_, buffers_ * sizeof(io_uring_buf));
  if (buffer_memory_ != nullptr) ::munmap(buffer_memory_, buffer_memory_bytes_);
}

int UringLoop::set_up(const Options& options) {
  auto tasks = TaskQueue::make();
  if (!tasks) return tasks.error().sys_errno;
  tasks_ = std::move(*tasks);
  if (const int failure = make_ring(options); failure != 0) return failure;
  return make_buffers(options);
}

int UringLoop::make_ring(const Options& options) {
  // The owner enables the ring in run(): with SINGLE_ISSUER that makes it the one issuer.
  constexpr unsigned kBase = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE;
  constexpr unsigned kLadder[] = {
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,  // 6.1
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN,
      0,
  };
  int failure = EINVAL;
  for (const unsigned flags : kLadder) {
    io_uring_params params{};
    params.flags = kBase | flags;
    params.cq_entries = options.entries * 8;
    failure = -io_uring_queue_init_params(options.entries, &ring_, &params);
    if (failure == EINVAL) continue;
    if (failure == 0) ring_made_ = true;
    // Completions that do not fit must be kept, not dropped.
    if (failure == 0 && (params.features & IORING_FEAT_NODROP) == 0) return ENOSYS;
    return failure;
  }
  return failure;
}

int UringLoop::make_buffers(const Options& options) {
  buffers_ = options.buffers;
  buffer_bytes_ = options.buffer_bytes;
  buffer_memory_bytes_ = size_t{buffers_} * buffer_bytes_;
  const auto map = [](size_t bytes) {
    return ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  };
  void* ring_memory = map(buffers_ * sizeof(io_uring_buf));
  if (ring_memory == MAP_FAILED) return ENOMEM;
  buffer_ring_ = static_cast<io_uring_buf_ring*>(ring_memory);
  void* memory = map(buffer_memory_bytes_);
  if (memory == MAP_FAILED) return ENOMEM;
  buffer_memory_ = static_cast<std::byte*>(memory);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uint64_t>(ring_memory);
  registration.ring_entries = buffers_;
  registration.bgid = kBufferGroup;
  if (const int failed = io_uring_register_buf_ring(&ring_, &registration, 0); failed != 0) {
    return -failed;
  }
  io_uring_buf_ring_init(buffer_ring_);
  const int mask = io_uring_buf_ring_mask(buffers_);
  for (uint32_t i = 0; i < buffers_; ++i) {
    io_uring_buf_ring_add(buffer_ring_, buffer_memory_ + size_t{i} * buffer_bytes_, buffer_bytes_,
                          static_cast<unsigned short>(i), mask, static_cast<int>(i));
  }
  io_uring_buf_ring_advance(buffer_ring_, static_cast<int>(buffers_));
  return 0;
}

io_uring_sqe& UringLoop::sqe(Target::Op& op) {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (sqe == nullptr) {
    // Full: hand over what is there. EBUSY means that completions must be taken first.
    while (io_uring_submit(&ring_) == -EBUSY)
      collect();
    sqe = io_uring_get_sqe(&ring_);
    TG_ASSERT(sqe != nullptr);
  }
  op.armed = true;
  io_uring_sqe_set_data(sqe, &op);
  return *sqe;
}

std::span<const std::byte> UringLoop::buffer(uint32_t flags, int length) const {
  const size_t id = flags >> IORING_CQE_BUFFER_SHIFT;
  return {buffer_memory_ + id * buffer_bytes_, static_cast<size_t>(length)};
}

void UringLoop::give_back(uint32_t flags) {
  const uint32_t id = flags >> IORING_CQE_BUFFER_SHIFT;
  io_uring_buf_ring_add(buffer_ring_, buffer_memory_ + size_t{id} * buffer_bytes_, buffer_bytes_,
                        static_cast<unsigned short>(id), io_uring_buf_ring_mask(buffers_), 0);
  io_uring_buf_ring_advance(buffer_ring_, 1);
}

void UringLoop::watch(int fd, std::function<void()> ready) {
  auto watch = std::make_unique<Watch>(*this, fd, std::move(ready));
  watch->arm();
  watches_[fd] = std::move(watch);
}

void UringLoop::unwatch(int fd) {
  const auto found = watches_.find(fd);
  if (found == watches_.end()) return;
  found->second->cancel();
  retired_watches_.push_back(std::move(found->second));
  watches_.erase(found);
}

void UringLoop::collect() {
  unsigned head = 0;
  unsigned taken = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    auto* op = static_cast<Target::Op*>(io_uring_cqe_get_data(cqe));
    completed_.push_back({op, cqe->res, cqe->flags});
    ++taken;
  }
  io_uring_cq_advance(&ring_, taken);
}

void UringLoop::wait() {
  const int64_t wait_ms = this->wait_ms();
  if (wait_ms == 0) {
    // Submits and reaps what is there; DEFER_TASKRUN completes nothing without asking.
    __kernel_timespec none{};
    io_uring_cqe* cqe = nullptr;
    io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &none, nullptr);
  } else if (wait_ms < 0) {
    io_uring_submit_and_wait(&ring_, 1);
  } else {
    __kernel_timespec timeout{.tv_sec = wait_ms / 1000, .tv_nsec = (wait_ms % 1000) * 1'000'000};
    io_uring_cqe* cqe = nullptr;
    io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &timeout, nullptr);
  }
}

// The thread that runs the loop first is the ring's one issuer.
void UringLoop::enable() {
  if (std::exchange(enabled_, true)) return;
  // liburing 2.3 declares io_uring_enable_rings without exporting it.
  TG_ASSERT(::syscall(SYS_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr,
                      0) == 0);
  watch(tasks_->wake_fd(), [this] { tasks_->run_all(); });
}

void UringLoop::run() {
  enable();
  running_ = true;
  std::vector<Completed> batch;
  while (running_) {
    wait();
    read_clock();
    collect();
    // Callbacks run on what was taken; what they bring about is the next turn's.
    batch.clear();
    batch.swap(completed_);
    for (const Completed& done : batch) {
      if ((done.flags & IORING_CQE_F_MORE) == 0) done.op->armed = false;
      done.op->target->complete(*done.op, done.result, done.flags);
    }
    const bool ticked = run_tick();
    run_finished();
    for (UringSocket* socket : std::exchange(starved_, {}))
      socket->rearm_starved();
    if (!accept_retries_.empty() && (ticked || batch.empty())) {
      for (UringListener* listener : std::exchange(accept_retries_, {}))
        listener->rearm();
    }
    std::erase_if(retired_watches_, [](const auto& watch) { return !watch->armed(); });
  }
  run_finished();
}

}  // namespace

Result<std::unique_ptr<Loop>> make_uring_loop(const Loop::Options& options) {
  int failure = probe_uring();
  auto loop = std::make_unique<UringLoop>();
  if (failure == 0) failure = loop->set_up(options);
  if (failure != 0) return Error{Fault::system, failure, explain_probe_failure(failure), {}};
  return std::unique_ptr<Loop>(std::move(loop));
}

}  // namespace tollgate::io
