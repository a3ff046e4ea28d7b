// Connections to providers: dialled, verified, kept and used again, since clients never reuse
// theirs. One exchange at a time per connection; anything that leaves its framing in doubt closes
// it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "policy/decision.h"
#include "policy/policy_parse.h"
#include "userspace/codec/http1.h"
#include "userspace/io/loop.h"
#include "userspace/proxy/body.h"
#include "userspace/proxy/snapshot.h"
#include "userspace/proxy/stream.h"

namespace tollgate::proxy {

class UpstreamConnection;
class UpstreamPool;

// What an exchange hears from its connection. After on_upstream_end or on_upstream_failed the
// connection is no longer the exchange's and nothing more is called.
class UpstreamUser {
 public:
  // The first address failed and the next is being dialled: this connection replaces the old one.
  virtual void on_upstream_redialled(UpstreamConnection& connection) = 0;
  virtual void on_upstream_ready() = 0;                                // send_request may be called
  virtual void on_upstream_head(const codec::ResponseHead& head) = 0;  // final one, never 1xx
  virtual void on_upstream_body(std::span<const std::byte> bytes) = 0;
  virtual void on_upstream_end() = 0;  // the message is complete
  virtual void on_upstream_failed(policy::RefusalCode code, const std::string& why) = 0;

 protected:
  ~UpstreamUser() = default;
};

// TCP payload of a connection that belongs to one exchange: from when it took the connection, so
// with the handshake where it made it, to now; to the very end where the exchange ended it.
struct Traffic {
  uint64_t flow_id = 0;  // socket cookie
  uint64_t sent = 0;
  uint64_t received = 0;
};

class UpstreamConnection final : StreamEvents {
 public:
  UpstreamConnection(UpstreamPool& pool, std::shared_ptr<const Target> target,
                     size_t address_index);

  // `head` is written anew by forward.h and wiped here. The body goes with the connection, since
  // the kernel may still read from it when the exchange is gone.
  void send_request(std::string head, Body body);
  // Asks for a WebSocket; a 101 is the answer's head, and its body is frames, without end.
  void send_upgrade(std::string head);
  // On an upgraded connection. The second is for what is small, and is lost while a message of
  // the first is on its way.
  void send_frames(Body frames);
  void send_control(std::span<const std::byte> frame);
  // What the connection carries from now on belongs to the next exchange.
  void begin_share();
  // An upgraded connection between two exchanges is not late, however long it is silent.
  void rest(bool resting) { resting_ = resting; }
  void pause() { stream_.pause(); }
  void resume() { stream_.resume(); }
  // The exchange lets go before the end: the connection is closed.
  void abandon();
  // The exchange has all it wants; the rest of the message is read and dropped within bounds, so
  // that the connection can be used again.
  void finish_reading();

  // Of the present exchange, or of the one that has just ended: until the next one takes it.
  Traffic traffic() const;

  const std::string& pool_key() const { return target_->pool_key; }

 private:
  friend class UpstreamPool;
  enum class State : uint8_t { connecting, idle, exchange, finishing, closing };
  enum class Reading : uint8_t { head, body, done };

  void start();
  void on_stream_open() override;
  void on_stream_data(std::span<const std::byte> plain) override;
  void on_stream_end(StreamEnd end, const Error& error) override;
  void on_stream_drained() override;
  void on_stream_closed() override;
  bool read_head();
  void read_body(std::span<const std::byte> bytes);
  bool read_chunks(std::span<const std::byte> bytes);
  void pass_body(std::span<const std::byte> bytes);
  void send_body(Body body);
  void send_body_slice();
  void complete();
  void fail(policy::RefusalCode code, const std::string& why);
  void dispose();
  void begin_exchange(UpstreamUser& user);
  void stop_traffic();
  bool timed_out(int64_t now_ms, const policy::Limits& limits);

  UpstreamPool& pool_;
  std::shared_ptr<const Target> target_;
  size_t address_index_;
  UpstreamUser* user_ = nullptr;
  Stream stream_;
  State state_ = State::connecting;
  Reading reading_ = Reading::done;
  std::string head_;  // of the response, while it is incomplete
  size_t scanned_ = 0;
  codec::BodyFraming framing_ = codec::BodyFraming::none;
  uint64_t body_remaining_ = 0;
  codec::ChunkedDecoder chunks_;
  bool keep_alive_ = true;
  std::optional<Body> body_;           // of the request, until it is sent
  std::span<const std::byte> unsent_;  // the part of it that the stream does not have
  bool request_sent_ = true;
  bool upgrading_ = false;  // a 101 was asked for
  bool resting_ = false;
  int64_t since_ms_ = 0;  // when the present state began
  uint64_t dropped_bytes_ = 0;
  // For traffic(): what the connection had carried when the exchange took it, and at its end.
  Traffic before_;
  std::optional<Traffic> final_;
};

class UpstreamPool {
 public:
  // `emptied` is called when the last connection has gone.
  UpstreamPool(io::Loop& loop, FlushList& flush_list, const policy::Limits& limits,
               TlsCounters& tls_counters, std::function<void()> emptied);
  ~UpstreamPool();

  // Returns a connection that belongs to `user` until its exchange ends: an idle one (ready() is
  // true: use it at once) or one being dialled (on_upstream_ready comes later). Null when no
  // socket could be made; `why` says so.
  UpstreamConnection* acquire(std::shared_ptr<const Target> target, UpstreamUser& user,
                              std::string& why);
  static bool ready(const UpstreamConnection& connection) {
    return connection.state_ == UpstreamConnection::State::exchange;
  }

  void sweep(int64_t now_ms);  // timeouts; called about twice a second
  void close_idle();           // when draining
  void close_all();            // at the end: no user is told
  bool empty() const { return connections_.empty(); }
  struct Count {
    size_t idle = 0;
    size_t busy = 0;
  };
  std::unordered_map<std::string, Count> counts() const;  // by provider

 private:
  friend class UpstreamConnection;
  UpstreamConnection* dial(std::shared_ptr<const Target> target, size_t address_index,
                           UpstreamUser& user, std::string& why);
  void put_idle(UpstreamConnection& connection);
  void forget_idle(UpstreamConnection& connection);
  void remove(UpstreamConnection& connection);

  io::Loop& loop_;
  FlushList& flush_list_;
  const policy::Limits& limits_;
  TlsCounters& tls_counters_;
  std::function<void()> emptied_;
  BodyMemory no_memory_{0};  // of requests without a body
  std::unordered_map<UpstreamConnection*, std::unique_ptr<UpstreamConnection>> connections_;
  std::unordered_map<std::string, std::vector<UpstreamConnection*>> idle_;  // by pool key, LIFO
};

}  // namespace tollgate::proxy
