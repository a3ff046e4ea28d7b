// What a policy may limit: values only. How they are counted is in budget.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::policy {

enum class LimitScope : uint8_t {
  user,   // each user has the amount for himself
  group,  // each group of the policy has it once; its members share it
};
std::string_view to_string(LimitScope scope);  // as the configuration names it

enum class LimitUnit : uint8_t {
  usd,         // nano-USD
  tokens,      // input + output
  requests,    // admitted ones
  concurrent,  // running now; has no window
};
std::string_view to_string(LimitUnit unit);

struct Window {
  enum class Kind : uint8_t { rolling, day, week, month };
  Kind kind = Kind::rolling;
  int64_t rolling_ms = 0;  // rolling only: 1 s to 31 days
  std::string timezone;    // calendar only: "Europe/Berlin"; weeks begin on Monday

  bool operator==(const Window&) const = default;
};
// "90m", "7d" (the largest unit that divides it; one day is "24h"), "day Europe/Berlin".
std::string to_string(const Window& window);

enum class OnExceed : uint8_t {
  refuse,
  warn,       // a response header only
  downgrade,  // serve downgrade_model, which this limit does not bind
};

// One row of [[policy.limit]] and one unit of it: a table with usd and tokens makes two.
struct Limit {
  LimitScope per = LimitScope::user;
  LimitUnit unit = LimitUnit::usd;
  int64_t amount = 0;  // in the unit; above 0
  Window window;
  OnExceed on_exceed = OnExceed::refuse;
  std::string downgrade_model{};
  // What is counted, in one text: scope, unit, window and the models of the policy. Limits of equal
  // series share one consumption; Policy fills it in. The amount, the policy's name and what
  // happens at the limit are not part of it, so that editing those keeps what was consumed.
  std::string series{};

  bool operator==(const Limit&) const = default;
};

// How much is held for a request before it is sent.
enum class HoldMode : uint8_t {
  typical,  // what such requests of this user and model usually take
  strict,   // the most it can take: no cap is ever exceeded
};

enum class OnClientAbort : uint8_t {
  cancel,  // stop the provider after a moment in which the usage may still arrive
  drain,   // read the answer to its end: the provider's own figure
};

}  // namespace tollgate::policy
