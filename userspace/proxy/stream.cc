#include "userspace/proxy/stream.h"

#include <algorithm>
#include <utility>

namespace tollgate::proxy {
namespace {

// Buffers above this are given back when empty: thousands of open streams are idle most of the
// time, and an event is a few hundred bytes.
constexpr size_t kKeptBufferBytes = 4096;

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

Stream::Stream(io::Loop& loop, FlushList& flush_list, StreamEvents& events)
    : loop_(loop), flush_list_(flush_list), events_(events), socket_(loop, *this) {}

Stream::~Stream() {
  if (dirty_) flush_list_.remove(*this);
}

void Stream::accept(UniqueFd fd, std::unique_ptr<tls::Channel> channel) {
  channel_ = std::move(channel);
  last_progress_ms_ = loop_.now_monotonic_ms();
  socket_.adopt(std::move(fd));
  channel_->start(pending_);
  if (channel_->state() == tls::Channel::State::open) report_open();
  socket_.start_receiving();
}

Status Stream::connect(const Endpoint& remote, std::unique_ptr<tls::Channel> channel) {
  channel_ = std::move(channel);
  last_progress_ms_ = loop_.now_monotonic_ms();
  return socket_.connect(remote);
}

void Stream::write(std::span<const std::byte> plain) {
  if (closing_ || ended_with_failure() || plain.empty()) return;
  TG_ASSERT(lasting_.empty());
  if (receiving_) {
    deferred_plain_.insert(deferred_plain_.end(), plain.begin(), plain.end());
    return;
  }
  if (const Status sent = channel_->send(plain, pending_); !sent) {
    report_end(StreamEnd::failed, sent.error());
  }
  mark_dirty();
}

void Stream::write_lasting(std::span<const std::byte> plain) {
  if (channel_->path() != "plain" || !deferred_plain_.empty()) {
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
  socket_.stop_receiving();
}

void Stream::resume() {
  if (!closing_ && !ended_) socket_.start_receiving();
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
  socket_.start_receiving();
  if (channel_->state() == tls::Channel::State::open) report_open();
}

void Stream::on_received(std::span<const std::byte> bytes) {
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
    report_end(StreamEnd::failed, received.error());
    return;
  }
  if (channel_->state() != tls::Channel::State::handshaking) report_open();
  if (!deferred_plain_.empty()) {
    const tls::Bytes plain = std::exchange(deferred_plain_, {});
    write(plain);
  }
  if (channel_->peer_closed()) report_end(StreamEnd::clean, {});
}

void Stream::deliver(std::span<const std::byte> plain) {
  report_open();
  if (!closing_ && !ended_) events_.on_stream_data(plain);
}

void Stream::on_receive_end(int sys_errno) {
  const FlushList::Turn turn(flush_list_);
  if (sys_errno != 0) {
    report_end(StreamEnd::failed, system_error(sys_errno, "receive"));
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
    return;
  }
  last_progress_ms_ = loop_.now_monotonic_ms();
  const bool drained = pending_.empty() && lasting_.empty();
  if (!drained || finishing_) mark_dirty();
  if (drained) events_.on_stream_drained();
}

void Stream::on_closed() {
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

void Stream::mark_dirty() {
  if (dirty_ || closing_) return;
  dirty_ = true;
  flush_list_.add(*this);
}

void Stream::flush() {
  dirty_ = false;
  if (closing_ || socket_.sending() || !socket_.open()) return;
  if (pending_.empty() && lasting_.empty() && finishing_ && !fin_sent_) {
    channel_->close(pending_);
    if (pending_.empty()) {
      fin_sent_ = true;
      if (ended_) {
        close();
      } else {
        socket_.shutdown_send();
      }
      return;
    }
  }
  if (pending_.empty() && lasting_.empty()) return;
  in_flight_.swap(pending_);
  socket_.send(in_flight_, std::exchange(lasting_, {}));
}

}  // namespace tollgate::proxy
