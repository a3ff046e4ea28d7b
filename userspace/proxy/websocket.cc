// A client's WebSocket: messages become requests, which are admitted, held and settled as those
// that come by HTTP (session.cc, relay.cc); events become messages. To the provider they go by a
// WebSocket of its own for this client, or, where it has none, as POST /responses with the whole
// conversation: then the client still uploads only what is new.
#include <spdlog/spdlog.h>

#include <utility>

#include "userspace/base/fault_point.h"
#include "userspace/base/text.h"
#include "userspace/codec/conversation.h"
#include "userspace/codec/sse_probe.h"
#include "userspace/proxy/forward.h"
#include "userspace/proxy/frames.h"
#include "userspace/proxy/session.h"
#include "userspace/proxy/settle.h"
#include "userspace/proxy/worker.h"

namespace tollgate::proxy {
namespace {

using codec::WebSocketOpcode;
using codec::WebSocketReader;
using policy::Refusal;
using policy::RefusalCode;
using ringbuf::Outcome;

constexpr int64_t kPingMs = 45'000;

// As far as its first bytes tell.
bool may_be_terminal(std::string_view event, uint64_t& delta_bytes) {
  codec::EventProbe probe;
  for (const char c : event) {
    probe.put(c);
    if (probe.satisfied()) break;
  }
  delta_bytes += probe.delta_bytes();
  return probe.verdict() == codec::EventProbe::Verdict::terminal ||
         probe.verdict() == codec::EventProbe::Verdict::whole_needed;
}

}  // namespace

// ---- the client's side -------------------------------------------------------------------------

// Whoever may not is answered 426, which makes Codex use HTTP at once and there hear the reason.
void Session::begin_websocket() {
  const codec::RequestHead& head = exchange_->head;
  const policy::Policy& policy = *worker_.snapshot_->policy;
  if (!policy.websocket_for(*policy.peer_by_tag(tag_))) {
    refuse(
        {RefusalCode::upgrade_refused,
         "WebSocket is not switched on for you at this gateway; use HTTP with server-sent events.",
         {}});
    return;
  }
  const auto accept = codec::accept_value(head.field("sec-websocket-key"));
  if (!accept || head.field("sec-websocket-version") != "13" ||
      !codec::equals_ignoring_case(head.field("upgrade"), "websocket")) {
    refuse(
        {RefusalCode::head_malformed,
         "This gateway could not read the request's header: it is no WebSocket upgrade of version "
         "13.",
         {}});
    return;
  }
  ws_ = std::make_unique<ClientSocket>(worker_.shared_.body_memory,
                                       worker_.shared_.limits.body_bytes_max, worker_.now_ms());
  stream_.write(upgrade_answer(*accept, exchange_->id));
  spdlog::info("request={} user={} peer={} endpoint=\"{}\" status=101{}", to_string(exchange_->id),
               exchange_->record.user, exchange_->record.peer_address,
               printable(exchange_->record.endpoint), via_field());
  ws_->head_text = std::move(exchange_->head_text);  // the same heap block: the views stay good
  ws_->head = std::move(exchange_->head);
  ws_->head.keep_alive = true;
  ws_->user = exchange_->record.user;
  served_ = true;
  exchange_.reset();
  set_state(State::head);
}

// Advances `bytes`. What follows a whole message stays until that one is answered.
void Session::read_frames(std::span<const std::byte>& bytes) {
  while (!ws_->incoming_complete && !ws_->closing) {
    const WebSocketReader::Step step = ws_->reader.next(bytes);
    switch (step.state) {
      case WebSocketReader::State::need_more:
        return;
      case WebSocketReader::State::data:
        take_message(step.payload, step.message_end);
        break;
      case WebSocketReader::State::ping:
        write_frame(WebSocketOpcode::pong, step.payload);
        break;
      case WebSocketReader::State::pong:
        break;
      case WebSocketReader::State::close:
        close_websocket(step.close_code == 0 ? codec::kCloseNormal : step.close_code, "");
        return;
      case WebSocketReader::State::fault:
        spdlog::info("user={} peer={} WebSocket closed with {}: {}", ws_->user, to_string(remote_),
                     step.close_code, step.why);
        close_websocket(step.close_code, step.why);
        return;
    }
  }
}

void Session::take_message(std::span<const std::byte> run, bool last) {
  if (!ws_->incoming) {
    ws_->incoming = new_exchange();
    ws_->incoming->head = ws_->head;
    ws_->incoming->route.streams = true;
    ws_->incoming->route.upstream_path = "/responses";
  }
  if (!ws_->incoming->body.append(run, 0)) {
    write_event(error_frame(overloaded_refusal(), {}));
    close_websocket(codec::kCloseInternalError, "no memory for this message");
    return;
  }
  ws_->incoming_complete = last;
  if (last && !exchange_) begin_message();
}

// The message becomes the session's request.
void Session::begin_message() {
  exchange_ = std::move(ws_->incoming);
  ws_->incoming_complete = false;
  codec::InspectResult inspected = inspect(exchange_->body);
  const std::string& type = inspected.facts.type;
  const bool readable = inspected.fault == codec::BodyFault::none ||
                        inspected.fault == codec::BodyFault::model_missing;
  if (readable && (type == "response.processed" || type == "response.cancel")) {
    pass_notice();
    return;
  }
  exchange_->record.endpoint = "WS /v1/responses";
  name_session(exchange_->head);
  if (!identify_request()) return;
  const policy::Policy& policy = *worker_.snapshot_->policy;
  if (!policy.websocket_for(*policy.peer_by_tag(tag_))) {
    ws_->close_next = codec::kCloseGoingAway;
    refuse({RefusalCode::upgrade_refused,
            "WebSocket is no longer switched on for you at this gateway; use HTTP.",
            {}});
    return;
  }
  if (readable && type != "response.create") {
    refuse({RefusalCode::feature_denied,
            "This gateway does not serve WebSocket messages of type \"" + printable(type) +
                "\": what they cost could not be metered.",
            "type"});
    return;
  }
  if (worker_.now_ms() - ws_->opened_ms > int64_t{worker_.shared_.limits.websocket_ms}) {
    ws_->close_next = codec::kCloseNormal;
    refuse({RefusalCode::websocket_too_old,
            "This WebSocket has reached its age limit at the gateway. Open a new one to go on.",
            {}});
    return;
  }
  exchange_->record.bytes_up = exchange_->body.size();
  judge_request(std::move(inspected));
}

void Session::write_frame(WebSocketOpcode opcode, std::span<const std::byte> payload) {
  if (!stream_.open() || ws_->closing) return;
  std::vector<std::byte> frame;
  codec::append_frame(opcode, payload, std::nullopt, frame);
  stream_.write(frame);
}

void Session::write_event(std::string_view event) {
  write_frame(WebSocketOpcode::text, std::as_bytes(std::span(event)));
}

// With a frame that says why. What runs is settled first, as for any client that leaves.
void Session::close_websocket(uint16_t code, std::string_view reason) {
  if (ws_->closing || state_ == State::closing || state_ == State::linger) return;
  write_frame(WebSocketOpcode::close, codec::close_payload(code, reason));
  ws_->closing = true;
  if (!exchange_ || !exchange_->admitted) {
    end_websocket();
  } else if (!exchange_->settled && !read_on_without_client()) {
    settle_exchange(Outcome::client_abort, nullptr, Exchange::Then::cut);
  }
}

void Session::end_websocket() {
  drop_link();
  exchange_.reset();
  ws_->incoming.reset();
  input_.clear();
  set_state(State::linger);
  stream_.finish();
  stream_.resume();
}

// The next message, which may have come meanwhile.
void Session::end_message() {
  if (paused_upstream_ && ws_->link != nullptr) ws_->link->resume();
  paused_upstream_ = false;
  if (UpstreamConnection* upstream = std::exchange(exchange_->upstream, nullptr)) {
    if (upstream == ws_->link) {
      upstream->rest(true);
    } else if (exchange_->settled && exchange_->then == Exchange::Then::release) {
      upstream->finish_reading();
    } else {
      upstream->abandon();
    }
  }
  exchange_.reset();
  ws_->held.clear();
  ws_->splitter.reset();
  ws_->delta_bytes = 0;
  ws_->answered_bytes = 0;
  ws_->new_items = {};
  ws_->answered_items = {};
  set_state(State::head);
  if (ws_->closing) {
    end_websocket();
    return;
  }
  if (ws_->close_next != 0) {
    close_websocket(ws_->close_next, {});
    return;
  }
  if (draining_) {
    close_websocket(codec::kCloseServiceRestart, "the gateway restarts");
    return;
  }
  stream_.resume();
  if (ws_->incoming_complete) begin_message();
  process_input();
}

void Session::sweep_websocket(int64_t now_ms) {
  const policy::Limits& limits = worker_.shared_.limits;
  const bool uploading = ws_->incoming != nullptr;
  if (uploading && now_ms - ws_->incoming->started_ms > int64_t{limits.client_request_ms}) {
    close_websocket(codec::kCloseGoingAway, "the message did not arrive in time");
    return;
  }
  if (uploading) return;
  if (now_ms - ws_->opened_ms > int64_t{limits.websocket_ms}) {
    close_websocket(codec::kCloseNormal, "age limit");
    return;
  }
  // Whoever has gone without a word is found out by TCP when this is not acknowledged.
  if (now_ms - std::max(ws_->pinged_ms, since_ms_) > kPingMs) {
    ws_->pinged_ms = now_ms;
    write_frame(WebSocketOpcode::ping, {});
  }
}

// ---- events ------------------------------------------------------------------------------------

void Session::on_split_events(std::span<const std::byte> bytes) {
  while (exchange_ && ws_->splitter) {
    const auto event = ws_->splitter->next(bytes);
    if (event) {
      on_event(*event);
    } else if (ws_->splitter->overflowed()) {
      exchange_->upstream->abandon();
      on_upstream_failed(RefusalCode::upstream_protocol, "an event is over event_bytes_max");
      return;
    } else {
      return;
    }
  }
}

// One event of the provider, whichever way it came; bytes unchanged on to the client.
void Session::on_event(std::string_view event) {
  if (event == "[DONE]" || is_rate_limits_event(event)) return;  // limits are ours to tell
  if (!exchange_ || exchange_->upstream == nullptr) {
    on_stray_event(event);
    return;
  }
  Exchange& exchange = *exchange_;
  if (!exchange.settled && exchange.record.events++ == 0) begin_answer();
  exchange.last_event_ms = worker_.now_ms();
  std::optional<codec::ResponseFacts> terminal;
  if (!exchange.settled) {
    if (may_be_terminal(event, ws_->delta_bytes)) terminal = codec::read_terminal_event(event);
    if (const auto item = codec::finished_item(event)) {
      ws_->answered_bytes += item->size();
      if (ws_->splitter) codec::append_items(ws_->answered_items, *item);
    }
  }
  const std::optional<int> failed = exchange.settled ? std::nullopt : error_status(event);
  if (exchange.settled || terminal || failed) {
    codec::append_frame(WebSocketOpcode::text, std::as_bytes(std::span(event)), std::nullopt,
                        ws_->held);
  } else if (!exchange.client_gone) {
    write_event(event);
  }
  fault_point(terminal ? "terminal_held" : "event_relayed");
  if (terminal) {
    if (terminal->usage_malformed) add(worker_.counters_.usage_malformed);
    settle_exchange(outcome_of(terminal->end), &*terminal, Exchange::Then::release);
    pause_upstream();  // what follows waits behind what is held
  } else if (failed) {
    on_error_event(*failed);
  } else if (!exchange.client_gone && stream_.queued_bytes() > kClientQueueBytesMax &&
             !paused_upstream_) {
    pause_upstream();
  }
}

// Between two answers. The end of one that nobody asked for would be unmetered.
void Session::on_stray_event(std::string_view event) {
  uint64_t ignored = 0;
  if (!may_be_terminal(event, ignored)) {
    write_event(event);
    return;
  }
  spdlog::warn("user={} the provider ended a response that nobody asked for", ws_->user);
  drop_link();
}

void Session::begin_answer() {
  Exchange& exchange = *exchange_;
  exchange.record.first_byte_ms = worker_.now_ms() - exchange.started_ms;
  exchange.record.http_status = 200;
  exchange.upstream_status = 200;
  fault_point("answer_begun");
  if (exchange.client_gone) return;
  set_state(State::relay);
  const std::string limits = rate_limits_event(exchange.admission.standing);
  if (!limits.empty()) write_event(limits);
}

// The provider refuses the message, or breaks off its answer.
void Session::on_error_event(int status) {
  Exchange& exchange = *exchange_;
  if (exchange.record.events <= 1) exchange.upstream_status = status;
  exchange.record.http_status = status;
  if (status == 401 || status == 403) {
    ws_->held.clear();
    exchange.refusal = upstream_refusal(RefusalCode::upstream_key_rejected);
    settle_exchange(Outcome::upstream_error, nullptr, Exchange::Then::refuse);
    return;
  }
  settle_exchange(Outcome::upstream_error, nullptr, Exchange::Then::release);
  pause_upstream();
}

// The record is durable: the end of the answer may be seen.
void Session::release_message() {
  if (exchange_->record.outcome == Outcome::completed) {
    ws_->last_response_id = exchange_->record.response_id;
    ws_->conversation_bytes = exchange_->weighed_bytes + ws_->answered_bytes;
    if (bridges()) keep_items();
  }
  if (stream_.open() && !ws_->closing) stream_.write(ws_->held);
  fault_point("released");
  end_message();
}

// The provider's answer by HTTP is no event stream: an error, as a rule.
void Session::finish_message() {
  const Exchange& exchange = *exchange_;
  if (ws_->splitter || exchange.upstream_status < 300) {
    write_frame(WebSocketOpcode::close,
                codec::close_payload(codec::kCloseInternalError, "the answer has no end"));
    ws_->closing = true;
    end_message();
    return;
  }
  write_event(error_frame(exchange.upstream_status, as_text(exchange.answer), limit_fields()));
  end_message();
}

// The sentence that ends a running answer: Codex prints it, and the connection can go on.
void Session::fail_message() {
  const Exchange& exchange = *exchange_;
  write_event(policy::refusal_event_data(*exchange.refusal,
                                         {.id = to_string(exchange.id),
                                          .model = exchange.facts.model,
                                          .created_unix_s = exchange.record.started_unix_ms / 1000,
                                          .sequence_number = exchange.record.events}));
  end_message();
}

}  // namespace tollgate::proxy
