// What is decoded does not depend on the splits, the bounds hold, and a fault stays. The first byte
// of the input chooses the coding and the size of the pieces.
#include "userspace/codec/coding.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "userspace/base/result.h"

namespace {

using tollgate::codec::Coding;
using tollgate::codec::CodingFault;
using tollgate::codec::Decoder;
using tollgate::codec::plain_bytes_max;

constexpr uint64_t kPlainBytesMax = 1 << 20;

struct Seen {
  std::string plain;
  bool complete = false;
  CodingFault fault = CodingFault::none;
};

Seen run(Coding coding, std::span<const std::byte> bytes, size_t piece) {
  const uint64_t total = bytes.size();
  const auto decoder = Decoder::make(coding, std::min(kPlainBytesMax, plain_bytes_max(total)));
  Seen seen;
  while (!bytes.empty()) {
    auto in = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(in.size());
    Decoder::Step step = decoder->next(in);
    for (; step.state == Decoder::State::data; step = decoder->next(in))
      seen.plain.append(reinterpret_cast<const char*>(step.data.data()), step.data.size());
    TG_ASSERT(step.state == Decoder::State::fault || in.empty());
    TG_ASSERT((step.state == Decoder::State::fault) == (decoder->fault() != CodingFault::none));
  }
  TG_ASSERT(seen.plain.size() <= kPlainBytesMax);
  seen.fault = decoder->fault();
  seen.complete = decoder->complete() && seen.fault == CodingFault::none;
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const Coding coding = data[0] % 2 == 0 ? Coding::gzip : Coding::zstd;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  const Seen whole = run(coding, bytes, size);
  const Seen split = run(coding, bytes, size_t{data[0]} / 2 % 64 + 1);
  TG_ASSERT(whole.complete == split.complete);
  // Which of two faults is met first may depend on the splits; that there is one does not.
  TG_ASSERT((whole.fault == CodingFault::none) == (split.fault == CodingFault::none));
  TG_ASSERT(whole.fault != CodingFault::none || whole.plain == split.plain);
  return 0;
}
