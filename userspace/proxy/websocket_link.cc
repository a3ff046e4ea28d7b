// The provider's side of a client's WebSocket: a WebSocket of its own for this client, kept as long
// as the client's, or POST /responses with the whole conversation. The client's side is in
// websocket.cc.
#include <spdlog/spdlog.h>

#include <utility>

#include "userspace/base/fault_point.h"
#include "userspace/base/random.h"
#include "userspace/base/text.h"
#include "userspace/codec/conversation.h"
#include "userspace/proxy/forward.h"
#include "userspace/proxy/frames.h"
#include "userspace/proxy/session.h"
#include "userspace/proxy/worker.h"

namespace tollgate::proxy {
namespace {

using codec::WebSocketOpcode;
using codec::WebSocketReader;
using policy::Refusal;
using policy::RefusalCode;
using ringbuf::Outcome;

codec::WebSocketMask random_mask() {
  codec::WebSocketMask mask;
  fill_random(mask);
  return mask;
}

Refusal previous_response_refusal(std::string_view id) {
  return {RefusalCode::previous_response_unknown,
          "Previous response with id '" + printable(id) + "' not found on this connection.",
          "previous_response_id"};
}

}  // namespace

// It costs nothing and asks for no answer; a provider without WebSocket knows none such.
void Session::pass_notice() {
  if (ws_->link != nullptr && ws_->link_open) {
    std::vector<std::byte> frame;
    codec::append_frame(WebSocketOpcode::text, exchange_->body.bytes(), random_mask(), frame);
    ws_->link->send_control(frame);
  }
  exchange_.reset();
}

bool Session::bridges() const {
  return ws_->link_refused || !exchange_->admission.target->websocket;
}

// The hold is durable: the message goes out.
void Session::send_message() {
  Exchange& exchange = *exchange_;
  const std::string& previous = exchange.facts.previous_response_id;
  if (bridges()) {
    drop_link();
    send_by_http();
    return;
  }
  const Target& target = *exchange.admission.target;
  if (ws_->link != nullptr && (ws_->link_target->pool_key != target.pool_key ||
                               ws_->link_target->key != exchange.admission.target->key)) {
    drop_link();
  }
  set_state(State::upstream);
  if (ws_->link != nullptr && ws_->link_open) {
    exchange.upstream = ws_->link;
    send_on_link();
    return;
  }
  // A response that this connection has seen went with the connection that is gone.
  if (!previous.empty() && previous == ws_->last_response_id) {
    void_request(previous_response_refusal(previous));
    return;
  }
  std::string why;
  exchange.upstream = worker_.pool_->acquire(exchange.admission.target, *this, why);
  ws_->link = exchange.upstream;
  ws_->link_target = exchange.admission.target;
  if (ws_->link == nullptr) {
    on_upstream_failed(RefusalCode::upstream_unreachable, why);
  } else if (UpstreamPool::ready(*ws_->link)) {
    ask_for_link();
  }
}

void Session::ask_for_link() {
  exchange_->sent_upstream = true;
  ws_->link_key = random_websocket_key();
  ws_->link->send_upgrade(upstream_upgrade_head(*exchange_->admission.target,
                                                exchange_->route.upstream_path, ws_->head,
                                                exchange_->admission.metadata, ws_->link_key));
}

void Session::send_on_link() {
  Exchange& exchange = *exchange_;
  exchange.sent_upstream = true;
  ws_->link->rest(false);
  std::vector<std::byte> frame;
  codec::append_frame(WebSocketOpcode::text, exchange.body.bytes(), random_mask(), frame);
  exchange.body.release();
  Body framed(worker_.shared_.body_memory);
  if (!framed.append(frame, frame.size())) {
    cut(overloaded_refusal());
    return;
  }
  ws_->link->send_frames(std::move(framed));
  fault_point("request_sent");
}

// Bridging: the whole conversation as one request. A prewarm is answered here, since nothing is to
// be generated.
void Session::send_by_http() {
  Exchange& exchange = *exchange_;
  const std::string& previous = exchange.facts.previous_response_id;
  if (!previous.empty() && previous != ws_->items_end) {
    void_request(previous_response_refusal(previous));
    return;
  }
  if (previous.empty()) forget_items();
  const std::string_view message = as_text(exchange.body.bytes());
  ws_->new_items = codec::input_items(message);
  const uint64_t bytes = ws_->items.size() + ws_->new_items.size();
  if (bytes > worker_.shared_.limits.body_bytes_max) {
    void_request({RefusalCode::body_too_large,
                  "The conversation on this WebSocket has grown over the " +
                      std::to_string(worker_.shared_.limits.body_bytes_max) +
                      " bytes that this gateway takes.",
                  {}});
    return;
  }
  if (!exchange.facts.generate) {
    answer_prewarm();
    return;
  }
  std::string items(as_text(ws_->items.bytes()));
  codec::append_items(items, ws_->new_items);
  const auto whole = codec::compose_request(message, items);
  exchange.body.release();
  if (!whole || !exchange.body.append(std::as_bytes(std::span(*whole)), whole->size())) {
    void_request(overloaded_refusal());
    return;
  }
  go_upstream_by_http();
}

void Session::forget_items() {
  ws_->items.release();
  ws_->items_end.clear();
}

// The answer is whole: what was asked and what came back belong to the conversation. Where they
// have no room, the client will be told to begin anew.
void Session::keep_items() {
  codec::append_items(ws_->new_items, ws_->answered_items);
  if (ws_->items.size() != 0 && !ws_->new_items.empty()) ws_->new_items.insert(0, 1, ',');
  if (ws_->items.append(std::as_bytes(std::span(std::as_const(ws_->new_items))), 0)) {
    ws_->items_end = exchange_->record.response_id;
  } else {
    forget_items();
  }
}

void Session::answer_prewarm() {
  Exchange& exchange = *exchange_;
  const std::string id = "resp_" + to_string(exchange.id);
  set_state(State::relay);
  write_event(prewarm_event("response.created", id, exchange.facts.model));
  const std::string completed = prewarm_event("response.completed", id, exchange.facts.model);
  codec::append_frame(WebSocketOpcode::text, std::as_bytes(std::span(completed)), std::nullopt,
                      ws_->held);
  codec::ResponseFacts facts;
  facts.response_id = id;
  settle_exchange(Outcome::completed, &facts, Exchange::Then::release);
}

// What the provider says to the upgrade. A provider that has no WebSocket is asked by HTTP.
void Session::on_link_head(const codec::ResponseHead& head) {
  Exchange& exchange = *exchange_;
  const auto accept = codec::accept_value(ws_->link_key);
  if (head.status == 101 && accept && head.field("sec-websocket-accept") == *accept) {
    ws_->link_open = true;
    ws_->link_reader.emplace(WebSocketReader::Role::client, worker_.shared_.limits.event_bytes_max);
    exchange.upstream_status = 200;
    send_on_link();
    return;
  }
  exchange.upstream_status = head.status;
  if (head.status == 101) {
    exchange.upstream->abandon();
    on_upstream_failed(RefusalCode::upstream_protocol, "its Sec-WebSocket-Accept is wrong");
  } else if (head.status == 401 || head.status == 403) {
    exchange.upstream->abandon();
    on_upstream_failed(RefusalCode::upstream_key_rejected, "the upgrade was refused");
  } else {
    spdlog::warn("provider={} refuses WebSocket with status {}: bridging to HTTP",
                 exchange.record.provider, head.status);
    drop_link();
    exchange.upstream = nullptr;
    exchange.sent_upstream = false;
    exchange.upstream_status = 0;
    ws_->link_refused = true;
    send_message();
  }
}

void Session::on_link_body(std::span<const std::byte> bytes) {
  while (ws_->link != nullptr && ws_->link_open) {
    const WebSocketReader::Step step = ws_->link_reader->next(bytes);
    switch (step.state) {
      case WebSocketReader::State::need_more:
        return;
      case WebSocketReader::State::data:
        ws_->link_message += as_text(step.payload);
        if (step.message_end) {
          const std::string event = std::exchange(ws_->link_message, {});
          on_event(event);
        }
        break;
      case WebSocketReader::State::ping: {
        std::vector<std::byte> pong;
        codec::append_frame(WebSocketOpcode::pong, step.payload, random_mask(), pong);
        ws_->link->send_control(pong);
        break;
      }
      case WebSocketReader::State::pong:
        break;
      case WebSocketReader::State::close:
      case WebSocketReader::State::fault:
        ws_->link->abandon();
        on_upstream_failed(
            RefusalCode::upstream_unreachable,
            "the provider closed its WebSocket with " + std::to_string(step.close_code));
        return;
    }
  }
}

// The conversation went with it: the client's next message is told to begin anew.
void Session::forget_link() {
  ws_->link = nullptr;
  ws_->link_open = false;
  ws_->link_message.clear();
}

void Session::drop_link() {
  if (ws_->link == nullptr) return;
  ws_->link->abandon();
  if (exchange_ && exchange_->upstream == ws_->link) exchange_->upstream = nullptr;
  forget_link();
}

}  // namespace tollgate::proxy
