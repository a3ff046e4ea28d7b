#include "userspace/proxy/coded_body.h"

#include <algorithm>
#include <string>

#include "userspace/base/result.h"

namespace tollgate::proxy {
namespace {

using policy::Refusal;
using policy::RefusalCode;

Refusal broken(codec::Coding coding, std::string_view how) {
  return {RefusalCode::json_malformed,
          "This gateway could not read the request: its " + std::string(name_of(coding)) +
              " coding " + std::string(how) + ".",
          {}};
}

// Which of the two bounds was it?
Refusal too_large(codec::Coding coding, uint64_t room, bool by_ratio) {
  const std::string decoded = " once its " + std::string(name_of(coding)) + " coding is taken off";
  return {RefusalCode::body_too_large,
          by_ratio ? "The request becomes more than " + std::to_string(codec::kPlainToCodedMax) +
                         " times as large" + decoded + ". Send it uncompressed."
                   : "The request is larger" + decoded + " than the " + std::to_string(room) +
                         " bytes that this gateway takes.",
          {}};
}

}  // namespace

uint64_t plain_room(codec::Coding coding, uint64_t coded_bytes, uint64_t body_bytes_max) {
  if (coding == codec::Coding::identity) return 0;
  return std::min(codec::plain_bytes_max(coded_bytes), body_bytes_max);
}

std::optional<Refusal> decode_body(codec::Coding coding, const Body& coded, Body& plain) {
  const uint64_t room = plain.capacity();
  const auto decoder = codec::Decoder::make(coding, room);
  std::span<const std::byte> in = coded.bytes();
  auto step = decoder->next(in);
  for (; step.state == codec::Decoder::State::data; step = decoder->next(in)) {
    const bool fits = plain.append(step.data, room);
    TG_ASSERT(fits);  // the decoder stops before
  }
  switch (decoder->fault()) {
    case codec::CodingFault::malformed:
      return broken(coding, "is malformed");
    case codec::CodingFault::too_large:
      return too_large(coding, room, room == codec::plain_bytes_max(coded.size()));
    case codec::CodingFault::none:
      break;
  }
  if (!decoder->complete()) return broken(coding, "ends early");
  return std::nullopt;
}

std::string_view name_of(codec::Coding coding) {
  switch (coding) {
    case codec::Coding::identity:
      return "identity";
    case codec::Coding::gzip:
      return "gzip";
    case codec::Coding::zstd:
      return "zstd";
  }
  return "";
}

}  // namespace tollgate::proxy
