#include "ringbuf/kernel_reader.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "bpf/abi.h"

namespace tollgate::ringbuf {
namespace {

Endpoint endpoint_of(const __u8 (&address)[TG_ADDRESS_BYTES], uint16_t port) {
  Endpoint endpoint;
  std::copy(std::begin(address), std::end(address), endpoint.address.bytes.begin());
  endpoint.port = port;
  return endpoint;
}

std::optional<FlowEvent> event_of(uint8_t value) {
  switch (value) {
    case TG_EVENT_OPEN:
      return FlowEvent::open;
    case TG_EVENT_CLOSE:
      return FlowEvent::close;
    case TG_EVENT_PEER_UNKNOWN:
      return FlowEvent::peer_unknown;
    case TG_EVENT_UPSTREAM_OPEN:
      return FlowEvent::upstream_open;
    case TG_EVENT_UPSTREAM_CLOSE:
      return FlowEvent::upstream_close;
    default:
      return std::nullopt;
  }
}

Error malformed(std::string what) {
  return Error{Fault::self, EPROTO, std::move(what), {}};
}

}  // namespace

Result<FlowRecord> flow_from_bytes(std::span<const std::byte> bytes) {
  tg_flow_event raw{};
  if (bytes.size() != sizeof raw) {
    return malformed("read flow event: " + std::to_string(bytes.size()) + " bytes, not " +
                     std::to_string(sizeof raw));
  }
  std::memcpy(&raw, bytes.data(), sizeof raw);
  const auto event = event_of(raw.event);
  if (!event) return malformed("read flow event: unknown kind " + std::to_string(raw.event));
  if (std::any_of(std::begin(raw.pad), std::end(raw.pad), [](__u8 b) { return b != 0; })) {
    return malformed("read flow event: padding is not zero");
  }
  if (*event != FlowEvent::open && *event != FlowEvent::close && raw.tag.peer_id != 0) {
    return malformed("read flow event: nobody's connection with an id");
  }
  FlowRecord record;
  record.event = *event;
  record.flow_id = raw.flow_id;
  record.monotonic_ns = static_cast<int64_t>(raw.monotonic_ns);
  record.tag = PeerTag{raw.tag.peer_id, raw.tag.generation};
  record.ifindex = raw.ifindex;
  record.remote = endpoint_of(raw.remote_addr, raw.remote_port);
  record.local = endpoint_of(raw.local_addr, raw.local_port);
  record.bytes_received = raw.bytes_received;
  record.bytes_sent = raw.bytes_sent;
  record.srtt_us = raw.srtt_us;
  return record;
}

void KernelReader::Free::operator()(ring_buffer* ring) const {
  ring_buffer__free(ring);
}

Result<std::unique_ptr<KernelReader>> KernelReader::make(int ring_map_fd) {
  std::unique_ptr<KernelReader> reader(new KernelReader);
  reader->ring_.reset(ring_buffer__new(ring_map_fd, &on_sample, reader.get(), nullptr));
  if (!reader->ring_) return system_error(errno, "map the flow event ring");
  return reader;
}

int KernelReader::fd() const {
  return ring_buffer__epoll_fd(ring_.get());
}

Status KernelReader::poll(const std::function<void(const FlowRecord&)>& visit) {
  visit_ = &visit;
  const int consumed = ring_buffer__consume(ring_.get());
  visit_ = nullptr;
  if (consumed < 0) return system_error(-consumed, "read the flow event ring");
  return {};
}

int KernelReader::on_sample(void* reader, void* data, size_t size) {
  auto* self = static_cast<KernelReader*>(reader);
  const auto record = flow_from_bytes({static_cast<const std::byte*>(data), size});
  if (record) {
    (*self->visit_)(*record);
  } else {
    ++self->malformed_;
  }
  return 0;
}

}  // namespace tollgate::ringbuf
