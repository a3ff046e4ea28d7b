// The body of a request: waited for, read within bounds, decoded to be looked at, and changed where
// policy says so. What comes before and after is in session.cc.
#include <algorithm>
#include <utility>

#include "userspace/base/text.h"
#include "userspace/proxy/coded_body.h"
#include "userspace/proxy/session.h"
#include "userspace/proxy/worker.h"

namespace tollgate::proxy {
namespace {

using policy::Refusal;
using policy::RefusalCode;

}  // namespace

void Session::begin_body() {
  const codec::RequestHead& head = exchange_->head;
  const uint64_t bytes_max = worker_.shared_.limits.body_bytes_max;
  const auto coding = codec::content_coding(head.fields);
  if (!coding) {
    refuse({RefusalCode::body_encoding,
            "This gateway must read the request body and cannot decode \"" +
                printable(label(head.field("content-encoding"))) +
                "\". Send it uncompressed, or as gzip or zstd.",
            {}});
    return;
  }
  exchange_->coding = *coding;
  if (!head.chunked && head.content_length.value_or(0) == 0) {
    refuse({RefusalCode::body_required,
            printable(exchange_->record.endpoint) + " needs a JSON body.",
            {}});
    return;
  }
  if (head.content_length.value_or(0) > bytes_max) {
    refuse({RefusalCode::body_too_large,
            "The request is " + std::to_string(*head.content_length) +
                " bytes; this gateway takes at most " + std::to_string(bytes_max) + ".",
            {}});
    return;
  }
  body_remaining_ = head.content_length.value_or(0);
  set_state(State::memory);
  if (head.chunked) {  // takes as it grows
    start_body();
    return;
  }
  BodyMemory& memory = worker_.shared_.body_memory;
  const uint64_t needed = body_remaining_ + plain_room(*coding, body_remaining_, bytes_max);
  exchange_->place.emplace(memory, std::min(needed, memory.bytes_max()),
                           [&worker = worker_] { worker.wake_waiting_bodies(); });
  on_body_memory();
}

void Session::on_body_memory() {
  if (state_ != State::memory || !exchange_->place->granted()) return;
  Exchange& exchange = *exchange_;
  const uint64_t granted = exchange.place->claim();
  exchange.place.reset();
  const bool has_room = exchange.body.adopt(body_remaining_);
  if (exchange.plain.adopt(granted - body_remaining_) && has_room) {
    start_body();
  } else {
    refuse(overloaded_refusal());
  }
}

void Session::start_body() {
  set_state(State::body);
  if (exchange_->head.expect_continue) stream_.write("HTTP/1.1 100 Continue\r\n\r\n");
  stream_.resume();
  process_input();
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
    refuse(overloaded_refusal());
    return false;
  }
  return true;
}

// False when that was refused.
bool Session::decode() {
  Exchange& exchange = *exchange_;
  if (exchange.coding == codec::Coding::identity) return true;
  std::optional<Refusal> refusal;
  if (exchange.head.chunked) {
    const uint64_t room =
        plain_room(exchange.coding, exchange.body.size(), worker_.shared_.limits.body_bytes_max);
    if (!worker_.shared_.body_memory.take(room) || !exchange.plain.adopt(room)) {
      refusal = overloaded_refusal();
    }
  }
  if (!refusal) refusal = decode_body(exchange.coding, exchange.body, exchange.plain);
  if (!refusal) return true;
  refuse(*std::move(refusal));
  return false;
}

// The fields that policy sets, and no other byte. What comes out is read again before it is sent.
// A coded body is replaced by what it says; where policy changes nothing, it goes on as it came.
bool Session::rewrite_body() {
  Exchange& exchange = *exchange_;
  Body plain = std::move(exchange.plain);
  if (exchange.admission.changes.empty()) return true;
  if (exchange.coding != codec::Coding::identity) {
    exchange.body = std::move(plain);
    exchange.coding = codec::Coding::identity;
    std::erase_if(exchange.head.fields, [](const codec::Field& field) {
      return codec::equals_ignoring_case(field.name, "content-encoding");
    });
  }
  const std::string_view text = as_text(exchange.body.bytes());
  const auto changed = codec::rewrite_fields(text, exchange.admission.changes);
  if (!changed || !exchange.body.assign(std::as_bytes(std::span(*changed)))) return false;
  exchange.body.shrink();
  const codec::InspectResult again =
      worker_.inspector_.inspect(exchange.body.bytes(), exchange.route.api);
  return again.fault == codec::BodyFault::none &&
         again.facts.model == exchange.admission.served_model;
}

}  // namespace tollgate::proxy
