#include "userspace/proxy/upstream.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "userspace/io/tcp_info.h"

namespace tollgate::proxy {
namespace {

using policy::RefusalCode;

// One slice is encrypted and sent before the next is touched: a 30 MB body costs 64 KB of records.
// A last slice takes the remainder along.
constexpr size_t kBodySliceBytes = 64 * 1024;
constexpr size_t kIdleConnectionsMax = 1024;  // per worker and provider
// What is read and dropped behind a terminal event to save the connection.
constexpr uint64_t kFinishBytesMax = 64 * 1024;
constexpr int64_t kFinishMs = 2000;

}  // namespace

UpstreamConnection::UpstreamConnection(UpstreamPool& pool, std::shared_ptr<const Target> target,
                                       size_t address_index)
    : pool_(pool),
      target_(std::move(target)),
      address_index_(address_index),
      stream_(pool.loop_, pool.flush_list_, *this, &pool.tls_counters_),
      since_ms_(pool.loop_.now_monotonic_ms()) {}

void UpstreamConnection::send_request(std::string head, Body body) {
  TG_ASSERT(state_ == State::exchange);
  reading_ = Reading::head;
  scanned_ = 0;
  chunks_ = {};
  const FlushList::Turn turn(pool_.flush_list_);
  stream_.write(head);
  wipe(head);
  send_body(std::move(body));
}

void UpstreamConnection::send_upgrade(std::string head) {
  upgrading_ = true;
  send_request(std::move(head), Body(pool_.no_memory_));
}

void UpstreamConnection::send_frames(Body frames) {
  TG_ASSERT(upgrading_);
  const FlushList::Turn turn(pool_.flush_list_);
  send_body(std::move(frames));
}

void UpstreamConnection::send_control(std::span<const std::byte> frame) {
  if (!request_sent_ || !stream_.open()) return;
  const FlushList::Turn turn(pool_.flush_list_);
  stream_.write(frame);
}

void UpstreamConnection::send_body(Body body) {
  request_sent_ = false;
  body_.emplace(std::move(body));
  unsent_ = body_->bytes();
  since_ms_ = pool_.loop_.now_monotonic_ms();
  send_body_slice();
}

void UpstreamConnection::begin_share() {
  before_ = {before_.flow_id, stream_.wire_sent(), stream_.wire_received()};
}

void UpstreamConnection::send_body_slice() {
  const size_t slice = unsent_.size() < 2 * kBodySliceBytes ? unsent_.size() : kBodySliceBytes;
  stream_.write_lasting(unsent_.first(slice));
  unsent_ = unsent_.subspan(slice);
}

void UpstreamConnection::begin_exchange(UpstreamUser& user) {
  user_ = &user;
  before_ = {before_.flow_id, stream_.wire_sent(), stream_.wire_received()};
  if (before_.flow_id == 0) before_.flow_id = io::cookie_of(stream_.fd());
}

Traffic UpstreamConnection::traffic() const {
  Traffic now{before_.flow_id, stream_.wire_sent(), stream_.wire_received()};
  // An answer that ends before its request was sent: the rest is the exchange's, too.
  if (!request_sent_) now.sent += stream_.queued_bytes() + unsent_.size();
  if (final_) now = *final_;
  now.sent -= std::min(before_.sent, now.sent);
  now.received -= std::min(before_.received, now.received);
  return now;
}

// Whatever lies unread in the socket belongs to the exchange that ends the connection. After the
// shutdown the kernel takes nothing more in either direction, so its count is final.
void UpstreamConnection::stop_traffic() {
  if (state_ == State::connecting || stream_.fd() < 0) return;
  ::shutdown(stream_.fd(), SHUT_RDWR);
  const auto carried = io::tcp_bytes(stream_.fd());
  if (carried) final_ = Traffic{before_.flow_id, carried->sent, carried->received};
}

void UpstreamConnection::abandon() {
  user_ = nullptr;
  dispose();
}

void UpstreamConnection::finish_reading() {
  user_ = nullptr;
  if (!request_sent_ || framing_ == codec::BodyFraming::until_close) {
    dispose();
    return;
  }
  state_ = State::finishing;
  since_ms_ = pool_.loop_.now_monotonic_ms();
  stream_.resume();
}

void UpstreamConnection::on_stream_open() {
  if (state_ != State::connecting) return;
  state_ = State::exchange;
  if (user_ != nullptr) user_->on_upstream_ready();
}

void UpstreamConnection::on_stream_data(std::span<const std::byte> plain) {
  if (state_ == State::idle || (state_ == State::exchange && reading_ == Reading::done)) {
    // Bytes nobody asked for: whatever they are, they must not answer the next request.
    fail(RefusalCode::upstream_protocol, "the provider sent bytes outside of an answer");
    return;
  }
  if (reading_ == Reading::head) {
    head_.append(reinterpret_cast<const char*>(plain.data()), plain.size());
    read_head();
  } else {
    read_body(plain);
  }
}

// Handles all complete heads in head_; what follows the final one goes to read_body.
bool UpstreamConnection::read_head() {
  while (state_ == State::exchange && reading_ == Reading::head) {
    codec::ResponseHead head;
    const codec::HeadResult result = codec::parse_response_head(
        head_, {.bytes_max = pool_.limits_.head_bytes_max * size_t{8}, .fields_max = 200}, "POST",
        scanned_, head);
    if (result.state == codec::HeadState::need_more) return false;
    if (result.state == codec::HeadState::fault) {
      fail(RefusalCode::upstream_protocol, "the provider's answer: " + std::string(result.why));
      return false;
    }
    scanned_ = 0;
    const bool upgraded = upgrading_ && head.status == 101;
    if (head.status < 200 && !upgraded) {  // 100 and 103 mean nothing here
      if (head.status == 101) {
        fail(RefusalCode::upstream_protocol, "the provider switched protocols unasked");
        return false;
      }
      head_.erase(0, result.head_bytes);
      continue;
    }
    reading_ = Reading::body;
    framing_ = upgraded ? codec::BodyFraming::until_close : head.framing;
    body_remaining_ = head.content_length;
    keep_alive_ = head.keep_alive && framing_ != codec::BodyFraming::until_close;
    // The views of `head` point into `whole`, which lives until the user has read them.
    const std::string whole = std::exchange(head_, {});
    if (user_ != nullptr) user_->on_upstream_head(head);
    if (state_ == State::exchange || state_ == State::finishing) {
      read_body(std::as_bytes(std::span(whole)).subspan(result.head_bytes));
    }
    return true;
  }
  return false;
}

void UpstreamConnection::read_body(std::span<const std::byte> bytes) {
  switch (framing_) {
    case codec::BodyFraming::none:
      if (!bytes.empty()) keep_alive_ = false;
      complete();
      return;
    case codec::BodyFraming::until_close:
      pass_body(bytes);
      return;
    case codec::BodyFraming::length: {
      const size_t own = static_cast<size_t>(std::min<uint64_t>(bytes.size(), body_remaining_));
      if (own < bytes.size()) keep_alive_ = false;
      body_remaining_ -= own;
      pass_body(bytes.first(own));
      if (body_remaining_ == 0) complete();
      return;
    }
    case codec::BodyFraming::chunked:
      if (read_chunks(bytes)) complete();
      return;
  }
}

// True when the last chunk and the trailers were read.
bool UpstreamConnection::read_chunks(std::span<const std::byte> bytes) {
  while (state_ == State::exchange || state_ == State::finishing) {
    const auto step = chunks_.next(bytes);
    switch (step.state) {
      case codec::ChunkedDecoder::State::data:
        pass_body(step.data);
        break;
      case codec::ChunkedDecoder::State::need_more:
        return false;
      case codec::ChunkedDecoder::State::done:
        if (!bytes.empty()) keep_alive_ = false;
        return true;
      case codec::ChunkedDecoder::State::fault:
        fail(RefusalCode::upstream_protocol, "the provider's chunked coding is malformed");
        return false;
    }
  }
  return false;
}

void UpstreamConnection::pass_body(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  if (user_ != nullptr) {
    user_->on_upstream_body(bytes);
    return;
  }
  dropped_bytes_ += bytes.size();
  if (dropped_bytes_ > kFinishBytesMax) dispose();
}

void UpstreamConnection::complete() {
  if (state_ != State::exchange && state_ != State::finishing) return;
  reading_ = Reading::done;
  UpstreamUser* user = std::exchange(user_, nullptr);
  // An answer before the request was read to its end leaves the rest of the request in the way.
  if (keep_alive_ && request_sent_) {
    pool_.put_idle(*this);
  } else {
    dispose();
  }
  if (user != nullptr) user->on_upstream_end();
}

void UpstreamConnection::on_stream_end(StreamEnd end, const Error& error) {
  if (state_ == State::closing) return;
  if (state_ == State::connecting) {
    if (tls::is_certificate_error(error)) {
      fail(RefusalCode::upstream_certificate, error.text);
      return;
    }
    // The next address of the provider gets its chance before the request is refused.
    UpstreamUser* user = std::exchange(user_, nullptr);
    const std::string why = error.text.empty() ? "connection closed in the handshake" : error.text;
    dispose();
    if (user == nullptr) return;
    std::string ignored;
    UpstreamConnection* next = address_index_ + 1 < target_->addresses.size()
                                   ? pool_.dial(target_, address_index_ + 1, *user, ignored)
                                   : nullptr;
    if (next != nullptr) {
      user->on_upstream_redialled(*next);
    } else {
      user->on_upstream_failed(RefusalCode::upstream_unreachable, why);
    }
    return;
  }
  if (state_ != State::idle && reading_ == Reading::body &&
      framing_ == codec::BodyFraming::until_close && end == StreamEnd::clean) {
    keep_alive_ = false;
    complete();
    return;
  }
  fail(RefusalCode::upstream_unreachable,
       error.text.empty() ? "the provider closed the connection" : error.text);
}

void UpstreamConnection::on_stream_drained() {
  if (state_ != State::exchange || request_sent_) return;
  if (!unsent_.empty()) {
    send_body_slice();
    return;
  }
  request_sent_ = true;
  since_ms_ = pool_.loop_.now_monotonic_ms();
  body_.reset();
}

void UpstreamConnection::on_stream_closed() {
  pool_.remove(*this);
}

void UpstreamConnection::fail(RefusalCode code, const std::string& why) {
  UpstreamUser* user = std::exchange(user_, nullptr);
  dispose();
  if (user != nullptr) user->on_upstream_failed(code, why);
}

void UpstreamConnection::dispose() {
  if (state_ == State::closing) return;
  if (state_ == State::idle) pool_.forget_idle(*this);
  stop_traffic();
  state_ = State::closing;
  unsent_ = {};
  stream_.close();
}

bool UpstreamConnection::timed_out(int64_t now_ms, const policy::Limits& limits) {
  const auto over = [now_ms](int64_t since_ms, uint32_t limit_ms) {
    return now_ms - since_ms > int64_t{limit_ms};
  };
  switch (state_) {
    case State::connecting:
      return over(since_ms_, limits.upstream_connect_ms);
    case State::idle:
      return over(since_ms_, limits.upstream_idle_pool_ms);
    case State::exchange:
      if (resting_) return false;
      if (!request_sent_) return over(stream_.last_progress_ms(), limits.upstream_silence_ms);
      if (reading_ == Reading::head) return over(since_ms_, limits.upstream_first_byte_ms);
      return over(stream_.last_progress_ms(), limits.upstream_silence_ms);
    case State::finishing:
      return now_ms - since_ms_ > kFinishMs;
    case State::closing:
      return false;
  }
  return false;
}

UpstreamPool::UpstreamPool(io::Loop& loop, FlushList& flush_list, const policy::Limits& limits,
                           TlsCounters& tls_counters, std::function<void()> emptied)
    : loop_(loop),
      flush_list_(flush_list),
      limits_(limits),
      tls_counters_(tls_counters),
      emptied_(std::move(emptied)) {}

UpstreamPool::~UpstreamPool() = default;

UpstreamConnection* UpstreamPool::acquire(std::shared_ptr<const Target> target, UpstreamUser& user,
                                          std::string& why) {
  const auto found = idle_.find(target->pool_key);
  if (found != idle_.end() && !found->second.empty()) {
    UpstreamConnection* connection = found->second.back();
    found->second.pop_back();
    connection->state_ = UpstreamConnection::State::exchange;
    connection->begin_exchange(user);
    connection->target_ = std::move(target);
    return connection;
  }
  return dial(std::move(target), 0, user, why);
}

UpstreamConnection* UpstreamPool::dial(std::shared_ptr<const Target> target, size_t address_index,
                                       UpstreamUser& user, std::string& why) {
  if (target->addresses.empty()) {
    why = target->host + " has no known address";
    return nullptr;
  }
  const Endpoint address = target->addresses[address_index];
  auto channel = target->tls ? target->tls->make_channel() : tls::make_plain_channel();
  auto connection = std::make_unique<UpstreamConnection>(*this, std::move(target), address_index);
  if (const Status dialled = connection->stream_.connect(address, std::move(channel)); !dialled) {
    why = dialled.error().text;
    return nullptr;
  }
  UpstreamConnection* raw = connection.get();
  raw->begin_exchange(user);
  connections_.emplace(raw, std::move(connection));
  return raw;
}

void UpstreamPool::put_idle(UpstreamConnection& connection) {
  auto& idle = idle_[connection.pool_key()];
  if (idle.size() >= kIdleConnectionsMax) {
    connection.dispose();
    return;
  }
  connection.state_ = UpstreamConnection::State::idle;
  connection.dropped_bytes_ = 0;
  connection.since_ms_ = loop_.now_monotonic_ms();
  connection.stream_.resume();
  idle.push_back(&connection);
}

void UpstreamPool::forget_idle(UpstreamConnection& connection) {
  std::erase(idle_[connection.pool_key()], &connection);
}

void UpstreamPool::remove(UpstreamConnection& connection) {
  connections_.erase(&connection);
  if (connections_.empty()) emptied_();
}

void UpstreamPool::sweep(int64_t now_ms) {
  std::vector<UpstreamConnection*> late;
  for (const auto& [raw, owned] : connections_) {
    if (raw->timed_out(now_ms, limits_)) late.push_back(raw);
  }
  for (UpstreamConnection* connection : late) {
    connection->fail(policy::RefusalCode::upstream_timeout,
                     connection->state_ == UpstreamConnection::State::connecting
                         ? "the provider could not be reached in time"
                         : "the provider sent nothing for too long");
  }
}

void UpstreamPool::close_idle() {
  for (auto& [key, idle] : idle_) {
    for (UpstreamConnection* connection : std::vector(idle))
      connection->dispose();
  }
}

void UpstreamPool::close_all() {
  for (const auto& [raw, owned] : connections_)
    raw->abandon();
}

std::unordered_map<std::string, UpstreamPool::Count> UpstreamPool::counts() const {
  std::unordered_map<std::string, Count> counts;
  for (const auto& [raw, owned] : connections_) {
    auto& count = counts[raw->target_->provider];
    ++(raw->state_ == UpstreamConnection::State::idle ? count.idle : count.busy);
  }
  return counts;
}

}  // namespace tollgate::proxy
