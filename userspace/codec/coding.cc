#include "userspace/codec/coding.h"

// What zlib reads is const with this.
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <limits>
#include <new>

#include "userspace/base/result.h"

namespace tollgate::codec {
namespace {

constexpr size_t kRunBytes = 64 * 1024;
// RFC 9659: what is sent as "zstd" needs no more than 8 MiB. Codex's level 3 uses 2 MiB.
constexpr int kZstdWindowLogMax = 23;
constexpr int kGzipWindowBits = 15 + 16;  // 16: the gzip wrapper, and no other

class GzipDecoder final : public Decoder {
 public:
  explicit GzipDecoder(uint64_t plain_bytes_max) : Decoder(plain_bytes_max) {
    if (::inflateInit2(&stream_, kGzipWindowBits) != Z_OK) throw std::bad_alloc();
  }
  ~GzipDecoder() override { ::inflateEnd(&stream_); }

 private:
  Progress decode(std::span<const std::byte> in, std::span<std::byte> out, bool fresh) override {
    if (fresh) ::inflateReset(&stream_);
    const size_t given = std::min<size_t>(in.size(), std::numeric_limits<uInt>::max());
    stream_.next_in = reinterpret_cast<const Bytef*>(in.data());
    stream_.avail_in = static_cast<uInt>(given);
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int result = ::inflate(&stream_, Z_NO_FLUSH);
    return {.consumed = given - stream_.avail_in,
            .produced = out.size() - stream_.avail_out,
            .ended = result == Z_STREAM_END,
            // Z_BUF_ERROR: nothing to do for now.
            .malformed = result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR};
  }

  z_stream stream_{};
};

// Debian's library also reads the formats of before 2016, and their decoders heed no window limit.
// The first byte of a frame tells them apart.
bool is_present_frame(std::byte first) {
  constexpr std::byte kFrame{0x28};
  constexpr std::byte kSkippable{0x50};  // to 0x5f
  return first == kFrame || (first & std::byte{0xf0}) == kSkippable;
}

class ZstdDecoder final : public Decoder {
 public:
  explicit ZstdDecoder(uint64_t plain_bytes_max)
      : Decoder(plain_bytes_max), context_(ZSTD_createDCtx()) {
    if (context_ == nullptr) throw std::bad_alloc();
    ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, kZstdWindowLogMax);
  }
  ~ZstdDecoder() override { ZSTD_freeDCtx(context_); }

 private:
  Progress decode(std::span<const std::byte> in, std::span<std::byte> out, bool fresh) override {
    if (fresh && !is_present_frame(in.front())) return {.malformed = true};
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    const size_t result = ZSTD_decompressStream(context_, &to, &from);
    const bool malformed = ZSTD_isError(result) != 0;
    return {.consumed = from.pos,
            .produced = to.pos,
            .ended = !malformed && result == 0,
            .malformed = malformed};
  }

  ZSTD_DCtx* context_;
};

std::optional<Coding> coding_named(std::string_view name) {
  if (name.empty() || equals_ignoring_case(name, "identity")) return Coding::identity;
  if (equals_ignoring_case(name, "gzip") || equals_ignoring_case(name, "x-gzip")) {
    return Coding::gzip;
  }
  if (equals_ignoring_case(name, "zstd")) return Coding::zstd;
  return std::nullopt;
}

}  // namespace

std::optional<Coding> content_coding(const std::vector<Field>& fields) {
  std::optional<Coding> found;
  for (const Field& field : fields) {
    if (!equals_ignoring_case(field.name, "content-encoding")) continue;
    const auto named = coding_named(field.value);
    if (!named || found) return std::nullopt;
    found = named;
  }
  return found.value_or(Coding::identity);
}

std::unique_ptr<Decoder> Decoder::make(Coding coding, uint64_t plain_bytes_max) {
  TG_ASSERT(coding != Coding::identity);
  if (coding == Coding::gzip) return std::make_unique<GzipDecoder>(plain_bytes_max);
  return std::make_unique<ZstdDecoder>(plain_bytes_max);
}

Decoder::Decoder(uint64_t plain_bytes_max) : plain_bytes_max_(plain_bytes_max), plain_(kRunBytes) {}

Decoder::Step Decoder::next(std::span<const std::byte>& in) {
  while (fault_ == CodingFault::none && (!in.empty() || more_inside_)) {
    const Progress did = decode(in, plain_, at_boundary_);
    if (did.malformed) return stop(CodingFault::malformed);
    in = in.subspan(did.consumed);
    produced_ += did.produced;
    at_boundary_ = did.ended;
    more_inside_ = !did.ended && did.produced == plain_.size();
    if (produced_ > plain_bytes_max_) return stop(CodingFault::too_large);
    if (did.produced != 0) return {State::data, std::span(plain_).first(did.produced)};
    if (did.consumed == 0 && !did.ended) break;
  }
  return {fault_ == CodingFault::none ? State::need_more : State::fault, {}};
}

Decoder::Step Decoder::stop(CodingFault fault) {
  fault_ = fault;
  return {State::fault, {}};
}

}  // namespace tollgate::codec
