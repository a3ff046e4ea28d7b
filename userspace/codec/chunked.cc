#include <algorithm>

#include "userspace/codec/chars.h"
#include "userspace/codec/http1.h"

namespace tollgate::codec {
namespace {

constexpr uint8_t kSizeDigitsMax = 16;  // all of 64 bits, so that no sum can overflow
constexpr uint32_t kChunkLineBytesMax = 1024;
constexpr uint32_t kTrailerBytesMax = 8192;  // of all trailers together

// Where in a trailer line; kept in trailer_match_.
enum TrailerAt : uint8_t { kLineStart, kName, kValue, kValueLf, kFinalLf };

}  // namespace

ChunkedDecoder::Step ChunkedDecoder::next(std::span<const std::byte>& in) {
  while (!in.empty() && at_ != At::done && at_ != At::fault) {
    if (at_ == At::data) {
      const size_t run = static_cast<size_t>(std::min<uint64_t>(remaining_, in.size()));
      const auto data = in.first(run);
      in = in.subspan(run);
      remaining_ -= run;
      if (remaining_ == 0) at_ = At::data_cr;
      return {State::data, data};
    }
    const char c = static_cast<char>(in.front());
    in = in.subspan(1);
    at_ = at_ == At::trailer ? after_trailer_byte(c) : after_line_byte(c);
  }
  if (at_ == At::done) return {State::done, {}};
  if (at_ == At::fault) return {State::fault, {}};
  return {State::need_more, {}};
}

ChunkedDecoder::At ChunkedDecoder::after_line_byte(char c) {
  if (++line_bytes_ > kChunkLineBytesMax) return At::fault;
  switch (at_) {
    case At::size: {
      const int digit = hex_value(c);
      if (digit >= 0) {
        if (++size_digits_ > kSizeDigitsMax) return At::fault;
        remaining_ = remaining_ << 4 | static_cast<uint64_t>(digit);
        return At::size;
      }
      // White space here is where lenient parsers differ, so only ';' or CR may follow.
      if (size_digits_ == 0) return At::fault;
      if (c == ';') return At::extension;
      return c == '\r' ? At::size_lf : At::fault;
    }
    case At::extension:
      if (c == '\r') return At::size_lf;
      return is_class(c, kValueByte) ? At::extension : At::fault;
    case At::size_lf:
      if (c != '\n') return At::fault;
      line_bytes_ = 0;
      return remaining_ == 0 ? At::trailer : At::data;
    case At::data_cr:
      return c == '\r' ? At::data_lf : At::fault;
    case At::data_lf:
      if (c != '\n') return At::fault;
      line_bytes_ = 0;
      size_digits_ = 0;
      return At::size;
    default:
      return At::fault;
  }
}

ChunkedDecoder::At ChunkedDecoder::after_trailer_byte(char c) {
  if (++line_bytes_ > kTrailerBytesMax) return At::fault;
  switch (trailer_match_) {
    case kLineStart:
      if (c == '\r') {
        trailer_match_ = kFinalLf;
        return At::trailer;
      }
      trailer_match_ = kName;
      return is_class(c, kTokenByte) ? At::trailer : At::fault;
    case kName:
      if (c == ':') {
        trailer_match_ = kValue;
        return At::trailer;
      }
      return is_class(c, kTokenByte) ? At::trailer : At::fault;
    case kValue:
      if (c == '\r') {
        trailer_match_ = kValueLf;
        return At::trailer;
      }
      return is_class(c, kValueByte) ? At::trailer : At::fault;
    case kValueLf:
      trailer_match_ = kLineStart;
      return c == '\n' ? At::trailer : At::fault;
    default:
      return c == '\n' ? At::done : At::fault;
  }
}

}  // namespace tollgate::codec
