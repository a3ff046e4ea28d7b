#include "userspace/codec/coding.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <string>

namespace tollgate::codec {
namespace {

std::string deflated(std::string_view plain, int window_bits) {
  z_stream stream{};
  EXPECT_EQ(::deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(::deflateBound(&stream, plain.size()), '\0');
  std::string in(plain);
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

std::string gzip(std::string_view plain) {
  return deflated(plain, 15 + 16);
}

// Without the content's size, as a client that streams writes it: the window is what is declared.
std::string zstd(std::string_view plain, int window_log = 20) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  std::string out(ZSTD_compressBound(plain.size()), '\0');
  const size_t size = ZSTD_compress2(context, out.data(), out.size(), plain.data(), plain.size());
  EXPECT_FALSE(ZSTD_isError(size));
  out.resize(size);
  ZSTD_freeCCtx(context);
  return out;
}

std::string encoded(Coding coding, std::string_view plain) {
  return coding == Coding::gzip ? gzip(plain) : zstd(plain);
}

struct Decoded {
  std::string plain;
  CodingFault fault = CodingFault::none;
  bool complete = false;
  bool operator==(const Decoded&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Decoded& decoded) {
  return out << decoded.plain.size() << " bytes, fault " << static_cast<int>(decoded.fault)
             << (decoded.complete ? ", complete" : ", incomplete");
}

void feed(Decoder& decoder, std::string_view piece, Decoded& out) {
  auto in = std::as_bytes(std::span(piece));
  while (true) {
    const Decoder::Step step = decoder.next(in);
    if (step.state != Decoder::State::data) break;
    out.plain.append(reinterpret_cast<const char*>(step.data.data()), step.data.size());
  }
  out.fault = decoder.fault();
  out.complete = decoder.complete() && out.fault == CodingFault::none;
  if (out.fault == CodingFault::none) {
    EXPECT_TRUE(in.empty());
  }
}

Decoded decode(Coding coding, std::string_view coded, uint64_t bytes_max = UINT64_MAX) {
  const auto decoder = Decoder::make(coding, bytes_max);
  Decoded out;
  feed(*decoder, coded, out);
  return out;
}

Decoded decode_in_pieces(Coding coding, std::string_view coded, size_t piece) {
  const auto decoder = Decoder::make(coding);
  Decoded out;
  for (; !coded.empty(); coded.remove_prefix(std::min(piece, coded.size())))
    feed(*decoder, coded.substr(0, piece), out);
  return out;
}

std::string some_json(size_t items) {
  std::string text = "{\"input\":[";
  for (size_t i = 0; i < items; ++i)
    text += "{\"type\":\"message\",\"n\":" + std::to_string(i * 2654435761u) + "},";
  return text + "0]}";
}

std::string skippable_frame() {
  return std::string("\x5a\x2a\x4d\x18\x03\0\0\0abc", 11);
}

class EachCoding : public testing::TestWithParam<Coding> {};
INSTANTIATE_TEST_SUITE_P(Codings, EachCoding, testing::Values(Coding::gzip, Coding::zstd),
                         [](const auto& which) {
                           return which.param == Coding::gzip ? "gzip" : "zstd";
                         });

TEST_P(EachCoding, IsTheSameWholeByteByByteAndAtEverySplit) {
  const std::string plain = some_json(40);
  const std::string coded = encoded(GetParam(), plain) + encoded(GetParam(), "second");
  const Decoded whole{plain + "second", CodingFault::none, true};
  EXPECT_EQ(decode(GetParam(), coded), whole);
  EXPECT_EQ(decode_in_pieces(GetParam(), coded, 1), whole);
  for (size_t at = 0; at <= coded.size(); ++at) {
    const auto decoder = Decoder::make(GetParam());
    Decoded out;
    feed(*decoder, std::string_view(coded).substr(0, at), out);
    feed(*decoder, std::string_view(coded).substr(at), out);
    EXPECT_EQ(out, whole) << "split at " << at;
  }
}

TEST_P(EachCoding, LargerThanItsBuffer) {
  // Also sizes at which the buffer is full just when the coded bytes end.
  for (const size_t size : {size_t{64 * 1024}, size_t{128 * 1024}, size_t{3'000'001}}) {
    std::string plain = some_json(size / 20);
    plain.resize(size, ' ');
    const std::string coded = encoded(GetParam(), plain);
    EXPECT_EQ(decode(GetParam(), coded), (Decoded{plain, CodingFault::none, true})) << size;
    EXPECT_EQ(decode_in_pieces(GetParam(), coded, 1000).plain, plain) << size;
  }
}

TEST_P(EachCoding, CutAnywhereIsIncompleteAndNoFault) {
  const std::string plain = some_json(3);
  const std::string coded = encoded(GetParam(), plain);
  for (size_t size = 1; size < coded.size(); ++size) {
    const Decoded out = decode(GetParam(), std::string_view(coded).substr(0, size));
    EXPECT_EQ(out.fault, CodingFault::none) << size;
    EXPECT_FALSE(out.complete) << size;
  }
  EXPECT_TRUE(decode(GetParam(), "").complete) << "nothing is whole";
}

TEST_P(EachCoding, WhatFollowsMustBeAnotherOne) {
  const std::string coded = encoded(GetParam(), "hello");
  for (const std::string& garbage : {std::string(2, '\0'), std::string("hello"), coded.substr(1)}) {
    const Decoded out = decode(GetParam(), coded + garbage);
    EXPECT_EQ(out.plain, "hello");
    EXPECT_EQ(out.fault, CodingFault::malformed);
  }
}

TEST_P(EachCoding, AFaultStays) {
  const auto decoder = Decoder::make(GetParam());
  Decoded out;
  feed(*decoder, "hello", out);
  EXPECT_EQ(out.fault, CodingFault::malformed);
  feed(*decoder, encoded(GetParam(), "hello"), out);
  EXPECT_EQ(out, (Decoded{"", CodingFault::malformed, false}));
}

TEST_P(EachCoding, StopsAtTheBoundAndNotBefore) {
  const std::string plain = some_json(20'000);
  const std::string coded = encoded(GetParam(), plain);
  const auto with_bound = [&](uint64_t bytes) { return decode(GetParam(), coded, bytes); };
  EXPECT_EQ(with_bound(plain.size()).plain, plain);
  const Decoded over = with_bound(plain.size() - 1);
  EXPECT_EQ(over.fault, CodingFault::too_large);
  EXPECT_LT(over.plain.size(), plain.size());
}

TEST_P(EachCoding, ABombStopsWhileItIsDecoded) {
  const std::string bomb = encoded(GetParam(), std::string(50'000'000, ' '));
  ASSERT_LT(bomb.size(), 100'000u);
  const Decoded out = decode(GetParam(), bomb, plain_bytes_max(bomb.size()));
  EXPECT_EQ(out.fault, CodingFault::too_large);
  EXPECT_LE(out.plain.size(), plain_bytes_max(bomb.size()));
}

TEST_P(EachCoding, WhatIsSmallMayBeRepetitive) {
  const std::string plain(kPlainBytesFree, ' ');
  const std::string coded = encoded(GetParam(), plain);
  const Decoded out = decode(GetParam(), coded, plain_bytes_max(coded.size()));
  EXPECT_EQ(out, (Decoded{plain, CodingFault::none, true}));
}

TEST(GzipDecoder, ReadsNoOtherWrapper) {
  EXPECT_EQ(decode(Coding::gzip, deflated("hello", 15)).fault, CodingFault::malformed) << "zlib";
  EXPECT_EQ(decode(Coding::gzip, deflated("hello", -15)).fault, CodingFault::malformed) << "raw";
}

TEST(GzipDecoder, FindsAFlippedBit) {
  const std::string coded = gzip(some_json(10));
  for (size_t at = 10; at < coded.size(); ++at) {  // behind the header's time and system
    std::string flipped = coded;
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    EXPECT_FALSE(decode(Coding::gzip, flipped).complete) << at;
  }
}

TEST(ZstdDecoder, PassesOverSkippableFrames) {
  const std::string coded = skippable_frame() + zstd("a") + skippable_frame() + zstd("b");
  const Decoded whole{"ab", CodingFault::none, true};
  EXPECT_EQ(decode(Coding::zstd, coded), whole);
  EXPECT_EQ(decode_in_pieces(Coding::zstd, coded, 1), whole);
  EXPECT_FALSE(decode(Coding::zstd, skippable_frame().substr(0, 9)).complete);
}

TEST(ZstdDecoder, TakesAWindowOf8MiBAndNoLarger) {
  const std::string plain = some_json(600'000);  // more than any of these windows
  ASSERT_GT(plain.size(), size_t{16} << 20);
  EXPECT_EQ(decode(Coding::zstd, zstd(plain, 23)).plain, plain);
  EXPECT_EQ(decode(Coding::zstd, zstd(plain, 24)).fault, CodingFault::malformed);
}

TEST(ZstdDecoder, ReadsNoFormatOfBefore2016) {
  // Each would be waited for as the head of a frame; their decoders heed no limit of the window.
  for (const char first : {'\x1e', '\x22', '\x23', '\x24', '\x25', '\x26', '\x27'}) {
    const std::string frame = std::string(1, first) + "\xb5\x2f\xfd";
    EXPECT_EQ(decode(Coding::zstd, frame).fault, CodingFault::malformed) << int{first};
    EXPECT_EQ(decode(Coding::zstd, zstd("a") + frame).fault, CodingFault::malformed) << int{first};
  }
}

TEST(ContentCoding, IsOneNameThatIsDecodedHere) {
  struct Case {
    const char* what;
    std::vector<Field> fields;
    std::optional<Coding> coding;
  };
  const Case cases[] = {
      {"no field", {{"content-type", "gzip"}}, Coding::identity},
      {"empty", {{"content-encoding", ""}}, Coding::identity},
      {"identity", {{"Content-Encoding", "Identity"}}, Coding::identity},
      {"gzip", {{"content-encoding", "gzip"}}, Coding::gzip},
      {"its old name", {{"content-encoding", "X-GZIP"}}, Coding::gzip},
      {"zstd", {{"Content-Encoding", "ZSTD"}}, Coding::zstd},
      {"deflate", {{"content-encoding", "deflate"}}, std::nullopt},
      {"br", {{"content-encoding", "br"}}, std::nullopt},
      {"a list", {{"content-encoding", "gzip, zstd"}}, std::nullopt},
      {"a list with nothing", {{"content-encoding", "gzip,"}}, std::nullopt},
      {"two fields", {{"content-encoding", "gzip"}, {"content-encoding", "gzip"}}, std::nullopt},
      {"hidden behind identity",
       {{"content-encoding", "identity"}, {"content-encoding", "br"}},
       std::nullopt},
  };
  for (const Case& each : cases)
    EXPECT_EQ(content_coding(each.fields), each.coding) << each.what;
}

TEST(PlainBytesMax, DoesNotOverflow) {
  EXPECT_EQ(plain_bytes_max(0), kPlainBytesFree);
  EXPECT_EQ(plain_bytes_max(1000), kPlainBytesFree + 100'000);
  EXPECT_EQ(plain_bytes_max(UINT64_MAX), UINT64_MAX);
}

}  // namespace
}  // namespace tollgate::codec
