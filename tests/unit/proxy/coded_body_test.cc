#include "userspace/proxy/coded_body.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <string>

namespace tollgate::proxy {
namespace {

using codec::Coding;
using policy::RefusalCode;

constexpr uint64_t kBodyBytesMax = 1 << 20;

std::string gzip(std::string plain) {
  z_stream stream{};
  EXPECT_EQ(::deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(::deflateBound(&stream, plain.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(plain.data());
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& plain) {
  std::string out(ZSTD_compressBound(plain.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), 3));
  return out;
}

// As unlike each other as text is in base64.
std::string noise(size_t bytes) {
  std::string text;
  uint32_t state = 1;
  while (text.size() < bytes) {
    state = state * 1664525 + 1013904223;
    text += "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[state >> 26];
  }
  return text;
}

struct Outcome {
  std::string plain;
  std::optional<policy::Refusal> refusal;
};

Outcome decode(Coding coding, const std::string& sent) {
  BodyMemory memory(uint64_t{1} << 30);
  Body coded(memory);
  EXPECT_TRUE(coded.append(std::as_bytes(std::span(sent)), 0));
  Body plain(memory);
  const uint64_t room = plain_room(coding, sent.size(), kBodyBytesMax);
  EXPECT_TRUE(memory.take(room));
  EXPECT_TRUE(plain.adopt(room));
  Outcome outcome;
  outcome.refusal = decode_body(coding, coded, plain);
  outcome.plain.assign(reinterpret_cast<const char*>(plain.bytes().data()), plain.size());
  return outcome;
}

TEST(CodedBody, IsReadPlain) {
  const std::string plain = "{\"model\":\"gpt-5.5\",\"x\":\"" + noise(500'000) + "\"}";
  for (const Coding coding : {Coding::gzip, Coding::zstd}) {
    const Outcome outcome = decode(coding, coding == Coding::gzip ? gzip(plain) : zstd(plain));
    EXPECT_FALSE(outcome.refusal) << name_of(coding);
    EXPECT_EQ(outcome.plain, plain) << name_of(coding);
  }
}

TEST(CodedBody, WhatIsWrongWithItIsSaid) {
  const std::string whole = gzip("{}");
  struct Case {
    const char* what;
    Coding coding;
    std::string sent;
    RefusalCode code;
    std::string says;
  };
  const Case cases[] = {
      {"plain text", Coding::gzip, "{}", RefusalCode::json_malformed,
       "its gzip coding is malformed"},
      {"the other coding", Coding::zstd, whole, RefusalCode::json_malformed, "zstd coding is malf"},
      {"cut", Coding::gzip, whole.substr(0, 15), RefusalCode::json_malformed, "ends early"},
      {"more behind it", Coding::gzip, whole + "xx", RefusalCode::json_malformed, "is malformed"},
      {"over the bound", Coding::zstd, zstd(noise(kBodyBytesMax + 1)), RefusalCode::body_too_large,
       "larger once its zstd coding is taken off than the 1048576 bytes"},
      {"a bomb", Coding::zstd, zstd(std::string(5'000'000, ' ')), RefusalCode::body_too_large,
       "more than 100 times as large"},
  };
  for (const Case& each : cases) {
    const Outcome outcome = decode(each.coding, each.sent);
    ASSERT_TRUE(outcome.refusal) << each.what;
    EXPECT_EQ(outcome.refusal->code, each.code) << each.what;
    EXPECT_NE(outcome.refusal->message.find(each.says), std::string::npos)
        << each.what << ": " << outcome.refusal->message;
  }
}

TEST(CodedBody, OfJustTheBoundIsTaken) {
  EXPECT_FALSE(decode(Coding::zstd, zstd(noise(kBodyBytesMax))).refusal);
}

TEST(PlainRoom, IsBoundedByRatioAndByTheLargestBody) {
  EXPECT_EQ(plain_room(Coding::identity, 1000, kBodyBytesMax), 0u);
  EXPECT_EQ(plain_room(Coding::gzip, 1000, kBodyBytesMax), codec::plain_bytes_max(1000));
  EXPECT_EQ(plain_room(Coding::gzip, 1'000'000, kBodyBytesMax), kBodyBytesMax);
}

}  // namespace
}  // namespace tollgate::proxy
