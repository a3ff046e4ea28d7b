// The arguments of a request: which there are, and each checked before anything acts on it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "userspace/admin/protocol.h"

namespace tollgate::admin {

// As bits, so that the table of verbs can say which it takes.
enum Argument : uint16_t {
  kBy = 1 << 0,
  kSince = 1 << 1,
  kUntil = 1 << 2,
  kUser = 1 << 3,
  kModel = 1 << 4,
  kOutcome = 1 << 5,
  kBodyBytes = 1 << 6,
  kScope = 1 << 7,
  kSubject = 1 << 8,
  kUnit = 1 << 9,
  kAmount = 1 << 10,
  kFor = 1 << 11,
  kReason = 1 << 12,
};

struct VerbShape {
  Verb verb;
  std::string_view name;
  uint16_t arguments;
  uint16_t required;  // of those
};

// Reads args into the request, whose verb is set.
std::optional<Failure> read_arguments(const VerbShape& shape, const nlohmann::json& args,
                                      Request& request);

// What a caller typed, for an error: long enough to recognise it by, short enough for one line.
std::string in_quotes(std::string_view text);
Failure bad_request(std::string text, std::string hint = {});
// Nothing for what is no integer or over 63 bits.
std::optional<int64_t> integer_of(const nlohmann::json& value);

}  // namespace tollgate::admin
