// What a session has besides its stream once the client's connection is a WebSocket (RFC 6455, as
// the Responses API uses it: each `response.create` message is a request, each event a message).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "userspace/codec/event_splitter.h"
#include "userspace/codec/http1.h"
#include "userspace/codec/websocket.h"
#include "userspace/proxy/exchange.h"

namespace tollgate::proxy {

struct ClientSocket {
  ClientSocket(BodyMemory& memory, uint64_t message_bytes_max, int64_t now_ms)
      : reader(codec::WebSocketReader::Role::server, message_bytes_max),
        opened_ms(now_ms),
        items(memory) {}

  codec::WebSocketReader reader;
  std::string user;  // for the log
  const int64_t opened_ms;
  int64_t pinged_ms = 0;
  // The upgrade's: each message is forwarded with these fields.
  std::string head_text;
  codec::RequestHead head;
  // The message that is coming in, or the next one while another is answered.
  std::unique_ptr<Exchange> incoming;
  bool incoming_complete = false;
  bool closing = false;     // a close frame was sent: nothing else may be
  uint16_t close_next = 0;  // to be sent behind the answer in progress

  // Of the answer in progress.
  std::vector<std::byte> held;  // frames from the terminal event on, until its record is durable
  std::optional<codec::EventSplitter> splitter;  // the provider answers by HTTP, with events
  std::string new_items;                         // bridging: what the message added
  std::string answered_items;                    // and what has come back
  uint64_t delta_bytes = 0;
  uint64_t answered_bytes = 0;  // of whole items

  // The conversation so far, which the client continues by naming its last response.
  std::string last_response_id;
  uint64_t conversation_bytes = 0;
  Body items;             // bridging: all of it, to be sent with the next request
  std::string items_end;  // the response that it ends with

  // A WebSocket to the provider, if it speaks that; the provider remembers the conversation by it.
  UpstreamConnection* link = nullptr;
  bool link_open = false;                     // the 101 was read
  std::shared_ptr<const Target> link_target;  // where it leads
  bool link_refused = false;                  // the provider said no: HTTP from now on
  std::optional<codec::WebSocketReader> link_reader;
  std::string link_key;      // Sec-WebSocket-Key of ours
  std::string link_message;  // the event that is coming in
};

}  // namespace tollgate::proxy
