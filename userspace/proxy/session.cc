#include "userspace/proxy/session.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "userspace/base/clock.h"
#include "userspace/base/fault_point.h"
#include "userspace/base/text.h"
#include "userspace/proxy/catalog.h"
#include "userspace/proxy/coded_body.h"
#include "userspace/proxy/forward.h"
#include "userspace/proxy/frames.h"
#include "userspace/proxy/worker.h"

namespace tollgate::proxy {
namespace {

using policy::Refusal;
using policy::RefusalCode;

}  // namespace

Session::Session(Worker& worker, Accepted accepted)
    : worker_(worker),
      stream_(*worker.loop_, worker.flush_list_, *this, &worker.counters_.client_tls),
      tag_(accepted.tag),
      remote_(accepted.remote),
      flow_id_(accepted.flow_id),
      via_(accepted.via),
      since_ms_(worker.now_ms()) {
  const auto& server_tls = worker.snapshot_->server_tls;
  stream_.accept(std::move(accepted.fd), !server_tls ? tls::make_plain_channel()
                                         : via_      ? server_tls->make_intercepted_channel()
                                                     : server_tls->make_channel());
}

Session::~Session() = default;

void Session::set_state(State state) {
  state_ = state;
  since_ms_ = worker_.now_ms();
}

// ---- the connection ----------------------------------------------------------------------------

void Session::on_stream_open() {
  set_state(State::head);
}

void Session::on_stream_data(std::span<const std::byte> plain) {
  if (state_ == State::linger) return;  // dropped, for as long as sweep() lets it
  if (input_.empty()) {                 // no copy through input_
    if (state_ == State::body) read_body(plain);
    if (ws_) read_frames(plain);
  }
  if (state_ == State::linger || state_ == State::closing) return;
  input_ += as_text(plain);
  process_input();
  // A client that sends ahead of its answers waits in the kernel's buffers, not in ours.
  const bool ahead = ws_ ? ws_->incoming_complete || stream_.queued_bytes() > kClientQueueBytesMax
                         : exchange_ && state_ != State::body &&
                               input_.size() > worker_.shared_.limits.head_bytes_max;
  if (ahead) stream_.pause();
}

void Session::on_stream_end(StreamEnd, const Error& error) {
  if (state_ == State::handshake) {
    if (tls::is_name_error(error)) {
      add(worker_.counters_.names_refused);
      spdlog::info("peer={} refused=server_name{}: {}", to_string(remote_.address), via_field(),
                   printable(error.text));
    } else {
      add(worker_.counters_.handshakes_failed);
      spdlog::debug("client {}: handshake: {}", to_string(remote_),
                    error.text.empty() ? "closed by the client" : error.text);
    }
    set_state(State::linger);
    stream_.finish();  // behind the alert that says why
    return;
  }
  if (exchange_ && exchange_->admitted && !exchange_->settled) {
    if (read_on_without_client()) return;
    settle_exchange(ringbuf::Outcome::client_abort, nullptr, Exchange::Then::cut);
  }
  close_session();
}

// Many clients leave near the end of an answer, and its last event says what it cost. So the
// provider is heard out for a moment, or to the end, as the policy says.
bool Session::read_on_without_client() {
  if (exchange_->upstream == nullptr || !exchange_->sent_upstream) return false;
  exchange_->client_gone = true;
  if (std::exchange(paused_upstream_, false)) exchange_->upstream->resume();
  set_state(State::abandoned);
  stream_.close();
  return true;
}

void Session::on_stream_drained() {
  if (ws_ && !ws_->incoming_complete) stream_.resume();
  const bool holding = ws_ && exchange_ && exchange_->settled;
  if (paused_upstream_ && exchange_ && exchange_->upstream != nullptr && !holding) {
    paused_upstream_ = false;
    exchange_->upstream->resume();
  }
}

void Session::on_stream_closed() {
  stream_closed_ = true;
  if (state_ == State::closing || !exchange_ || !exchange_->client_gone) worker_.remove(*this);
}

void Session::close_session() {
  if (state_ == State::closing) return;
  if (ws_) drop_link();
  if (exchange_) {
    worker_.forget(*this);
    if (UpstreamConnection* upstream = std::exchange(exchange_->upstream, nullptr)) {
      if (exchange_->scanner && exchange_->scanner->seen_terminal()) {
        upstream->finish_reading();
      } else {
        upstream->abandon();
      }
    }
    exchange_.reset();
  }
  set_state(State::closing);
  stream_.close();
  // Whoever called may still look at this session: it goes in a turn of its own.
  if (stream_closed_) worker_.loop_->post([this] { worker_.remove(*this); });
}

// ---- the request -------------------------------------------------------------------------------

void Session::process_input() {
  if (processing_) return;
  processing_ = true;
  while (!input_.empty() || state_ == State::body) {
    if (ws_) {
      std::span<const std::byte> bytes = std::as_bytes(std::span(std::as_const(input_)));
      const size_t before = bytes.size();
      read_frames(bytes);
      input_.erase(0, std::min(before - bytes.size(), input_.size()));
      if (ws_->incoming_complete || ws_->closing) break;
    } else if (state_ == State::head) {
      if (!read_head()) break;
    } else if (state_ == State::body) {
      std::span<const std::byte> bytes = std::as_bytes(std::span(std::as_const(input_)));
      const size_t before = bytes.size();
      read_body(bytes);
      input_.erase(0, before - bytes.size());
      if (state_ == State::body) break;
    } else {
      break;
    }
  }
  processing_ = false;
}

std::unique_ptr<Exchange> Session::new_exchange() {
  auto exchange = std::make_unique<Exchange>(worker_.shared_.body_memory);
  exchange->started_ms = worker_.now_ms();
  const int64_t now_unix_ms = wall_unix_ms();
  exchange->id = make_request_id(now_unix_ms);
  exchange->record.id = exchange->id;
  exchange->record.started_unix_ms = now_unix_ms;
  exchange->record.flow_id = flow_id_;
  exchange->record.peer_address = to_string(remote_.address);
  add(worker_.counters_.requests);
  return exchange;
}

bool Session::read_head() {
  codec::RequestHead head;
  const codec::HeadResult result = codec::parse_request_head(
      input_, {.bytes_max = worker_.shared_.limits.head_bytes_max}, scanned_, head);
  if (result.state == codec::HeadState::need_more) return false;
  scanned_ = 0;
  exchange_ = new_exchange();
  exchange_->head = std::move(head);
  if (result.state == codec::HeadState::fault) {
    refuse_head(result);
    return false;
  }
  // The head's views point into input_'s heap block, which moves to head_text whole.
  std::string rest = input_.substr(result.head_bytes);
  exchange_->head_text = std::exchange(input_, std::move(rest));
  begin_request();
  return true;
}

void Session::refuse_head(const codec::HeadResult& result) {
  const bool too_large = result.fault == codec::HeadFault::too_large;
  refuse({too_large ? RefusalCode::head_too_large : RefusalCode::head_malformed,
          (too_large ? "The request's header is larger than this gateway takes: "
                     : "This gateway could not read the request's header: ") +
              std::string(result.why) + ".",
          {}});
}

void Session::begin_request() {
  const codec::RequestHead& head = exchange_->head;
  auto& record = exchange_->record;
  record.endpoint = std::string(head.method.substr(0, 16)) + " " +
                    std::string(head.path.substr(0, kLabelBytesMax));
  name_session(head);
  if (identify_request() && meant_for_here()) route();
}

// What the client says of itself, for reports alone.
void Session::name_session(const codec::RequestHead& head) {
  auto& record = exchange_->record;
  record.session_id = label(head.field("session-id"));
  record.thread_id = label(head.field("thread-id"));
  record.subagent = label(head.field("x-openai-subagent"));
}

bool Session::identify_request() {
  auto& record = exchange_->record;
  auto who = identify(*worker_.snapshot_, tag_, record.peer_address);
  if (auto* refusal = std::get_if<Refusal>(&who)) {
    refuse(std::move(*refusal));
    return false;
  }
  const policy::Peer& peer = *std::get<const policy::Peer*>(who);
  record.peer_id = peer.tag.peer_id;
  record.user = peer.user;
  record.groups = peer.groups;
  if (!worker_.admitting_) {
    refuse({RefusalCode::draining, "The gateway is restarting. Try again in a moment.", {}});
    return false;
  }
  return true;
}

// Whoever was let in under one name is not served under another (RFC 9110 7.4).
bool Session::meant_for_here() {
  if (!via_) return true;
  std::string_view host = exchange_->head.field("host");
  if (host.ends_with(":443")) host.remove_suffix(4);
  const std::string_view asked = stream_.channel().server_name();
  if (codec::equals_ignoring_case(host, asked)) return true;
  refuse({RefusalCode::host_mismatch,
          "The request is for host \"" + printable(label(host)) + "\", the connection for \"" +
              printable(asked) + "\".",
          {}});
  return false;
}

void Session::route() {
  const codec::RequestHead& head = exchange_->head;
  RouteResult found = find_route(head.method, head.path, head.upgrade);
  if (found.fault == RouteFault::unknown_path) {
    refuse({RefusalCode::endpoint_unknown,
            "This gateway serves /v1/responses, /v1/chat/completions, /v1/embeddings, "
            "/v1/images/generations and /v1/models, not " +
                printable(exchange_->record.endpoint) + ".",
            {}});
    return;
  }
  exchange_->route = std::move(found.route);
  const Operation operation = exchange_->route.operation;
  if (found.fault == RouteFault::wrong_method) {
    refuse({RefusalCode::method_not_allowed,
            "This gateway does not serve " + printable(exchange_->record.endpoint) + ".",
            {}});
  } else if (head.upgrade && operation != Operation::websocket) {
    refuse({RefusalCode::upgrade_refused,
            "This gateway upgrades GET /v1/responses alone, not " +
                printable(exchange_->record.endpoint) + ".",
            {}});
  } else if (operation == Operation::infer) {
    begin_body();
  } else if (head.content_length.value_or(0) != 0 || head.chunked) {
    refuse({RefusalCode::method_not_allowed,
            printable(exchange_->record.endpoint) + " takes no body here.",
            {}});
  } else if (operation == Operation::websocket) {
    begin_websocket();
  } else if (operation == Operation::stored) {
    begin_stored();
  } else if (operation == Operation::models) {
    const Snapshot& snapshot = *worker_.snapshot_;
    answer_locally(answer_models(snapshot, *snapshot.policy->peer_by_tag(tag_),
                                 {.object_id = exchange_->route.object_id,
                                  .query = head.query,
                                  .if_none_match = head.field("if-none-match")}));
  } else {
    answer_locally({});
  }
}

// The provider keeps the responses of all users under one key: only whoever made one may ask.
void Session::begin_stored() {
  Exchange& exchange = *exchange_;
  const auto stored =
      worker_.shared_.stored_responses.find(exchange.route.object_id, exchange.record.user);
  const Refusal unknown{
      RefusalCode::response_unknown,
      "This gateway knows no stored response \"" + printable(exchange.route.object_id) +
          "\" of yours. It knows those that you made through it since it started.",
      {}};
  if (!stored) {
    refuse(unknown);
    return;
  }
  exchange.facts.model = stored->model;
  exchange.record.model_asked = label(stored->model);
  exchange.route.upstream_path += stored_query(exchange.head.query);
  if (!admit_request(true)) return;
  if (exchange.admission.target->provider != stored->provider) {
    // Another policy allows the model now, and that one's provider never heard of it.
    exchange.admission.changes.clear();
    void_request(unknown);
    return;
  }
  hold_request();
}

void Session::end_body() {
  Exchange& exchange = *exchange_;
  if (!decode()) return;
  const Body& text = exchange.text();
  exchange.record.bytes_up = text.size();
  judge_request(inspect(text));
}

codec::InspectResult Session::inspect(const Body& text) {
  auto inspected = worker_.inspector_.inspect(text.bytes(), exchange_->route.api);
  if (text.size() > (size_t{1} << 20)) worker_.inspector_.trim();
  return inspected;
}

// What was asked for is known: may it be?
void Session::judge_request(codec::InspectResult inspected) {
  Exchange& exchange = *exchange_;
  if (inspected.fault != codec::BodyFault::none) {
    const RefusalCode code =
        inspected.fault == codec::BodyFault::duplicate_key   ? RefusalCode::json_duplicate_key
        : inspected.fault == codec::BodyFault::model_missing ? RefusalCode::model_missing
                                                             : RefusalCode::json_malformed;
    refuse({code, "This gateway could not read the request: " + inspected.detail + ".", {}});
    return;
  }
  exchange.facts = std::move(inspected.facts);
  exchange.record.model_asked = label(exchange.facts.model);
  exchange.record.tier = label(exchange.facts.service_tier);
  weigh_request();
  if (exchange.facts.stream && !exchange.route.streams) {
    refuse({RefusalCode::feature_denied,
            printable(exchange.record.endpoint) + " is not streamed through this gateway: its cost "
                                                  "could not be metered. Ask without \"stream\".",
            "stream"});
    return;
  }
  if (admit_request(false)) hold_request();
}

// How much the provider will read, which is what holds and estimates are sized by.
void Session::weigh_request() {
  Exchange& exchange = *exchange_;
  exchange.weighed_bytes = exchange.text().size();
  const std::string& previous = exchange.facts.previous_response_id;
  if (previous.empty()) return;
  if (ws_ && previous == ws_->last_response_id) {
    exchange.weighed_bytes += ws_->conversation_bytes;
  } else {
    exchange.facts.refers_elsewhere = true;
  }
}

bool Session::admit_request(bool free) {
  Exchange& exchange = *exchange_;
  auto admitted =
      admit({.snapshot = worker_.snapshot_,
             .tag = tag_,
             .id = exchange.id,
             .facts = &exchange.facts,
             .form = {exchange.route.api, exchange.route.is_compaction},
             .body_bytes = exchange.weighed_bytes,
             .free = free,
             .budgets = worker_.shared_.budgets,
             .store_healthy = worker_.ledger_has_room() && worker_.shared_.store_healthy(),
             .draining = !worker_.admitting_,
             .unmetered = worker_.shared_.refuse_unmetered.load(std::memory_order_relaxed)});
  if (auto* denial = std::get_if<Denial>(&admitted)) {
    exchange.admission.standing = std::move(denial->standing);
    refuse(std::move(denial->refusal));
    return false;
  }
  exchange.admission = std::get<Admission>(std::move(admitted));
  exchange.admitted = true;
  add(worker_.counters_.requests_running);
  return true;
}

// Nothing is sent before the hold is on disk: a crash from here on finds it there.
void Session::hold_request() {
  Exchange& exchange = *exchange_;
  const Admission& admission = exchange.admission;
  ringbuf::UsageRecord& record = exchange.record;
  record.policy = admission.rule->name;
  record.provider = admission.target->provider;
  record.key_name = admission.target->key_name;
  record.model_served = admission.served_model;
  record.tier = label(admission.tier);
  record.price_version = admission.snapshot->policy->prices().version();
  record.hold_input_tokens = admission.hold.input_tokens;
  record.hold_output_tokens = admission.hold.output_tokens;
  record.hold_cost = admission.hold.cost;
  set_state(State::hold);
  exchange.hold_sequence = worker_.record(ringbuf::HoldRecord{record});
  worker_.await_durable(exchange.hold_sequence, *this);
  fault_point("hold_pushed");
  if (!rewrite_body()) {
    void_request({RefusalCode::json_malformed,
                  "This gateway could not write the policy's values into the request.",
                  {}});
  }
}

// Admitted, but nothing was sent: the hold is given back. The client does not wait for the record,
// which may be what cannot be written.
void Session::void_request(Refusal refusal) {
  Exchange& exchange = *exchange_;
  exchange.refusal = std::move(refusal);
  settle_exchange(ringbuf::Outcome::refused, nullptr, Exchange::Then::refuse);
  worker_.forget(*this);
  const Refusal told = std::move(*exchange.refusal);
  send_refusal(told);
}

// ---- answers of our own ------------------------------------------------------------------------

void Session::answer_locally(LocalAnswer answer) {
  const bool close = !exchange_->head.keep_alive || draining_;
  answer.close = close;
  answer.head_only = exchange_->head.method == "HEAD" || answer.status == 304;
  stream_.write(local_answer(answer, exchange_->id));
  spdlog::info("request={} user={} peer={} endpoint=\"{}\" status={}{}", to_string(exchange_->id),
               exchange_->record.user, exchange_->record.peer_address,
               printable(exchange_->record.endpoint), answer.status, via_field());
  end_exchange(!close);
}

void Session::refuse(Refusal refusal) {
  const policy::RefusalShape& shape = policy::shape_of(refusal.code);
  add(worker_.counters_.refused[static_cast<size_t>(refusal.code)]);
  ringbuf::UsageRecord& record = exchange_->record;
  record.outcome = ringbuf::Outcome::refused;
  record.refusal_code = std::string(shape.name);
  record.http_status = shape.http_status;
  record.duration_ms = worker_.now_ms() - exchange_->started_ms;
  spdlog::info("request={} user={} peer={} endpoint=\"{}\" model={} refused={} status={}{}",
               to_string(exchange_->id), record.user, record.peer_address,
               printable(record.endpoint), printable(record.model_asked), shape.name,
               shape.http_status, via_field());
  // Strangers are counted, not recorded: they must not be able to fill the disk.
  if (!record.user.empty()) {
    const policy::BudgetTime now = worker_.shared_.budgets->now();
    record.settled_unix_ms = now.wall_ms;
    record.settled_window_ms = now.window_ms;
    worker_.record(record);
    add(worker_.counters_.outcomes[static_cast<size_t>(ringbuf::Outcome::refused)]);
  }
  send_refusal(refusal);
}

// Writes the answer and ends the exchange. What of the request was not read makes the connection
// useless for the next one.
void Session::send_refusal(const Refusal& refusal) {
  if (ws_) {
    write_event(error_frame(refusal, limit_fields() + refusal_fields(refusal)));
    end_message();
    return;
  }
  const codec::RequestHead& head = exchange_->head;
  const bool body_unread =
      state_ == State::body || state_ == State::memory
          ? exchange_->head.chunked || body_remaining_ != 0
          : state_ == State::head && (head.chunked || head.content_length.value_or(0) != 0);
  const bool head_unread = head.method.empty();
  const bool close = head_unread || body_unread || !head.keep_alive || draining_;
  // Whatever stands in the way of an upgrade is said to the request that follows by HTTP.
  const int status = head.upgrade ? 426 : policy::shape_of(refusal.code).http_status;
  stream_.write(local_answer({.status = status,
                              .body = policy::refusal_body(refusal),
                              .head_only = head.method == "HEAD",
                              .close = close,
                              .fields = limit_fields() + refusal_fields(refusal)},
                             exchange_->id));
  end_exchange(!close);
}

void Session::end_exchange(bool keep_alive) {
  served_ = true;
  exchange_.reset();
  paused_upstream_ = false;
  if (!keep_alive || draining_) {
    input_.clear();
    set_state(State::linger);
    stream_.finish();
    stream_.resume();
    return;
  }
  set_state(State::head);
  stream_.resume();
  process_input();
}

// How far the limits that bind this request are used, in the fields that Codex reads: it warns a
// person at 75, 90 and 95 percent. And which models this person may use, as the catalogue's tag.
std::string Session::limit_fields() const {
  return codex_limit_fields(exchange_->admission.standing, exchange_->admission.warning) +
         models_etag_field(*worker_.snapshot_, tag_);
}

}  // namespace tollgate::proxy
