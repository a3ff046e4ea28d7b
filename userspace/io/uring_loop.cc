// The io_uring backend. Sources: io_uring_setup(2), io_uring_prep_multishot_accept(3),
// io_uring_prep_recv_multishot(3), io_uring_register_buf_ring(3). Traps in README.md.
#include <liburing.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

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
  void stop_receiving() override;
  void send() override;
  void close(bool reset) override;

  void rearm_starved();

 private:
  void complete(Op& op, int result, uint32_t flags) override;
  void received(int result, uint32_t flags);
  void sent(int result);
  void arm_receive();
  void cancel_receive();
  bool idle() const { return !receive_.armed && !send_.armed && !connect_.armed && !cancels_; }
  void finish_if_idle();

  UringLoop& loop_;
  Op receive_{this, Kind::receive};
  Op send_{this, Kind::send};
  Op connect_{this, Kind::connect};
  Op cancel_{this, Kind::cancel};
  uint32_t cancels_ = 0;  // cancel requests in the kernel
  bool want_receive_ = false;
  bool receive_ended_ = false;
  bool starved_ = false;  // waits for buffers, in the loop's list
  bool finishing_ = false;
  std::unique_ptr<sockaddr_storage> remote_;
  struct Gather {
    iovec parts[2];
    msghdr message;
  };
  std::unique_ptr<Gather> gather_;  // the kernel may read it until the send completes
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
  want_receive_ = true;
  // While a cancelled receive is still in the kernel, its last completion arms the next one.
  if (!receive_.armed && !starved_) arm_receive();
}

void UringSocket::arm_receive() {
  if (receive_ended_ || closing || !want_receive_) return;
  io_uring_sqe& sqe = loop_.sqe(receive_);
  io_uring_prep_recv_multishot(&sqe, fd.get(), nullptr, 0, 0);
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.buf_group = kBufferGroup;
}

void UringSocket::rearm_starved() {
  starved_ = false;
  if (!receive_.armed) arm_receive();
}

void UringSocket::stop_receiving() {
  if (!std::exchange(want_receive_, false) || !receive_.armed) return;
  cancel_receive();
}

void UringSocket::cancel_receive() {
  ++cancels_;
  io_uring_prep_cancel(&loop_.sqe(cancel_), &receive_, 0);
}

void UringSocket::send() {
  if (unsent_more.empty()) {
    io_uring_prep_send(&loop_.sqe(send_), fd.get(), unsent.data(), unsent.size(), MSG_NOSIGNAL);
    return;
  }
  if (!gather_) gather_ = std::make_unique<Gather>();
  gather_->message = {};
  gather_->message.msg_iov = gather_->parts;
  gather_->message.msg_iovlen = gather_unsent(gather_->parts);
  io_uring_prep_sendmsg(&loop_.sqe(send_), fd.get(), &gather_->message, MSG_NOSIGNAL);
}

void UringSocket::close(bool reset) {
  if (closing || closed || !fd) return;
  closing = true;
  if (reset) {
    set_reset_on_close(fd.get());
  } else if (receive_.armed) {
    ::shutdown(fd.get(), SHUT_RDWR);  // a cancel alone can miss a live multishot
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
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    if (result > 0 && !closing) events.on_received(loop_.buffer(flags, result));
    loop_.give_back(flags);
    if (result > 0) {
      if (!receive_.armed && !closing) arm_receive();
      return;
    }
  }
  if (receive_.armed || closing) return;
  if (result == -ENOBUFS) {
    if (!want_receive_) return;
    starved_ = true;  // armed again when this turn has given its buffers back
    loop_.starve(*this);
  } else if (result == -ECANCELED || result == -EINTR || result == -EAGAIN) {
    arm_receive();  // nothing when receiving was stopped, which is what a cancel means
  } else {
    receive_ended_ = true;
    events.on_receive_end(-result);
  }
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
      UniqueFd connection(result);
      if (!closing) events.on_accepted(std::move(connection));
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

// A ring that answers a NOP: seccomp filters may let the setup through and no more.
int probe() {
  io_uring ring{};
  if (const int failed = io_uring_queue_init(2, &ring, 0); failed != 0) return -failed;
  io_uring_sqe* sqe = io_uring_get_sqe(&ring);
  io_uring_prep_nop(sqe);
  int result = io_uring_submit(&ring);
  io_uring_cqe* cqe = nullptr;
  if (result == 1) result = io_uring_wait_cqe(&ring, &cqe);
  if (result == 0) io_uring_cqe_seen(&ring, cqe);
  io_uring_queue_exit(&ring);
  return result < 0 ? -result : 0;
}

}  // namespace

Result<std::unique_ptr<Loop>> make_uring_loop(const Loop::Options& options) {
  int failure = probe();
  auto loop = std::make_unique<UringLoop>();
  if (failure == 0) failure = loop->set_up(options);
  if (failure != 0) return Error{Fault::system, failure, explain_probe_failure(failure), {}};
  return std::unique_ptr<Loop>(std::move(loop));
}

}  // namespace tollgate::io
