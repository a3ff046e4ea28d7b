// Any bytes, in any pieces, give the same steps; and what append_frame writes of them, the reader
// of the other role reads back. The first byte chooses the role and the size of the pieces.
#include "userspace/codec/websocket.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "userspace/base/result.h"

namespace {

using tollgate::codec::WebSocketMask;
using tollgate::codec::WebSocketOpcode;
using tollgate::codec::WebSocketReader;
using State = WebSocketReader::State;

constexpr uint64_t kMessageMax = 4096;

// The runs of a message joined, as their number is the splits' doing.
std::string run(std::span<const std::byte> bytes, size_t piece, WebSocketReader::Role role) {
  WebSocketReader reader(role, kMessageMax);
  std::string seen;
  while (!bytes.empty()) {
    auto in = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(in.size());
    for (auto step = reader.next(in); step.state != State::need_more; step = reader.next(in)) {
      if (step.state != State::data) seen += "\nstep " + std::to_string(int(step.state)) + " ";
      seen.append(reinterpret_cast<const char*>(step.payload.data()), step.payload.size());
      if (step.state != State::data || step.message_end) seen += "\nend";
      seen += step.close_code != 0 ? std::to_string(step.close_code) : "";
      seen += step.why;
      TG_ASSERT(step.state != State::data || reader.in_message() != step.message_end);
    }
    TG_ASSERT(in.empty());
  }
  return seen + (reader.in_message() ? " inside" : "");
}

void check_reads_back(std::span<const std::byte> payload, WebSocketOpcode opcode, State state,
                      const std::optional<WebSocketMask>& mask) {
  std::vector<std::byte> frame;
  append_frame(opcode, payload, mask, frame);
  using Role = WebSocketReader::Role;
  WebSocketReader reader(mask ? Role::server : Role::client, payload.size());
  std::span<const std::byte> in = frame;
  std::vector<std::byte> back;
  for (auto step = reader.next(in); step.state != State::need_more; step = reader.next(in)) {
    TG_ASSERT(step.state == state);
    back.insert(back.end(), step.payload.begin(), step.payload.end());
  }
  TG_ASSERT(!reader.in_message() &&
            std::equal(back.begin(), back.end(), payload.begin(), payload.end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto role = data[0] < 128 ? WebSocketReader::Role::server : WebSocketReader::Role::client;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  const std::string whole = run(bytes, size, role);
  TG_ASSERT(whole == run(bytes, size_t{data[0]} % 64 + 1, role));
  TG_ASSERT(whole == run(bytes, 1, role));
  const WebSocketMask mask = {bytes[0], bytes.back(), std::byte{7}, bytes[bytes.size() / 2]};
  for (const auto& chosen : {std::optional<WebSocketMask>(), std::optional(mask)}) {
    check_reads_back(bytes, WebSocketOpcode::text, State::data, chosen);
    const auto few = bytes.first(std::min<size_t>(bytes.size(), 125));
    check_reads_back(few, WebSocketOpcode::ping, State::ping, chosen);
  }
  return 0;
}
