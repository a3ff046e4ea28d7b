// The second half of a session: from the admitted request to the settled record and the end of the
// answer. The first half is in session.cc.
#include <spdlog/spdlog.h>

#include <utility>

#include "userspace/base/fault_point.h"
#include "userspace/base/text.h"
#include "userspace/proxy/forward.h"
#include "userspace/proxy/session.h"
#include "userspace/proxy/settle.h"
#include "userspace/proxy/worker.h"

namespace tollgate::proxy {
namespace {

using policy::Refusal;
using policy::RefusalCode;
using ringbuf::Outcome;

bool is_event_stream(const codec::ResponseHead& head) {
  const std::string_view type = head.field("content-type");
  constexpr std::string_view kEventStream = "text/event-stream";
  return type.size() >= kEventStream.size() &&
         codec::equals_ignoring_case(type.substr(0, kEventStream.size()), kEventStream);
}

// What the client hears when the provider failed before an answer began.
Refusal refusal_of(RefusalCode code, const std::string& provider, const std::string& contact) {
  switch (code) {
    case RefusalCode::upstream_certificate:
      return {code,
              "The gateway does not trust the certificate of provider " + provider +
                  " and sent it nothing; " + contact + ".",
              {}};
    case RefusalCode::upstream_key_rejected:
      return {
          code, "Provider " + provider + " did not accept the gateway's key; " + contact + ".", {}};
    case RefusalCode::upstream_timeout:
      return {code, "Provider " + provider + " did not answer the gateway in time. Try again.", {}};
    case RefusalCode::upstream_protocol:
      return {code,
              "Provider " + provider + " answered in a way that the gateway cannot meter; " +
                  contact + ".",
              {}};
    default:
      return {RefusalCode::upstream_unreachable,
              "The gateway cannot reach provider " + provider + " at the moment. Try again.",
              {}};
  }
}

// What the client must go on believing, where another model serves it; empty where none does.
std::string_view model_asked(const Exchange& exchange) {
  const bool changed = exchange.admission.served_model != exchange.facts.model;
  return changed ? std::string_view(exchange.facts.model) : std::string_view();
}

// The hold becomes what it was: the charge counts in every limit that held it, and the next
// estimate knows it.
void settle_budgets(BudgetTable& table, bool has_usage, uint64_t weighed_bytes,
                    ringbuf::UsageRecord& record) {
  const policy::BudgetTime now = table.now();
  record.settled_unix_ms = now.wall_ms;
  record.settled_window_ms = now.window_ms;
  table.with([&](policy::Budgets& budgets) {
    budgets.settle({.id = record.id,
                    .charge = {record.cost, record.input_tokens + record.output_tokens},
                    .now = now});
    if (has_usage && !record.estimated) {
      budgets.calibration().learn(record.user, record.model_served, weighed_bytes,
                                  record.input_tokens, record.output_tokens);
    }
    return 0;
  });
}

}  // namespace

Refusal Session::upstream_refusal(RefusalCode code) const {
  return refusal_of(code, exchange_->record.provider, worker_.snapshot_->policy->contact());
}

// Something of the answer is with the client, or nobody is there to be told anything else.
bool Session::answer_begun() const {
  return exchange_->scanner != nullptr || exchange_->client_gone ||
         (ws_ && exchange_->record.events > 0);
}

void Session::on_durable(uint64_t sequence) {
  if (!exchange_) return;
  if (sequence == exchange_->hold_sequence && state_ == State::hold) {
    fault_point("hold_durable");
    go_upstream();
  } else if (sequence == exchange_->settle_sequence && state_ == State::settle) {
    fault_point("settle_durable");
    on_settled();
  }
}

void Session::go_upstream() {
  if (ws_) {
    send_message();
  } else {
    go_upstream_by_http();
  }
}

void Session::go_upstream_by_http() {
  set_state(State::upstream);
  std::string why;
  exchange_->upstream = worker_.pool_->acquire(exchange_->admission.target, *this, why);
  if (exchange_->upstream == nullptr) {
    on_upstream_failed(RefusalCode::upstream_unreachable, why);
  } else if (UpstreamPool::ready(*exchange_->upstream)) {
    on_upstream_ready();
  }
}

void Session::on_upstream_redialled(UpstreamConnection& connection) {
  if (ws_ && ws_->link == exchange_->upstream) ws_->link = &connection;
  exchange_->upstream = &connection;
}

void Session::on_upstream_ready() {
  if (ws_ && ws_->link != nullptr) {
    ask_for_link();
    return;
  }
  Exchange& exchange = *exchange_;
  exchange.sent_upstream = true;
  std::string head = upstream_request_head(
      *exchange.admission.target, ws_ ? "POST" : exchange.head.method, exchange.route.upstream_path,
      exchange.head, exchange.admission.metadata, exchange.body.size(),
      ws_ ? "content-type: application/json\r\naccept: text/event-stream\r\n" : "");
  exchange.upstream->send_request(std::move(head), std::move(exchange.body));
  fault_point("request_sent");
}

void Session::on_upstream_head(const codec::ResponseHead& head) {
  if (ws_ && ws_->link != nullptr) {
    on_link_head(head);
    return;
  }
  Exchange& exchange = *exchange_;
  exchange.upstream_status = head.status;
  exchange.record.http_status = head.status;
  exchange.record.first_byte_ms = worker_.now_ms() - exchange.started_ms;
  exchange.last_event_ms = worker_.now_ms();
  fault_point("answer_begun");
  if (!exchange.client_gone) set_state(State::relay);
  // 401 and 403 are about our key, and their text can echo it. A redirect would be followed by the
  // client, with its body, to wherever it says. An unknown coding hides the usage.
  const auto coding = codec::content_coding(head.fields);
  if (head.status == 401 || head.status == 403) {
    exchange.refusal = upstream_refusal(RefusalCode::upstream_key_rejected);
  } else if ((head.status >= 300 && head.status < 400) || !coding) {
    exchange.refusal = upstream_refusal(RefusalCode::upstream_protocol);
  }
  if (exchange.refusal) {
    spdlog::warn("request={} provider={} status={}{}: refused to the client as {}",
                 to_string(exchange.id), exchange.record.provider, head.status,
                 coding ? "" : " in an unknown coding",
                 policy::shape_of(exchange.refusal->code).name);
    settle_exchange(Outcome::upstream_error, nullptr, Exchange::Then::refuse);
    return;
  }
  // Identity was asked for, and the client can read nothing else: what is coded all the same is
  // relayed plain.
  const bool coded = *coding != codec::Coding::identity && head.framing != codec::BodyFraming::none;
  if (coded) exchange.answer_decoder = codec::Decoder::make(*coding);
  const bool events = head.status == 200 && is_event_stream(head) && exchange.route.streams;
  if (ws_) {
    if (events) ws_->splitter.emplace(worker_.shared_.limits.event_bytes_max);
    return;
  }
  const bool close = !exchange.head.keep_alive || draining_;
  if (events) {
    exchange.scanner = codec::make_event_scanner(
        exchange.route.api, worker_.shared_.limits.event_bytes_max, exchange.hides_usage());
    if (exchange.client_gone) return;
    const std::string fields = limit_fields();
    stream_.write(client_response_head(
        head, exchange.id,
        {.chunked = true, .close = close, .model_asked = model_asked(exchange), .fields = fields}));
    return;
  }
  // Not a stream: it is kept until its end is known and recorded, then sent whole.
  exchange.answer_chunked = coded || (head.framing != codec::BodyFraming::length &&
                                      head.framing != codec::BodyFraming::none);
  const std::string fields = limit_fields();
  exchange.answer_head = client_response_head(head, exchange.id,
                                              {.chunked = exchange.answer_chunked,
                                               .content_length = head.content_length,
                                               .close = close,
                                               .model_asked = model_asked(exchange),
                                               .fields = fields});
}

void Session::on_upstream_body(std::span<const std::byte> bytes) {
  if (exchange_) exchange_->record.bytes_down += bytes.size();
  if (ws_ && ws_->link != nullptr) {
    on_link_body(bytes);
    return;
  }
  Exchange& exchange = *exchange_;
  if (!exchange.answer_decoder) {
    take_answer(bytes);
    return;
  }
  // The client's queue is not looked at in between, so what one piece becomes is bounded.
  uint64_t room = worker_.shared_.limits.event_bytes_max;
  auto step = exchange.answer_decoder->next(bytes);
  while (step.state == codec::Decoder::State::data && step.data.size() <= room) {
    room -= step.data.size();
    take_answer(step.data);
    if (!exchange_ || exchange_->upstream == nullptr) return;
    step = exchange.answer_decoder->next(bytes);
  }
  if (step.state == codec::Decoder::State::need_more) return;
  exchange.upstream->abandon();
  on_upstream_failed(RefusalCode::upstream_protocol,
                     step.state == codec::Decoder::State::fault
                         ? "the answer's coding is malformed"
                         : "a piece of the coded answer is over event_bytes_max");
}

void Session::take_answer(std::span<const std::byte> plain) {
  Exchange& exchange = *exchange_;
  if (ws_ && ws_->splitter) {
    on_split_events(plain);
  } else if (exchange.scanner) {
    relay_events(plain);
  } else if (exchange.answer.size() + plain.size() > worker_.shared_.limits.event_bytes_max) {
    exchange.upstream->abandon();
    on_upstream_failed(RefusalCode::upstream_protocol, "the answer is over event_bytes_max");
  } else {
    exchange.answer.insert(exchange.answer.end(), plain.begin(), plain.end());
  }
}

void Session::relay_events(std::span<const std::byte> bytes) {
  Exchange& exchange = *exchange_;
  const codec::EventScanner::Output out = exchange.scanner->feed(bytes);
  if (!exchange.client_gone) {
    write_chunk(out.held, out.pass);
    exchange.last_event_ms = worker_.now_ms();
  }
  fault_point(out.terminal ? "terminal_held" : "event_relayed");
  if (out.oversized) add(worker_.counters_.terminal_oversized);
  if (out.terminal && !exchange.settled) {
    if (out.terminal->usage_malformed) add(worker_.counters_.usage_malformed);
    settle_exchange(outcome_of(out.terminal->end), &*out.terminal, Exchange::Then::release);
  } else if (!exchange.client_gone && stream_.queued_bytes() > kClientQueueBytesMax &&
             !paused_upstream_) {
    pause_upstream();
  }
}

void Session::pause_upstream() {
  if (exchange_->upstream == nullptr) return;
  paused_upstream_ = true;
  exchange_->upstream->pause();
}

void Session::on_upstream_end() {
  if (ws_ && ws_->link != nullptr) {
    on_upstream_failed(RefusalCode::upstream_unreachable, "the provider closed its WebSocket");
    return;
  }
  Exchange& exchange = *exchange_;
  if (exchange.answer_decoder && !exchange.answer_decoder->complete()) {
    on_upstream_failed(RefusalCode::upstream_protocol, "the answer's coding ends early");
    return;
  }
  attribute_traffic();
  exchange.upstream = nullptr;
  exchange.upstream_ended = true;
  if (exchange.settled) {
    if (state_ == State::relay && !ws_) finish_answer();
    return;  // else the record is on its way and on_durable goes on
  }
  if (exchange.route.operation == Operation::stored) {
    settle_exchange(exchange.upstream_status < 300 ? Outcome::completed : Outcome::upstream_error,
                    nullptr, Exchange::Then::finish);
    return;
  }
  if (exchange.scanner || (ws_ && ws_->splitter)) {
    // The stream ended without saying what it cost.
    settle_exchange(Outcome::upstream_error, nullptr, Exchange::Then::finish);
    return;
  }
  const std::string_view json = as_text(exchange.answer);
  std::optional<codec::ResponseFacts> facts;
  if (exchange.upstream_status < 300) facts = codec::read_response_object(json, exchange.route.api);
  if (facts && facts->usage_malformed) add(worker_.counters_.usage_malformed);
  settle_exchange(facts ? outcome_of(facts->end) : Outcome::upstream_error,
                  facts ? &*facts : nullptr, Exchange::Then::finish);
}

void Session::on_upstream_failed(RefusalCode code, const std::string& why) {
  if (ws_) forget_link();
  // A WebSocket that rests between two requests: the next one will hear that it must begin anew.
  if (!exchange_ || !exchange_->admitted) return;
  Exchange& exchange = *exchange_;
  attribute_traffic();
  exchange.upstream = nullptr;
  if (exchange.settled) {
    // The record stands. What is missing is behind the terminal event: nobody needs it.
    exchange.upstream_ended = true;
    if (state_ == State::relay && !ws_) finish_answer();
    return;
  }
  spdlog::warn("request={} provider={} {}: {}", to_string(exchange.id), exchange.record.provider,
               policy::shape_of(code).name, why);
  const bool begun = answer_begun();
  if (!begun) {
    exchange.refusal = upstream_refusal(code);
  }
  settle_exchange(Outcome::upstream_error, nullptr,
                  begun ? Exchange::Then::cut : Exchange::Then::refuse);
}

// Which bytes on the way to the provider are this exchange's: what the kernel counts beyond them,
// the detector looks for in vain.
void Session::attribute_traffic() {
  if (exchange_->upstream == nullptr) return;
  const Traffic traffic = exchange_->upstream->traffic();
  exchange_->record.upstream_flow_id = traffic.flow_id;
  exchange_->record.upstream_bytes_up = traffic.sent;
  exchange_->record.upstream_bytes_down = traffic.received;
}

// Exactly once for each admitted request: every way out of the exchange comes through here.
void Session::settle_exchange(Outcome outcome, const codec::ResponseFacts* facts,
                              Exchange::Then then) {
  Exchange& exchange = *exchange_;
  TG_ASSERT(exchange.admitted && !exchange.settled);
  if (exchange.client_gone) {
    outcome = Outcome::client_abort;
    then = Exchange::Then::cut;
  }
  exchange.settled = true;
  exchange.then = then;
  const bool cut_short =
      then == Exchange::Then::cut || then == Exchange::Then::refuse || then == Exchange::Then::fail;
  if (cut_short && exchange.upstream != nullptr) exchange.upstream->abandon();
  attribute_traffic();
  if (ws_ && ws_->link != nullptr && exchange.upstream == ws_->link) {
    if (cut_short) {
      forget_link();
    } else {
      ws_->link->begin_share();
    }
  }
  if (cut_short) exchange.upstream = nullptr;
  // A chat may have told its usage all along.
  std::optional<codec::ResponseFacts> so_far;
  if (facts == nullptr && exchange.scanner) so_far = exchange.scanner->facts_so_far();
  if (so_far) facts = &*so_far;
  ringbuf::UsageRecord& record = exchange.record;
  if (exchange.scanner) record.events = exchange.scanner->events();
  record.duration_ms = worker_.now_ms() - exchange.started_ms;
  if (exchange.refusal) {
    const policy::RefusalShape& shape = policy::shape_of(exchange.refusal->code);
    record.refusal_code = std::string(shape.name);
    if (then == Exchange::Then::refuse) record.http_status = shape.http_status;
    add(worker_.counters_.refused[static_cast<size_t>(exchange.refusal->code)]);
  }
  settle(*exchange.admission.snapshot->policy,
         {.outcome = outcome,
          .facts = facts,
          .free = exchange.route.operation == Operation::stored,
          .sent_upstream = exchange.sent_upstream,
          .upstream_status = exchange.upstream_status,
          .visible_output_bytes = exchange.scanner ? exchange.scanner->delta_bytes()
                                  : ws_            ? ws_->delta_bytes
                                                   : 0,
          .expected_input_tokens = exchange.admission.expected_input_tokens},
         record);
  settle_budgets(*worker_.shared_.budgets, facts != nullptr && facts->usage.has_value(),
                 exchange.weighed_bytes, record);
  if (facts != nullptr && !facts->response_id.empty() && exchange.facts.store.value_or(true)) {
    worker_.shared_.stored_responses.remember(facts->response_id,
                                              {record.user, exchange.facts.model, record.provider});
  }
  add(worker_.counters_.outcomes[static_cast<size_t>(outcome)]);
  subtract(worker_.counters_.requests_running);
  if (record.estimated) add(worker_.counters_.estimated);
  spdlog::info(
      "request={} user={} peer={} policy={} model={} outcome={} status={} tokens_in={} "
      "tokens_cached={} tokens_out={} nano_usd={} estimated={} ms={} bytes_up={} bytes_down={}{}",
      to_string(record.id), record.user, record.peer_address, record.policy,
      printable(record.model_asked), to_string(outcome), record.http_status, record.input_tokens,
      record.cached_tokens, record.output_tokens, record.cost.value, record.estimated,
      record.duration_ms, record.bytes_up, record.bytes_down, via_field());
  exchange.settle_sequence = fault_asked("forget_record")
                                 ? worker_.record(ringbuf::HoldRecord{record})
                                 : worker_.record(record);
  fault_point("settle_pushed");
  set_state(State::settle);
  worker_.await_durable(exchange.settle_sequence, *this);
}

void Session::on_settled() {
  Exchange& exchange = *exchange_;
  switch (exchange.then) {
    case Exchange::Then::release:
      if (ws_) {
        release_message();
        return;
      }
      set_state(State::relay);
      write_chunk(exchange.scanner->release());
      fault_point("released");
      if (exchange.upstream_ended) finish_answer();
      return;
    case Exchange::Then::finish:
      if (ws_) {
        finish_message();
      } else {
        finish_answer();
      }
      return;
    case Exchange::Then::refuse: {
      const Refusal refusal = std::move(*exchange.refusal);
      send_refusal(refusal);
      return;
    }
    case Exchange::Then::fail:
      fail_answer();
      return;
    case Exchange::Then::cut:
      // Without a last chunk: the client must see that something is missing.
      close_session();
      return;
  }
}

// Ends a stream that has begun with an event that says why, then the connection. An event that was
// cut in two is ended by an empty line first; who cannot read its half passes over it.
void Session::fail_answer() {
  if (ws_) {
    fail_message();
    return;
  }
  const Exchange& exchange = *exchange_;
  std::string event = exchange.scanner->between_events() ? "" : "\n\n";
  event += exchange.route.api == codec::Api::chat_completions
               ? "data: " + policy::refusal_body(*exchange.refusal) + "\n\n"
               : policy::refusal_event(*exchange.refusal,
                                       {.id = to_string(exchange.id),
                                        .model = exchange.facts.model,
                                        .created_unix_s = exchange.record.started_unix_ms / 1000,
                                        .sequence_number = exchange.scanner->events()});
  write_chunk(std::as_bytes(std::span(std::as_const(event))));
  stream_.write(kLastChunk);
  end_exchange(false);
}

void Session::write_chunk(std::span<const std::byte> first, std::span<const std::byte> second) {
  worker_.scratch_.clear();
  append_chunk(first, second, worker_.scratch_);
  stream_.write(worker_.scratch_);
}

void Session::finish_answer() {
  Exchange& exchange = *exchange_;
  if (exchange.scanner) {
    write_chunk(exchange.scanner->release());
    stream_.write(kLastChunk);
  } else {
    stream_.write(exchange.answer_head);
    if (exchange.answer_chunked) {
      write_chunk(exchange.answer);
      stream_.write(kLastChunk);
    } else {
      stream_.write(exchange.answer);
    }
  }
  end_exchange(exchange.head.keep_alive && !draining_);
}

}  // namespace tollgate::proxy
