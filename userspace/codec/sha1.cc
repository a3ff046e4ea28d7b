#include "userspace/codec/sha1.h"

#include <bit>
#include <string>

namespace tollgate::codec {
namespace {

constexpr size_t kBlockBytes = 64;
constexpr size_t kLengthBytes = 8;

using State = std::array<uint32_t, 5>;

uint32_t word_at(std::string_view block, size_t index) {
  uint32_t word = 0;
  for (const char c : block.substr(4 * index, 4))
    word = word << 8 | static_cast<unsigned char>(c);
  return word;
}

void add_block(std::string_view block, State& state) {
  std::array<uint32_t, 80> w;
  for (size_t t = 0; t < w.size(); ++t)
    w[t] = t < 16 ? word_at(block, t) : std::rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
  auto [a, b, c, d, e] = state;
  for (size_t t = 0; t < w.size(); ++t) {
    const uint32_t mixed = t < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                           : t < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                           : t < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                    : (b ^ c ^ d) + 0xca62c1d6;
    const uint32_t next = std::rotl(a, 5) + mixed + e + w[t];
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = next;
  }
  state = {state[0] + a, state[1] + b, state[2] + c, state[3] + d, state[4] + e};
}

}  // namespace

std::array<uint8_t, 20> sha1(std::string_view text) {
  std::string padded(text);
  padded += '\x80';
  while (padded.size() % kBlockBytes != kBlockBytes - kLengthBytes)
    padded += '\0';
  const uint64_t bits = uint64_t{text.size()} * 8;
  for (int shift = 56; shift >= 0; shift -= 8)
    padded += static_cast<char>(bits >> shift & 0xff);
  State state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  for (std::string_view rest = padded; !rest.empty(); rest.remove_prefix(kBlockBytes))
    add_block(rest, state);
  std::array<uint8_t, 20> digest;
  for (size_t i = 0; i < digest.size(); ++i)
    digest[i] = static_cast<uint8_t>(state[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

}  // namespace tollgate::codec
