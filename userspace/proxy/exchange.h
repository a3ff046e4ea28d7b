// One request and its answer, from the complete head to the settled record. Lives as long as the
// request does, so that an idle connection is small.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ringbuf/record.h"
#include "userspace/codec/http1.h"
#include "userspace/codec/responses.h"
#include "userspace/codec/sse.h"
#include "userspace/proxy/admit.h"
#include "userspace/proxy/body.h"

namespace tollgate::proxy {

class UpstreamConnection;

struct Exchange {
  explicit Exchange(BodyMemory& memory) : body(memory) {}

  RequestId id;
  int64_t started_ms = 0;  // monotonic
  std::string head_text;   // what the views of `head` point into
  codec::RequestHead head;
  Body body;
  codec::ChunkedDecoder chunks;
  codec::RequestFacts facts;
  ringbuf::UsageRecord record;
  std::string upstream_path;  // below the provider's prefix

  // Once admitted:
  bool admitted = false;
  Admission admission;
  uint64_t hold_sequence = 0;  // of the hold's record
  UpstreamConnection* upstream = nullptr;
  bool sent_upstream = false;
  // Once the provider answered:
  int upstream_status = 0;
  std::unique_ptr<codec::SseScanner> scanner;  // an event stream
  std::string answer_head;                     // not a stream: kept with the body until settled
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
};

}  // namespace tollgate::proxy
