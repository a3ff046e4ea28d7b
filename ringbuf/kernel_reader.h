// Flow events out of the kernel's ring buffer. What lies in the ring was written by our own
// program, but it is parsed as if it were not: another length or an unknown value is dropped and
// counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "ringbuf/record.h"
#include "userspace/base/result.h"

struct ring_buffer;

namespace tollgate::ringbuf {

// Refuses anything but one whole tg_flow_event with known values and zero padding.
Result<FlowRecord> flow_from_bytes(std::span<const std::byte> bytes);

class KernelReader {
 public:
  // `ring_map_fd` stays the caller's and must outlive the reader.
  static Result<std::unique_ptr<KernelReader>> make(int ring_map_fd);
  KernelReader(const KernelReader&) = delete;
  KernelReader& operator=(const KernelReader&) = delete;

  int fd() const;  // readable when there are events
  // Hands over what is there and returns; `visit` must not throw (C frames lie between).
  Status poll(const std::function<void(const FlowRecord&)>& visit);
  uint64_t malformed() const { return malformed_; }

 private:
  struct Free {
    void operator()(ring_buffer* ring) const;
  };
  KernelReader() = default;
  static int on_sample(void* reader, void* data, size_t size);

  std::unique_ptr<ring_buffer, Free> ring_;
  const std::function<void(const FlowRecord&)>* visit_ = nullptr;
  uint64_t malformed_ = 0;
};

}  // namespace tollgate::ringbuf
