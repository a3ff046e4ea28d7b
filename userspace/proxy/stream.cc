#include "userspace/proxy/stream.h"

#include <algorithm>
#include <utility>

#include "userspace/io/tcp_info.h"

namespace tollgate::proxy {
namespace {

// Buffers above this are given back when empty: thousands of open streams are idle most of the
// time, and an event is a few hundred bytes.
constexpr size_t kKeptBufferBytes = 4096;
// Of TLS 1.3: header, the inner type, the AEAD's tag.
constexpr uint64_t kRecordOverheadBytes = 5 + 1 + 16;

void empty(tls::Bytes& bytes) {
  if (bytes.capacity() > kKeptBufferBytes) {
    tls::Bytes().swap(bytes);
  } else {
    bytes.clear();
  }
}

}  // namespace

void FlushList::remove(const Stream& stream) {
  std::replace(streams_.begin(), streams_.end(), const_cast<Stream*>(&stream),
               static_cast<Stream*>(nullptr));
}

void FlushList::flush() {
  // A flush may make further streams dirty; they are appended and reached by the same loop.
  ++depth_;
  for (size_t i = 0; i < streams_.size(); ++i) {
    if (Stream* stream = std::exchange(streams_[i], nullptr)) stream->flush();
  }
  streams_.clear();
  --depth_;
}

Stream::Stream(io::Loop& loop, FlushList& flush_list, StreamEvents& events, TlsCounters* counters)
    : loop_(loop),
      flush_list_(flush_list),
      events_(events),
      socket_(loop, *this),
      counters_(counters) {}

Stream::~Stream() {
  if (dirty_) flush_list_.remove(*this);
}

void Stream::accept(UniqueFd fd, std::unique_ptr<tls::Channel> channel) {
  channel_ = std::move(channel);
  last_progress_ms_ = loop_.now_monotonic_ms();
  socket_.adopt(std::move(fd));
  channel_->start(pending_);
  if (channel_->state() == tls::Channel::State::open) report_open();
  receive_more();
}

Status Stream::connect(const Endpoint& remote, std::unique_ptr<tls::Channel> channel) {
  channel_ = std::move(channel);
  last_progress_ms_ = loop_.now_monotonic_ms();
  return socket_.connect(remote);
}

void Stream::write(std::span<const std::byte> plain) {
  if (closing_ || ended_with_failure() || plain.empty()) return;
  TG_ASSERT(lasting_.empty());
  if (receiving_ || entering()) {
    deferred_plain_.insert(deferred_plain_.end(), plain.begin(), plain.end());
    return;
  }
  if (const Status sent = channel_->send(plain, pending_); !sent) {
    report_end(StreamEnd::failed, sent.error());
  }
  mark_dirty();
}

void Stream::write_lasting(std::span<const std::byte> plain) {
  const bool direct = kernel_ != nullptr || channel_->path() == "plain";
  if (!direct || !deferred_plain_.empty()) {
    write(plain);
    return;
  }
  if (closing_ || ended_with_failure() || plain.empty()) return;
  TG_ASSERT(lasting_.empty());
  lasting_ = plain;
  mark_dirty();
}

void Stream::finish() {
  if (finishing_ || closing_) return;
  finishing_ = true;
  mark_dirty();
}

void Stream::close(bool reset) {
  if (closing_) return;
  closing_ = true;
  socket_.close(reset);
}

void Stream::pause() {
  paused_ = true;
  socket_.stop_receiving();
}

void Stream::resume() {
  paused_ = false;
  receive_more();
}

void Stream::receive_more() {
  if (paused_ || closing_ || ended_) return;
  if (!channel_->wants_kernel()) {
    receives_many_ = true;
    socket_.start_receiving();
  } else if (!entering()) {
    socket_.receive_once(channel_->receive_bytes());
  }
}

uint64_t Stream::wire_received() const {
  if (kernel_ == nullptr || closing_) return bytes_received_;
  return bytes_received_ + kRecordOverheadBytes * kernel_->records(tls::Direction::receive);
}

uint64_t Stream::wire_sent() const {
  if (kernel_ == nullptr || closing_) return bytes_sent_;
  return bytes_sent_ + kRecordOverheadBytes * kernel_->records(tls::Direction::send);
}

void Stream::on_connected(int sys_errno) {
  const FlushList::Turn turn(flush_list_);
  if (sys_errno != 0) {
    report_end(StreamEnd::failed, system_error(sys_errno, "connect"));
    return;
  }
  last_progress_ms_ = loop_.now_monotonic_ms();
  channel_->start(pending_);
  mark_dirty();
  receive_more();
  if (channel_->state() == tls::Channel::State::open) report_open();
}

void Stream::on_received(std::span<const std::byte> bytes) {
  bytes_received_ += bytes.size();
  if (ended_) return;
  const FlushList::Turn turn(flush_list_);
  last_progress_ms_ = loop_.now_monotonic_ms();
  receiving_ = true;
  const Status received = channel_->receive(
      bytes, [this](std::span<const std::byte> plain) { deliver(plain); }, pending_);
  receiving_ = false;
  if (!pending_.empty()) mark_dirty();
  if (closing_) return;
  if (!received) {
    fail(received.error());
    return;
  }
  if (channel_->state() != tls::Channel::State::handshaking) report_open();
  go_on();
}

// Behind a receive, and behind the send that the way into the kernel waited for.
void Stream::go_on() {
  if (entering()) enter_kernel();
  if (closing_ || entering()) return;
  if (counted_ == TlsCounters::Path::none && opened_ && !channel_->wants_kernel() &&
      channel_->path() != "plain") {
    count_path(TlsCounters::Path::userspace);
  }
  if (!deferred_plain_.empty()) {
    const tls::Bytes plain = std::exchange(deferred_plain_, {});
    write(plain);
  }
  if (channel_->peer_closed()) {
    report_end(StreamEnd::clean, {});
  } else if (!receives_many_) {
    receive_more();
  }
}

// Nothing may be on its way in either direction: the last receive was a single one, and on_sent
// comes back here.
void Stream::enter_kernel() {
  if (closing_ || !pending_.empty() || socket_.sending()) return;
  auto moved = channel_->move_to_kernel(socket_.fd());
  if (moved) {
    kernel_ = moved->get();
    channel_ = std::move(*moved);
    socket_.set_kernel_tls();
    count_path(TlsCounters::Path::kernel);
  } else if (channel_->state() == tls::Channel::State::failed) {
    fail(moved.error());
  }
}

void Stream::deliver(std::span<const std::byte> plain) {
  report_open();
  if (!closing_ && !ended_) events_.on_stream_data(plain);
}

void Stream::on_receive_end(int sys_errno) {
  const FlushList::Turn turn(flush_list_);
  if (sys_errno != 0) {
    if (kernel_ != nullptr) kernel_->receive_failed(sys_errno);
    fail(system_error(sys_errno, "receive"));
  } else if (channel_->peer_closed() || channel_->path() == "plain") {
    report_end(StreamEnd::clean, {});
  } else {
    report_end(StreamEnd::truncated, {Fault::peer, 0, "connection ended without close_notify", {}});
  }
}

void Stream::on_sent(int sys_errno) {
  const FlushList::Turn turn(flush_list_);
  empty(in_flight_);
  if (sys_errno != 0) {
    empty(pending_);
    lasting_ = {};
    report_end(StreamEnd::failed, system_error(sys_errno, "send"));
    if (finishing_) close();  // there is no more to wait for
    return;
  }
  last_progress_ms_ = loop_.now_monotonic_ms();
  if (std::exchange(control_in_flight_, false)) {
    if (const Status sent = kernel_->control_sent(); !sent) {
      fail(sent.error());
      return;
    }
  }
  if (entering()) go_on();
  const bool drained = pending_.empty() && lasting_.empty() && deferred_plain_.empty();
  if (!drained || finishing_ || kernel_ != nullptr) mark_dirty();
  if (drained) events_.on_stream_drained();
}

void Stream::on_control_record(uint8_t type, std::span<const std::byte> bytes) {
  bytes_received_ += bytes.size();
  if (ended_) return;
  const FlushList::Turn turn(flush_list_);
  last_progress_ms_ = loop_.now_monotonic_ms();
  if (const Status received = kernel_->receive_control(type, bytes); !received) {
    fail(received.error());
    return;
  }
  mark_dirty();  // there may be an answer
  if (kernel_->peer_closed()) report_end(StreamEnd::clean, {});
}

void Stream::on_closed() {
  count_path(TlsCounters::Path::none);
  const FlushList::Turn turn(flush_list_);
  events_.on_stream_closed();
}

void Stream::report_open() {
  if (opened_ || ended_ || closing_) return;
  opened_ = true;
  events_.on_stream_open();
}

void Stream::report_end(StreamEnd end, const Error& error) {
  if (ended_ || closing_) return;
  ended_ = true;
  failed_ = end == StreamEnd::failed;
  events_.on_stream_end(end, error);
}

// With the record layer in the kernel, its last alert goes before the owner hears of the end and
// closes.
void Stream::fail(const Error& error) {
  if (kernel_ != nullptr) {
    empty(pending_);
    lasting_ = {};
    socket_.stop_receiving();  // a record under another key would take the socket with it
    send_queued();
  }
  report_end(StreamEnd::failed, error);
}

void Stream::count_path(TlsCounters::Path path) {
  const auto before = std::exchange(counted_, path);
  if (counters_ == nullptr) return;
  if (before == TlsCounters::Path::kernel) subtract(counters_->kernel_open);
  if (before == TlsCounters::Path::userspace) subtract(counters_->userspace_open);
  if (path == TlsCounters::Path::kernel) {
    add(counters_->kernel_open);
    add(counters_->kernel_total);
  } else if (path == TlsCounters::Path::userspace) {
    add(counters_->userspace_open);
    add(counters_->userspace_total);
  }
}

void Stream::mark_dirty() {
  if (dirty_ || closing_) return;
  dirty_ = true;
  flush_list_.add(*this);
}

void Stream::flush() {
  dirty_ = false;
  send_queued();
}

void Stream::send_queued() {
  if (closing_ || socket_.sending() || !socket_.open() || send_control()) return;
  if (finishing_ && !fin_sent_ && queued_bytes() == 0 && !entering()) {
    channel_->close(pending_);
    if (send_control()) return;
    if (pending_.empty()) {
      end_sending();
      return;
    }
  }
  if (pending_.empty() && lasting_.empty()) return;
  if (kernel_ != nullptr) {
    if (const Status counted = kernel_->count_sent(pending_.size() + lasting_.size()); !counted) {
      fail(counted.error());
      return;
    }
  }
  in_flight_.swap(pending_);
  bytes_sent_ += in_flight_.size() + lasting_.size();
  socket_.send(in_flight_, std::exchange(lasting_, {}));
}

// KeyUpdates and alerts go alone. True when the socket has one now.
bool Stream::send_control() {
  if (kernel_ == nullptr) return false;
  const auto record = kernel_->take_control(!pending_.empty() || !lasting_.empty());
  if (!record) return false;
  control_in_flight_ = true;
  bytes_sent_ += record->bytes.size();
  socket_.send_control(record->type, record->bytes);
  return true;
}

void Stream::end_sending() {
  fin_sent_ = true;
  if (ended_) {
    close();
    return;
  }
  // The kernel may hold records that TCP has not taken yet, and a FIN would overtake them. Then
  // close_notify alone says it, and the FIN comes with close().
  const auto taken = kernel_ == nullptr ? std::nullopt : io::tcp_bytes(socket_.fd());
  if (kernel_ == nullptr || (taken && taken->sent >= wire_sent())) socket_.shutdown_send();
}

}  // namespace tollgate::proxy
