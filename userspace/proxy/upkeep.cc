// What time and the worker do to a session: deadlines, keepalives, draining, cutting. The request's
// own way is in session.cc and relay.cc.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "userspace/proxy/forward.h"
#include "userspace/proxy/session.h"
#include "userspace/proxy/worker.h"

namespace tollgate::proxy {
namespace {

using policy::Refusal;
using policy::RefusalCode;

// After a refusal the client may still be sending its body; reading it avoids the RST that would
// destroy the answer before it was read (RFC 9112 9.6).
constexpr int64_t kLingerMs = 10'000;
// Behind a close frame the client has nothing more to say than its own.
constexpr int64_t kCloseMs = 1'000;
// Who connected just before a drain hears in words why he is not served, if he asks within this.
constexpr int64_t kFirstRequestMs = 1'000;
// A client that sends nothing for so long is gone, or means to be in the way.
constexpr int64_t kSilentBodyMs = 10'000;
// How long an answer's end may wait for its record. The record itself stays in line for the ledger.
constexpr int64_t kSettleMs = 5'000;

}  // namespace

void Session::sweep(int64_t now_ms) {
  const policy::Limits& limits = worker_.shared_.limits;
  const auto in_state_ms = now_ms - since_ms_;
  switch (state_) {
    case State::handshake:
      if (in_state_ms > (draining_ ? kFirstRequestMs : int64_t{limits.client_request_ms})) {
        add(worker_.counters_.handshakes_failed);
        close_session();
      }
      return;
    case State::head:
      if (ws_) {
        sweep_websocket(now_ms);
      } else if (rests_too_long(in_state_ms)) {
        close_session();
      }
      return;
    case State::memory:
      if (in_state_ms > int64_t{limits.client_request_ms}) {
        refuse({RefusalCode::overloaded,
                "The gateway has had no memory for this request for too long. Try again.",
                {}});
      }
      return;
    case State::body:
      if (in_state_ms > int64_t{limits.client_request_ms} || keeps_others_waiting(now_ms)) {
        refuse({RefusalCode::request_timeout,
                "The request's body did not arrive in time. Try again.",
                {}});
      }
      return;
    case State::hold:
      if (in_state_ms > kSettleMs) {
        add(worker_.counters_.settle_timeouts);
        void_request(store_refusal(worker_.snapshot_->policy->contact()));
      }
      return;
    case State::abandoned: {
      const bool cancel =
          exchange_->admission.rule->on_client_abort == policy::OnClientAbort::cancel;
      if (in_state_ms > int64_t{cancel ? limits.abort_drain_ms : limits.upstream_first_byte_ms}) {
        settle_exchange(ringbuf::Outcome::client_abort, nullptr, Exchange::Then::cut);
      }
      return;
    }
    case State::relay:
      send_keepalive(now_ms);
      [[fallthrough]];
    case State::upstream:
      end_stalled(now_ms);
      return;
    case State::settle:
      if (in_state_ms > kSettleMs) on_settle_timeout();
      return;
    case State::linger:
      if (in_state_ms > (ws_ ? kCloseMs : kLingerMs)) close_session();
      return;
    case State::closing:
      return;
  }
}

bool Session::rests_too_long(int64_t in_state_ms) const {
  const policy::Limits& limits = worker_.shared_.limits;
  if (!input_.empty()) return in_state_ms > int64_t{limits.client_request_ms};
  return in_state_ms > int64_t{limits.client_idle_ms} ||
         (draining_ && in_state_ms > kFirstRequestMs);
}

// A client that takes none of its answer has left in all but name.
void Session::end_stalled(int64_t now_ms) {
  if (stream_.queued_bytes() == 0 ||
      now_ms - stream_.last_progress_ms() <= int64_t{worker_.shared_.limits.client_stall_ms}) {
    return;
  }
  if (exchange_->settled) {
    close_session();
  } else {
    settle_exchange(ringbuf::Outcome::client_abort, nullptr, Exchange::Then::cut);
  }
}

// The memory of a body is its own from its first byte on. While others wait for it, its client must
// go on sending.
bool Session::keeps_others_waiting(int64_t now_ms) const {
  return now_ms - std::max(since_ms_, stream_.last_progress_ms()) > kSilentBodyMs &&
         worker_.shared_.body_memory.has_line();
}

// Codex gives up on a stream that is silent for long, and counts any event as life; comments it
// does not count. The event goes between two others, never into one.
void Session::send_keepalive(int64_t now_ms) {
  Exchange& exchange = *exchange_;
  if ((!exchange.scanner && !ws_) || exchange.settled || stream_.queued_bytes() > 0 ||
      now_ms - exchange.last_event_ms < int64_t{worker_.shared_.limits.keepalive_ms} ||
      (exchange.scanner && !exchange.scanner->between_events())) {
    return;
  }
  constexpr std::string_view kEvent = R"({"type":"gateway.keepalive"})";
  if (ws_) {
    write_event(kEvent);
  } else {
    // Programs that read a chat expect its chunks and nothing else: they get a comment.
    const bool chat = exchange.route.api == codec::Api::chat_completions;
    const std::string event = chat ? ": keepalive\n\n" : "data: " + std::string(kEvent) + "\n\n";
    write_chunk(std::as_bytes(std::span(event)));
  }
  exchange.last_event_ms = now_ms;
}

// The ledger cannot write: the client must not wait for ever, and must not see the end of an answer
// that is not recorded.
void Session::on_settle_timeout() {
  add(worker_.counters_.settle_timeouts);
  worker_.forget(*this);
  if (exchange_->then == Exchange::Then::fail) {
    fail_answer();  // the end of no answer, so nothing is hidden by saying why
    return;
  }
  if (ws_ || answer_begun()) {
    close_session();
    return;
  }
  add(worker_.counters_.refused[static_cast<size_t>(RefusalCode::store_unavailable)]);
  send_refusal(store_refusal(worker_.snapshot_->policy->contact()));
}

void Session::drain() {
  draining_ = true;
  if (!served_ || state_ != State::head || !input_.empty()) return;
  if (!ws_) {
    close_session();
  } else if (!ws_->incoming) {
    close_websocket(codec::kCloseServiceRestart, "the gateway restarts");
  }
}

// Mid-stream, what time mends is a stream without an end, which the client asks for again by
// itself; anything else is an event that says why and makes it stop.
void Session::cut(Refusal why) {
  if (!exchange_ || !exchange_->admitted || exchange_->settled) {
    if (state_ != State::settle) close_session();
    return;
  }
  spdlog::warn("request={} user={} cut: {}", to_string(exchange_->id), exchange_->record.user,
               why.message);
  const bool begun = answer_begun();
  const bool transient = policy::shape_of(why.code).http_status == 503;
  if (!exchange_->client_gone && (!begun || !transient)) exchange_->refusal = std::move(why);
  settle_exchange(ringbuf::Outcome::cut, nullptr,
                  !begun      ? Exchange::Then::refuse
                  : transient ? Exchange::Then::cut
                              : Exchange::Then::fail);
}

// The connection belongs to an id, and with it to one machine of one user. What that user may do
// now is asked for the request that runs; the next one is asked about when it comes.
void Session::follow_policy() {
  const policy::Policy& policy = *worker_.snapshot_->policy;
  const policy::Peer* peer = policy.peer_by_id(tag_.peer_id);
  if (peer != nullptr) tag_ = peer->tag;
  if (!exchange_) return;
  if (!exchange_->admitted) {
    if (peer != nullptr) exchange_->record.groups = peer->groups;
    return;
  }
  if (exchange_->settled) return;
  auto refusal = stops_now(*worker_.snapshot_, {.tag = tag_,
                                                .remote = exchange_->record.peer_address,
                                                .model = exchange_->admission.served_model,
                                                .tier = exchange_->admission.tier});
  if (refusal) cut(*std::move(refusal));
}

std::string_view Session::state_name() const {
  switch (state_) {
    case State::handshake:
      return "handshake";
    case State::head:
      return "idle";
    case State::memory:
      return "queued";
    case State::body:
      return "uploading";
    case State::hold:
      return "holding";
    case State::upstream:
      return "waiting";
    case State::relay:
      return "streaming";
    case State::abandoned:
      return "aborted";
    case State::settle:
      return "settling";
    case State::linger:
      return "ending";
    case State::closing:
      return "closing";
  }
  return "";
}

std::string Session::via_field() const {
  return via_ ? " via=" + to_string(*via_) : std::string();
}

bool Session::may_be_admitted() const {
  return state_ == State::handshake || state_ == State::head || state_ == State::memory ||
         state_ == State::body;
}

bool Session::info(SessionInfo& out) const {
  if (!exchange_ || !exchange_->admitted) return false;
  const ringbuf::UsageRecord& record = exchange_->record;
  out = {.id = exchange_->id,
         .user = record.user,
         .model = record.model_asked,
         .state = std::string(state_name()),
         .started_unix_ms = record.started_unix_ms,
         .events = exchange_->scanner ? exchange_->scanner->events() : record.events,
         .bytes_down = record.bytes_down,
         .peer_address = record.peer_address,
         .session_id = record.session_id,
         .via = via_ ? to_string(*via_) : std::string(),
         .hold_cost = record.hold_cost};
  return true;
}

}  // namespace tollgate::proxy
