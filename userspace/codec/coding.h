// Content codings, sans-I/O: gzip (RFC 1952) and zstd (RFC 8878, window as RFC 9659 asks) taken off
// while bytes arrive. A decoder's memory is bounded whatever comes: one buffer for what was
// decoded, and the window: 32 KiB of gzip, at most 8 MiB of zstd.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "userspace/codec/http1.h"

namespace tollgate::codec {

enum class Coding : uint8_t { identity, gzip, zstd };

// What the Content-Encoding fields name. Nothing for what is not decoded here: another name
// (deflate, br), or more than one coding, in one field or in several.
std::optional<Coding> content_coding(const std::vector<Field>& fields);

// The most that a request's body may become. JSON with much repetition becomes 5 to 20 times
// smaller, pictures in base64 1.3 times; a body beyond 100 times is made to be large. A few bytes
// of gzip are a page of spaces, so that much is free.
inline constexpr uint64_t kPlainToCodedMax = 100;
inline constexpr uint64_t kPlainBytesFree = 64 * 1024;
constexpr uint64_t plain_bytes_max(uint64_t coded) {
  return coded > (UINT64_MAX - kPlainBytesFree) / kPlainToCodedMax
             ? UINT64_MAX
             : kPlainBytesFree + kPlainToCodedMax * coded;
}

enum class CodingFault : uint8_t {
  none,
  malformed,  // also what follows a member or a frame and is not another one
  too_large,
};

class Decoder {
 public:
  enum class State : uint8_t { data, need_more, fault };
  struct Step {
    State state;
    std::span<const std::byte> data;  // state data: valid until the next call
  };

  static std::unique_ptr<Decoder> make(Coding coding, uint64_t plain_bytes_max = UINT64_MAX);
  virtual ~Decoder() = default;
  Decoder(const Decoder&) = delete;

  // Advances `in` past what was consumed, and yields one run of plain bytes at a time. Call until
  // it is not `data`. A fault stays.
  Step next(std::span<const std::byte>& in);
  // What came is whole: it ends where a member (gzip) or a frame (zstd) does. True of nothing.
  bool complete() const { return at_boundary_; }
  CodingFault fault() const { return fault_; }

 protected:
  struct Progress {
    size_t consumed = 0;
    size_t produced = 0;
    bool ended = false;  // a member or a frame
    bool malformed = false;
  };
  explicit Decoder(uint64_t plain_bytes_max);
  // Decodes some of `in` into `out`. `fresh`: a member or a frame begins with `in`, which then is
  // not empty.
  virtual Progress decode(std::span<const std::byte> in, std::span<std::byte> out, bool fresh) = 0;

 private:
  Step stop(CodingFault fault);

  const uint64_t plain_bytes_max_;
  std::vector<std::byte> plain_;
  uint64_t produced_ = 0;
  CodingFault fault_ = CodingFault::none;
  bool at_boundary_ = true;
  bool more_inside_ = false;  // the output was full: there may be more without further input
};

}  // namespace tollgate::codec
