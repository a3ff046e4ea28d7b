// A chunked body decodes to the same bytes and end whole and byte by byte.
#include <algorithm>
#include <cstdint>
#include <string>

#include "userspace/base/result.h"
#include "userspace/codec/http1.h"

namespace {

using tollgate::codec::ChunkedDecoder;

struct Decoded {
  std::string body;
  ChunkedDecoder::State state = ChunkedDecoder::State::need_more;
};

Decoded decode(std::span<const std::byte> bytes, size_t piece) {
  ChunkedDecoder decoder;
  Decoded out;
  while (!bytes.empty() && out.state == ChunkedDecoder::State::need_more) {
    auto in = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(in.size());
    while (true) {
      const auto step = decoder.next(in);
      out.state = step.state;
      if (step.state != ChunkedDecoder::State::data) break;
      out.body.append(reinterpret_cast<const char*>(step.data.data()), step.data.size());
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const Decoded whole = decode(bytes, size + 1);
  const Decoded split = decode(bytes, 1);
  TG_ASSERT(whole.body == split.body && whole.state == split.state);
  return 0;
}
