// One request and its answer, from the complete head to the settled record. Lives as long as the
// request does, so that an idle connection is small.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ringbuf/record.h"
#include "userspace/codec/coding.h"
#include "userspace/codec/event_scanner.h"
#include "userspace/codec/http1.h"
#include "userspace/codec/responses.h"
#include "userspace/proxy/admit.h"
#include "userspace/proxy/body.h"
#include "userspace/proxy/endpoint.h"

namespace tollgate::proxy {

class UpstreamConnection;

// What a client claims, as far as a record keeps it.
inline constexpr size_t kLabelBytesMax = 128;
inline std::string label(std::string_view claim) {
  return std::string(claim.substr(0, kLabelBytesMax));
}

struct Exchange {
  explicit Exchange(BodyMemory& memory) : body(memory), plain(memory) {}

  // What the request says.
  const Body& text() const { return coding == codec::Coding::identity ? body : plain; }

  RequestId id;
  int64_t started_ms = 0;  // monotonic
  std::string head_text;   // what the views of `head` point into
  codec::RequestHead head;
  Route route;
  std::optional<BodyMemory::Place> place;          // while it waits for memory
  Body body;                                       // as it came, and as it is forwarded
  codec::Coding coding = codec::Coding::identity;  // of the body
  Body plain;  // what is read of a coded body, until the request is decided
  codec::ChunkedDecoder chunks;
  codec::RequestFacts facts;
  ringbuf::UsageRecord record;
  // What holds and estimates are sized by: the body, with all that it continues.
  uint64_t weighed_bytes = 0;

  // Once admitted:
  bool admitted = false;
  Admission admission;
  uint64_t hold_sequence = 0;  // of the hold's record
  UpstreamConnection* upstream = nullptr;
  bool sent_upstream = false;
  // Once the provider answered:
  int upstream_status = 0;
  std::unique_ptr<codec::EventScanner> scanner;    // an event stream
  std::unique_ptr<codec::Decoder> answer_decoder;  // takes the answer's coding off
  std::string answer_head;                         // not a stream: kept with the body until settled
  bool answer_chunked = false;
  std::vector<std::byte> answer;
  bool upstream_ended = false;
  int64_t last_event_ms = 0;  // when the client last had something of the answer
  // The client has left; the answer is read for its usage alone, and nobody is written to.
  bool client_gone = false;
  // Once settled:
  bool settled = false;
  uint64_t settle_sequence = 0;
  // What the client gets when the record is durable.
  enum class Then : uint8_t { release, finish, refuse, fail, cut };
  Then then = Then::release;
  std::optional<policy::Refusal> refusal;

  // The usage of a chat's stream was asked for by us: its event is not for the client.
  bool hides_usage() const {
    return route.api == codec::Api::chat_completions && !facts.wants_stream_usage;
  }
};

}  // namespace tollgate::proxy
