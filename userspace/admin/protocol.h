// The admin protocol, version 1: one JSON object a line, over a unix socket. Both ends use this
// file: the daemon's server (server.h) and the command line (userspace/ctl). README.md has the
// whole protocol with its shapes.
//
// No I/O here. What a caller sends is checked completely before anything acts on it: an unknown
// field or argument is refused, so that a misspelt `sicne` is not a report about everything.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <nlohmann/json.hpp>

#include "ringbuf/record.h"
#include "userspace/base/result.h"

namespace tollgate::admin {

inline constexpr int kProtocolVersion = 1;
// A request is a verb and a few names; 64 KiB is far above any and still nothing to hold.
inline constexpr size_t kRequestBytesMax = 64 * 1024;
// One answer: about 50,000 usage rows. Single records are streamed and know no such end.
inline constexpr size_t kAnswerBytesMax = 16 * 1024 * 1024;
// What the ledger keeps of any text; a longer argument could match nothing.
inline constexpr size_t kArgumentBytesMax = 512;
// As long as the longest rolling window: what a grant adds is used up or gone with it.
inline constexpr int64_t kGrantSecondsMax = 31 * 24 * 3600;
// A million dollars in nano-USD: more is a mistake, and sums of grants stay far from overflow.
inline constexpr int64_t kGrantAmountMax = 1'000'000'000'000'000;
// A first Codex request: its instructions, its tools and a short question.
inline constexpr uint64_t kBodyBytesUsual = 40'000;
inline constexpr uint64_t kBodyBytesMax = 1'000'000'000;

enum class Verb : uint8_t {
  status,
  peers,
  sessions,
  usage,
  records,  // streams
  tail,     // streams until the caller leaves
  explain,
  limits,
  adjustments,
  unmetered,
  grant,
  reset,
  revoke,
  restore,
  acknowledge,  // what `unmetered` lists
  reload,
  version,
};
std::string_view to_string(Verb verb);
// Does it change something? Only an administrator may.
bool changes(Verb verb);

// What `usage` can be grouped by, in the order of ledger::GroupBy.
inline constexpr std::array<std::string_view, 6> kUsageKeys = {"user",   "group", "model",
                                                               "policy", "day",   "session"};

enum class ErrorCode : uint8_t { forbidden, bad_request, unknown_verb, failed };
std::string_view to_string(ErrorCode code);

struct Failure {
  ErrorCode code = ErrorCode::failed;
  std::string text;
  std::string hint;  // may be empty
};

struct Request {
  Verb verb = Verb::status;
  size_t by = 0;  // index into kUsageKeys
  int64_t since_unix_ms = 0;
  int64_t until_unix_ms = std::numeric_limits<int64_t>::max();
  std::string user;
  std::string model;
  std::optional<ringbuf::Outcome> outcome;
  uint64_t body_bytes = kBodyBytesUsual;  // explain
  std::string scope;                      // grant, reset: "user" | "group"
  std::string subject;
  std::string unit;  // grant: "usd" | "tokens" | "requests"
  int64_t amount = 0;
  int64_t for_s = 0;
  std::string reason;
};

// `id` is the caller's own number, given back with each line of the answer; known also for most
// refused requests.
struct ParsedRequest {
  std::optional<int64_t> id;
  std::variant<Request, Failure> outcome;
};
ParsedRequest parse_request(std::string_view line);
std::string request_line(Verb verb, const nlohmann::json& args);

// Answers, each a whole line with its newline. Everything above ASCII is escaped and bytes that are
// not UTF-8 become U+FFFD: model names are client input, and an answer always can be written.
std::string ok_line(std::optional<int64_t> id, const nlohmann::json& data);
std::string error_line(std::optional<int64_t> id, const Failure& failure);
std::string item_line(std::optional<int64_t> id, const nlohmann::json& item);
// Only in `tail`: so many records went by unseen, because they came faster than they were written.
std::string lost_line(std::optional<int64_t> id, uint64_t count);

struct Answer {
  enum class Kind : uint8_t { ok, error, item, lost };
  Kind kind = Kind::ok;
  nlohmann::json body;  // data of ok, the item
  Failure failure;      // of error
  uint64_t lost = 0;
};
// Refuses what is not an answer of version 1. Unknown fields are passed over: a newer daemon may
// have more to say.
Result<Answer> parse_answer(std::string_view line);

}  // namespace tollgate::admin
