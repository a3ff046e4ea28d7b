#include "userspace/codec/sse_probe.h"

#include <array>
#include <string_view>

namespace tollgate::codec {
namespace {

constexpr std::array<std::string_view, 3> kTerminalTypes = {"response.completed", "response.failed",
                                                            "response.incomplete"};
constexpr std::string_view kTypeKey = "type\"";
constexpr std::string_view kDeltaKey = "\"delta\"";
constexpr uint64_t kDeltaSuffix = 0x2e64656c7461;  // ".delta"
constexpr uint64_t kSuffixMask = 0xffffffffffff;

constexpr bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

}  // namespace

void EventProbe::decide(Verdict verdict, At next) {
  verdict_ = verdict;
  at_ = next;
}

void EventProbe::put(char c) {
  switch (at_) {
    case At::before_object:
      if (is_space(c)) return;
      return c == '{' ? decide(Verdict::undecided, At::before_key)
                      : decide(Verdict::other, At::rest);
    case At::before_key:
      if (is_space(c)) return;
      return c == '"' ? decide(Verdict::undecided, At::key) : decide(Verdict::other, At::rest);
    case At::key:
      return put_key(c);
    case At::after_key:
      if (is_space(c)) return;
      return c == ':' ? decide(Verdict::undecided, At::before_value)
                      : decide(Verdict::other, At::rest);
    case At::before_value:
      if (is_space(c)) return;
      matched_ = 0;
      return c == '"' ? decide(Verdict::undecided, At::value) : decide(Verdict::other, At::rest);
    case At::value:
      return put_value(c);
    case At::delta_key:
    case At::delta_colon:
    case At::delta_value:
      return put_delta(c);
    case At::rest:
      return;
  }
}

void EventProbe::put_key(char c) {
  if (c != kTypeKey[matched_]) return decide(Verdict::whole_needed, At::rest);
  if (++matched_ == kTypeKey.size()) at_ = At::after_key;
}

void EventProbe::put_value(char c) {
  if (verdict_ == Verdict::undecided) {
    if (c == '\\') return decide(Verdict::whole_needed, At::rest);
    for (size_t i = 0; i < kTerminalTypes.size(); ++i) {
      const std::string_view type = kTerminalTypes[i];
      const char expected = matched_ < type.size() ? type[matched_] : '"';
      if (c != expected) candidates_ = static_cast<uint8_t>(candidates_ & ~(1u << i));
    }
    ++matched_;
    if (candidates_ == 0) {
      verdict_ = Verdict::other;
    } else if (c == '"') {
      return decide(Verdict::terminal, At::rest);
    }
  }
  if (c == '"') {
    const bool delta = (last_bytes_ & kSuffixMask) == kDeltaSuffix;
    matched_ = 0;
    at_ = delta ? At::delta_key : At::rest;
    return;
  }
  if (c == '\\') at_ = At::rest;  // no type of ours; a quote may be escaped
  last_bytes_ = last_bytes_ << 8 | static_cast<unsigned char>(c);
}

void EventProbe::put_delta(char c) {
  if (at_ == At::delta_key) {
    matched_ = c == kDeltaKey[matched_] ? static_cast<uint8_t>(matched_ + 1) : uint8_t{c == '"'};
    if (matched_ == kDeltaKey.size()) at_ = At::delta_colon;
  } else if (at_ == At::delta_colon) {
    if (c == ':' || is_space(c)) return;
    at_ = c == '"' ? At::delta_value : At::rest;
  } else if (c == '"' && !escaped_) {
    at_ = At::rest;
  } else {
    escaped_ = c == '\\' && !escaped_;
    ++delta_bytes_;
  }
}

}  // namespace tollgate::codec
