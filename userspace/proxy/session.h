// A client's connection and its requests, one after the other. session.cc reads from top to bottom
// as a request lives: accepted, head, body, admitted, upstream, relayed, settled, next.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "policy/decision.h"
#include "userspace/base/ids.h"
#include "userspace/base/ip.h"
#include "userspace/proxy/client_socket.h"
#include "userspace/proxy/exchange.h"
#include "userspace/proxy/stream.h"
#include "userspace/proxy/upstream.h"

namespace tollgate::proxy {

struct LocalAnswer;
class Worker;

struct SessionInfo {  // for `tollgate sessions`
  RequestId id;
  std::string user;
  std::string model;
  std::string state;
  int64_t started_unix_ms = 0;
  uint64_t events = 0;
  uint64_t bytes_down = 0;
  std::string peer_address;
  std::string session_id;
  std::string via;  // where the client meant to go, when it was intercepted
  NanoUsd hold_cost;
};

struct Accepted {
  UniqueFd fd;
  PeerTag tag;  // peer_id 0: unknown
  Endpoint remote;
  uint64_t flow_id = 0;
  std::optional<Endpoint> via{};  // the provider's address that the client connected to
};

// A client this far behind makes us stop reading, its answer and what it sends.
inline constexpr size_t kClientQueueBytesMax = 256 * 1024;

class Session final : StreamEvents, UpstreamUser {
 public:
  Session(Worker& worker, Accepted accepted);
  ~Session();

  void on_durable(uint64_t sequence);  // that record, of the hold or of the usage, is on disk
  void sweep(int64_t now_ms);          // deadlines
  void drain();                        // no further request; closes at once when idle
  // Ends what runs, settled: a drain is over, or the request is no longer allowed.
  void cut(policy::Refusal why);
  void follow_policy();   // another policy is in force: may what runs go on?
  void on_body_memory();  // there may be memory for the body now
  void close_session();   // now; nothing is waited for
  bool info(SessionInfo& out) const;
  bool may_be_admitted() const;  // its request is coming in, or may come yet
  uint32_t peer_id() const { return tag_.peer_id; }

  size_t index = 0;  // the worker's, in its list of sessions

 private:
  enum class State : uint8_t {
    handshake,
    head,    // between requests, or a head is coming in
    memory,  // the body waits until there is memory for it
    body,
    hold,       // admitted: the hold is on its way to the disk
    upstream,   // connection, request, answer head
    relay,      // the answer goes through
    abandoned,  // the client has left; the answer may still tell what it cost
    settle,     // its end waits for the record
    linger,     // answered and finished; what the client still sends is dropped
    closing,
  };

  void on_stream_open() override;
  void on_stream_data(std::span<const std::byte> plain) override;
  void on_stream_end(StreamEnd end, const Error& error) override;
  void on_stream_drained() override;
  void on_stream_closed() override;

  void on_upstream_redialled(UpstreamConnection& connection) override;
  void on_upstream_ready() override;
  void on_upstream_head(const codec::ResponseHead& head) override;
  void on_upstream_body(std::span<const std::byte> bytes) override;
  void on_upstream_end() override;
  void on_upstream_failed(policy::RefusalCode code, const std::string& why) override;

  void process_input();
  bool read_head();
  std::unique_ptr<Exchange> new_exchange();
  void begin_request();
  void name_session(const codec::RequestHead& head);
  bool identify_request();
  void route();
  void begin_stored();
  void begin_body();
  void start_body();
  void read_body(std::span<const std::byte>& bytes);
  bool meant_for_here();
  bool append_body(std::span<const std::byte> bytes);
  bool decode();
  void end_body();
  codec::InspectResult inspect(const Body& text);
  void judge_request(codec::InspectResult inspected);
  void weigh_request();
  bool admit_request(bool free);
  void hold_request();
  bool rewrite_body();
  void void_request(policy::Refusal refusal);
  void go_upstream();
  void go_upstream_by_http();
  void attribute_traffic();
  void on_settled();
  bool read_on_without_client();
  void send_keepalive(int64_t now_ms);
  bool rests_too_long(int64_t in_state_ms) const;
  void end_stalled(int64_t now_ms);
  bool keeps_others_waiting(int64_t now_ms) const;
  std::string limit_fields() const;
  void take_answer(std::span<const std::byte> plain);
  void pause_upstream();
  void relay_events(std::span<const std::byte> bytes);
  void settle_exchange(ringbuf::Outcome outcome, const codec::ResponseFacts* facts,
                       Exchange::Then then);
  // One chunk to the client around two runs of bytes; nothing when both are empty.
  void write_chunk(std::span<const std::byte> first, std::span<const std::byte> second = {});
  void finish_answer();
  void fail_answer();
  void answer_locally(LocalAnswer answer);
  void refuse(policy::Refusal refusal);
  void refuse_head(const codec::HeadResult& result);
  void send_refusal(const policy::Refusal& refusal);
  void on_settle_timeout();
  void end_exchange(bool keep_alive);
  bool answer_begun() const;
  policy::Refusal upstream_refusal(policy::RefusalCode code) const;

  // websocket.cc: the client's side of a WebSocket,
  void begin_websocket();
  void read_frames(std::span<const std::byte>& bytes);
  void take_message(std::span<const std::byte> run, bool last);
  void begin_message();
  void pass_notice();
  void end_message();
  void write_frame(codec::WebSocketOpcode opcode, std::span<const std::byte> payload);
  void write_event(std::string_view event);
  void close_websocket(uint16_t code, std::string_view reason);
  void end_websocket();
  void sweep_websocket(int64_t now_ms);
  // the provider's,
  bool bridges() const;
  void send_message();
  void ask_for_link();
  void send_on_link();
  void send_by_http();
  void forget_items();
  void keep_items();
  void answer_prewarm();
  void on_link_head(const codec::ResponseHead& head);
  void on_link_body(std::span<const std::byte> bytes);
  void forget_link();
  void drop_link();
  // and the events between them.
  void on_split_events(std::span<const std::byte> bytes);
  void on_event(std::string_view event);
  void on_stray_event(std::string_view event);
  void begin_answer();
  void on_error_event(int status);
  void release_message();
  void finish_message();
  void fail_message();

  void set_state(State state);
  std::string_view state_name() const;
  std::string via_field() const;  // " via=198.51.100.7:443", behind an access line

  Worker& worker_;
  Stream stream_;
  PeerTag tag_;
  Endpoint remote_;
  uint64_t flow_id_;
  std::optional<Endpoint> via_;
  State state_ = State::handshake;
  bool processing_ = false;  // process_input is on the stack
  bool draining_ = false;
  bool paused_upstream_ = false;
  bool stream_closed_ = false;
  bool served_ = false;  // at least one request was answered
  int64_t since_ms_;     // when the state began
  std::string input_;    // bytes not yet read as head or body
  size_t scanned_ = 0;
  uint64_t body_remaining_ = 0;
  std::unique_ptr<Exchange> exchange_;
  std::unique_ptr<ClientSocket> ws_;  // once the connection is a WebSocket
};

}  // namespace tollgate::proxy
