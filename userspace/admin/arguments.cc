#include "userspace/admin/arguments.h"

#include <algorithm>
#include <charconv>

#include "userspace/base/units.h"

namespace tollgate::admin {
namespace {

using nlohmann::json;

struct ArgumentShape {
  Argument bit;
  std::string_view name;
};
constexpr ArgumentShape kArguments[] = {
    {kBy, "by"},
    {kSince, "since_unix_ms"},
    {kUntil, "until_unix_ms"},
    {kUser, "user"},
    {kModel, "model"},
    {kOutcome, "outcome"},
    {kScope, "scope"},
    {kSubject, "subject"},
    {kUnit, "unit"},
    {kAmount, "amount"},
    {kFor, "for_s"},
    {kReason, "reason"},
    {kBodyBytes, "body_bytes"},
};

std::string accepted_arguments(const VerbShape& shape) {
  std::string names;
  for (const ArgumentShape& argument : kArguments) {
    if ((shape.arguments & argument.bit) == 0) continue;
    names += names.empty() ? "" : ", ";
    names += argument.name;
  }
  return std::string(shape.name) + " takes " + (names.empty() ? "no arguments" : names);
}

std::optional<Failure> read_text(std::string_view name, const json& value, std::string& to) {
  if (!value.is_string()) return bad_request("read " + std::string(name) + ": not a string");
  const std::string& text = value.get_ref<const std::string&>();
  if (text.empty() || text.size() > kArgumentBytesMax) {
    return bad_request("read " + std::string(name) + ": 1 to 512 bytes are accepted");
  }
  to = text;
  return std::nullopt;
}

// For what goes into the audit log: nothing in it may look like the end of a line.
std::optional<Failure> read_plain_text(std::string_view name, const json& value, std::string& to) {
  if (auto failure = read_text(name, value, to)) return failure;
  const auto control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (std::none_of(to.begin(), to.end(), control)) return std::nullopt;
  return bad_request("read " + std::string(name) + ": control characters are not accepted");
}

std::optional<Failure> read_choice(std::string_view name, const json& value,
                                   std::initializer_list<std::string_view> choices,
                                   std::string& to) {
  if (auto failure = read_text(name, value, to)) return failure;
  if (std::find(choices.begin(), choices.end(), to) != choices.end()) return std::nullopt;
  std::string list;
  for (const std::string_view choice : choices) {
    list += list.empty() ? "one of " : ", ";
    list += choice;
  }
  return bad_request("read " + std::string(name) + ": unknown " + in_quotes(to), std::move(list));
}

std::optional<Failure> read_time(std::string_view name, const json& value, int64_t& to) {
  const std::optional<int64_t> number = integer_of(value);
  if (!number || *number < 0) {
    return bad_request("read " + std::string(name) + ": not milliseconds since 1970");
  }
  to = *number;
  return std::nullopt;
}

std::optional<Failure> read_by(const json& value, size_t& to) {
  if (!value.is_string()) return bad_request("read by: not a string");
  const std::string& name = value.get_ref<const std::string&>();
  const auto* const found = std::find(kUsageKeys.begin(), kUsageKeys.end(), name);
  if (found == kUsageKeys.end()) {
    return bad_request("read by: unknown key " + in_quotes(name),
                       "one of user, group, model, policy, day, session");
  }
  to = static_cast<size_t>(found - kUsageKeys.begin());
  return std::nullopt;
}

std::optional<Failure> read_outcome(const json& value, std::optional<ringbuf::Outcome>& to) {
  std::string name;
  if (auto failure = read_text("outcome", value, name)) return failure;
  to = ringbuf::parse_outcome(name);
  if (to) return std::nullopt;
  std::string choices = "one of ";
  for (uint8_t i = 1; i <= static_cast<uint8_t>(ringbuf::Outcome::recovered); ++i) {
    choices += i == 1 ? "" : ", ";
    choices += ringbuf::to_string(static_cast<ringbuf::Outcome>(i));
  }
  return bad_request("read outcome: unknown " + in_quotes(name), std::move(choices));
}

std::optional<Failure> read_body_bytes(const json& value, uint64_t& to) {
  const std::optional<int64_t> number = integer_of(value);
  if (!number || *number < 1 || *number > static_cast<int64_t>(kBodyBytesMax)) {
    return bad_request("read body_bytes: 1 to 1000000000 are accepted");
  }
  to = static_cast<uint64_t>(*number);
  return std::nullopt;
}

std::optional<Failure> read_for(const json& value, int64_t& to) {
  const std::optional<int64_t> number = integer_of(value);
  if (!number || *number < 1 || *number > kGrantSecondsMax) {
    return bad_request("read for_s: 1 to 2678400 seconds (31 days) are accepted");
  }
  to = *number;
  return std::nullopt;
}

std::optional<Failure> read_argument(Argument argument, std::string_view name, const json& value,
                                     Request& request) {
  switch (argument) {
    case kBy:
      return read_by(value, request.by);
    case kSince:
      return read_time(name, value, request.since_unix_ms);
    case kUntil:
      return read_time(name, value, request.until_unix_ms);
    case kUser:
      return read_text(name, value, request.user);
    case kModel:
      return read_text(name, value, request.model);
    case kOutcome:
      return read_outcome(value, request.outcome);
    case kBodyBytes:
      return read_body_bytes(value, request.body_bytes);
    case kScope:
      return read_choice(name, value, {"user", "group"}, request.scope);
    case kSubject:
      return read_plain_text(name, value, request.subject);
    case kUnit:
      return read_choice(name, value, {"usd", "tokens", "requests"}, request.unit);
    case kAmount:
      return std::nullopt;  // means something only with its unit: read_amount()
    case kFor:
      return read_for(value, request.for_s);
    case kReason:
      return read_plain_text(name, value, request.reason);
  }
  return bad_request("read " + std::string(name) + ": unknown argument");
}

std::optional<int64_t> parse_amount(std::string_view unit, const std::string& text) {
  if (unit == "usd") {
    const Result<NanoUsd> dollars = parse_usd(text);
    return dollars ? std::optional(dollars->value) : std::nullopt;
  }
  int64_t count = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), count);
  const bool whole = fault == std::errc{} && end == text.data() + text.size();
  return whole ? std::optional(count) : std::nullopt;
}

// A string for every unit, as money is one: JSON readers may turn a number into a float.
std::optional<Failure> read_amount(const json& value, Request& request) {
  std::string text;
  if (auto failure = read_text("amount", value, text)) return failure;
  const std::optional<int64_t> amount = parse_amount(request.unit, text);
  if (!amount || *amount <= 0 || *amount > kGrantAmountMax) {
    return bad_request("read amount: " + in_quotes(text) + " is no amount of " + request.unit,
                       request.unit == "usd"
                           ? "write dollars like \"10.00\", above 0, 1000000.00 at most"
                           : "write a whole number like \"100000\", above 0, 10^15 at most");
  }
  request.amount = *amount;
  return std::nullopt;
}

}  // namespace

std::string in_quotes(std::string_view text) {
  return "\"" + std::string(text.substr(0, 64)) + "\"";
}

Failure bad_request(std::string text, std::string hint) {
  return Failure{ErrorCode::bad_request, std::move(text), std::move(hint)};
}

std::optional<int64_t> integer_of(const json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  return std::nullopt;
}

std::optional<Failure> read_arguments(const VerbShape& shape, const json& args, Request& request) {
  if (!args.is_object()) return bad_request("read args: not an object");
  for (const auto& [name, value] : args.items()) {
    const auto* const known = std::find_if(
        std::begin(kArguments), std::end(kArguments),
        [&name = name](const ArgumentShape& argument) { return argument.name == name; });
    if (known == std::end(kArguments) || (shape.arguments & known->bit) == 0) {
      return bad_request("unknown argument " + in_quotes(name), accepted_arguments(shape));
    }
    if (auto failure = read_argument(known->bit, known->name, value, request)) return failure;
  }
  for (const ArgumentShape& argument : kArguments) {
    if ((shape.required & argument.bit) == 0 || args.contains(argument.name)) continue;
    return bad_request(std::string(shape.name) + ": " + std::string(argument.name) + " is missing",
                       accepted_arguments(shape));
  }
  if ((shape.arguments & kAmount) != 0) return read_amount(args["amount"], request);
  if (request.until_unix_ms <= request.since_unix_ms) {
    return bad_request("read until_unix_ms: not after since_unix_ms");
  }
  return std::nullopt;
}

}  // namespace tollgate::admin
