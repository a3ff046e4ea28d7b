#include "userspace/proxy/session.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "userspace/base/clock.h"
#include "userspace/base/fault_point.h"
#include "userspace/base/text.h"
#include "userspace/proxy/forward.h"
#include "userspace/proxy/worker.h"

namespace tollgate::proxy {
namespace {

using policy::Refusal;
using policy::RefusalCode;

constexpr size_t kLabelBytesMax = 128;
std::string label(std::string_view claim) {
  return std::string(claim.substr(0, kLabelBytesMax));
}

std::string json_list_of_models(const std::vector<std::string>& models) {
  nlohmann::json data = nlohmann::json::array();
  for (const std::string& model : models) {
    data.push_back({{"id", model}, {"object", "model"}, {"created", 0}, {"owned_by", "tollgate"}});
  }
  return nlohmann::json{{"object", "list"}, {"data", std::move(data)}}.dump(
      -1, ' ', false, nlohmann::json::error_handler_t::replace);
}

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
  if (state_ == State::body && input_.empty()) read_body(plain);  // no copy through input_
  input_.append(reinterpret_cast<const char*>(plain.data()), plain.size());
  process_input();
  // A client that sends ahead of its answers waits in the kernel's buffers, not in ours.
  if (exchange_ && state_ != State::body && input_.size() > worker_.shared_.limits.head_bytes_max) {
    stream_.pause();
  }
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
  if (paused_upstream_ && exchange_ && exchange_->upstream != nullptr) {
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
    if (state_ == State::head) {
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

bool Session::read_head() {
  auto exchange = std::make_unique<Exchange>(worker_.shared_.body_memory);
  const codec::HeadResult result = codec::parse_request_head(
      input_, {.bytes_max = worker_.shared_.limits.head_bytes_max}, scanned_, exchange->head);
  if (result.state == codec::HeadState::need_more) return false;
  scanned_ = 0;
  exchange_ = std::move(exchange);
  exchange_->started_ms = worker_.now_ms();
  const int64_t now_unix_ms = wall_unix_ms();
  exchange_->id = make_request_id(now_unix_ms);
  exchange_->record.id = exchange_->id;
  exchange_->record.started_unix_ms = now_unix_ms;
  exchange_->record.flow_id = flow_id_;
  exchange_->record.peer_address = to_string(remote_.address);
  add(worker_.counters_.requests);
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
  record.session_id = label(head.field("session-id"));
  record.thread_id = label(head.field("thread-id"));
  record.subagent = label(head.field("x-openai-subagent"));
  auto who = identify(*worker_.snapshot_, tag_, record.peer_address);
  if (auto* refusal = std::get_if<Refusal>(&who)) {
    refuse(std::move(*refusal));
    return;
  }
  const policy::Peer& peer = *std::get<const policy::Peer*>(who);
  record.peer_id = peer.tag.peer_id;
  record.user = peer.user;
  record.groups = peer.groups;
  if (!worker_.admitting_) {
    refuse({RefusalCode::draining, "The gateway is restarting. Try again in a moment.", {}});
    return;
  }
  if (meant_for_here()) route();
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

// Method and path, exactly; everything else is refused, so that the injected key opens nothing that
// is not metered here.
void Session::route() {
  const codec::RequestHead& head = exchange_->head;
  const bool responses = head.path == "/v1/responses";
  const bool models = head.path == "/v1/models";
  if (!responses && !models) {
    refuse({RefusalCode::endpoint_unknown,
            "This gateway serves POST /v1/responses and GET /v1/models, not " +
                printable(exchange_->record.endpoint) + ".",
            {}});
  } else if (head.upgrade) {
    refuse({RefusalCode::upgrade_refused,
            "This gateway does not speak WebSocket; use HTTP with server-sent events.",
            {}});
  } else if (responses && head.method == "POST") {
    begin_body();
  } else if (head.content_length.value_or(0) != 0 || head.chunked) {
    refuse({RefusalCode::method_not_allowed,
            printable(exchange_->record.endpoint) + " takes no body here.",
            {}});
  } else if (responses && head.method == "HEAD") {
    answer_locally(200, "", true);
  } else if (models && (head.method == "GET" || head.method == "HEAD")) {
    const policy::Policy& policy = *worker_.snapshot_->policy;
    answer_locally(200, json_list_of_models(policy.models_for(*policy.peer_by_tag(tag_))),
                   head.method == "HEAD");
  } else {
    refuse({RefusalCode::method_not_allowed,
            "This gateway does not serve " + printable(exchange_->record.endpoint) + ".",
            {}});
  }
}

void Session::begin_body() {
  const codec::RequestHead& head = exchange_->head;
  const uint64_t bytes_max = worker_.shared_.limits.body_bytes_max;
  const std::string_view coding = head.field("content-encoding");
  if (!coding.empty() && !codec::equals_ignoring_case(coding, "identity")) {
    refuse({RefusalCode::body_encoding,
            "This gateway must read the request body and cannot decode \"" +
                printable(label(coding)) + "\". Send it uncompressed.",
            {}});
    return;
  }
  if (!head.chunked && head.content_length.value_or(0) == 0) {
    refuse({RefusalCode::body_required, "POST /v1/responses needs a JSON body.", {}});
    return;
  }
  if (head.content_length.value_or(0) > bytes_max) {
    refuse({RefusalCode::body_too_large,
            "The request is " + std::to_string(*head.content_length) +
                " bytes; this gateway takes at most " + std::to_string(bytes_max) + ".",
            {}});
    return;
  }
  if (head.expect_continue) stream_.write("HTTP/1.1 100 Continue\r\n\r\n");
  body_remaining_ = head.content_length.value_or(0);
  set_state(State::body);
}

// Advances `bytes` past what belongs to this request.
void Session::read_body(std::span<const std::byte>& bytes) {
  if (!exchange_->head.chunked) {
    const size_t own = static_cast<size_t>(std::min<uint64_t>(bytes.size(), body_remaining_));
    const auto run = bytes.first(own);
    bytes = bytes.subspan(own);
    body_remaining_ -= own;
    if (append_body(run) && body_remaining_ == 0) end_body();
    return;
  }
  while (state_ == State::body) {
    const auto step = exchange_->chunks.next(bytes);
    switch (step.state) {
      case codec::ChunkedDecoder::State::data:
        if (!append_body(step.data)) return;
        break;
      case codec::ChunkedDecoder::State::need_more:
        return;
      case codec::ChunkedDecoder::State::done:
        end_body();
        return;
      case codec::ChunkedDecoder::State::fault:
        refuse({RefusalCode::head_malformed,
                "This gateway could not read the request's chunked body.",
                {}});
        return;
    }
  }
}

bool Session::append_body(std::span<const std::byte> bytes) {
  const uint64_t bytes_max = worker_.shared_.limits.body_bytes_max;
  if (exchange_->body.size() + bytes.size() > bytes_max) {
    refuse({RefusalCode::body_too_large,
            "The request is larger than the " + std::to_string(bytes_max) +
                " bytes that this gateway takes.",
            {}});
    return false;
  }
  if (!exchange_->body.append(bytes, exchange_->head.content_length.value_or(0))) {
    refuse({RefusalCode::overloaded,
            "The gateway holds as many requests as it may. Try again in a moment.",
            {}});
    return false;
  }
  return true;
}

void Session::end_body() {
  Exchange& exchange = *exchange_;
  exchange.record.bytes_up = exchange.body.size();
  codec::InspectResult inspected = worker_.inspector_.inspect(exchange.body.bytes());
  if (exchange.body.size() > (size_t{1} << 20)) worker_.inspector_.trim();
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
  auto admitted =
      admit({.snapshot = worker_.snapshot_,
             .tag = tag_,
             .id = exchange.id,
             .facts = &exchange.facts,
             .body_bytes = exchange.body.size(),
             .budgets = worker_.shared_.budgets,
             .store_healthy = worker_.ledger_has_room() && worker_.shared_.store_healthy(),
             .draining = !worker_.admitting_,
             .unmetered = worker_.shared_.refuse_unmetered.load(std::memory_order_relaxed)});
  if (auto* denial = std::get_if<Denial>(&admitted)) {
    exchange.admission.standing = std::move(denial->standing);
    refuse(std::move(denial->refusal));
    return;
  }
  exchange.admission = std::get<Admission>(std::move(admitted));
  exchange.admitted = true;
  add(worker_.counters_.requests_running);
  hold_request();
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

// The fields that policy sets, and no other byte. What comes out is read again before it is sent.
bool Session::rewrite_body() {
  Exchange& exchange = *exchange_;
  if (exchange.admission.changes.empty()) return true;
  const std::string_view text(reinterpret_cast<const char*>(exchange.body.bytes().data()),
                              exchange.body.size());
  const auto changed = codec::rewrite_fields(text, exchange.admission.changes);
  if (!changed) return false;
  exchange.body.release();
  if (!exchange.body.append(std::as_bytes(std::span(*changed)), changed->size())) return false;
  const codec::InspectResult again = worker_.inspector_.inspect(exchange.body.bytes());
  return again.fault == codec::BodyFault::none &&
         again.facts.model == exchange.admission.served_model;
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

void Session::answer_locally(int status, std::string body, bool head_only) {
  const bool close = !exchange_->head.keep_alive || draining_;
  stream_.write(local_answer({status, std::move(body), head_only, close}, exchange_->id));
  spdlog::info("request={} user={} peer={} endpoint=\"{}\" status={}{}", to_string(exchange_->id),
               exchange_->record.user, exchange_->record.peer_address,
               printable(exchange_->record.endpoint), status, via_field());
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
  const codec::RequestHead& head = exchange_->head;
  const bool body_unread =
      state_ == State::body
          ? exchange_->head.chunked || body_remaining_ != 0
          : state_ == State::head && (head.chunked || head.content_length.value_or(0) != 0);
  const bool head_unread = head.method.empty();
  const bool close = head_unread || body_unread || !head.keep_alive || draining_;
  stream_.write(local_answer({.status = policy::shape_of(refusal.code).http_status,
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
// person at 75, 90 and 95 percent.
std::string Session::limit_fields() const {
  return codex_limit_fields(exchange_->admission.standing, exchange_->admission.warning);
}

}  // namespace tollgate::proxy
