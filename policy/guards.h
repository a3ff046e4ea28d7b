// What a policy says about the inside of a request: what is refused in words, and what is written
// into it. Values and the refusals alone; the changes of the body are made in userspace/proxy.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/decision.h"

namespace tollgate::policy {

// How long a model may think, in ascending order.
enum class Effort : uint8_t { none, minimal, low, medium, high, xhigh, max };
// What the provider takes when a request names none; some models think less by default.
inline constexpr Effort kDefaultEffort = Effort::medium;

std::string_view to_string(Effort effort);
std::optional<Effort> parse_effort(std::string_view text);

enum class Store : uint8_t {
  forward,
  off,  // the provider is told to keep no answer, whatever the client asked for
};

// Where a developer works: paths, remote addresses, commits, the machine. Codex says it in a header
// and again in the body's client_metadata.
enum class TurnMetadata : uint8_t {
  forward,
  strip,  // none of it
  hash,   // hashed under a key of the gateway's: still tells one place from another
};

struct Guards {
  std::map<std::string, std::string, std::less<>> alias{};  // asked → served, in one step
  std::string force_model{};                                // served whatever is asked; or empty
  std::optional<Effort> reasoning_effort_max{};
  uint64_t max_input_bytes = 0;                             // of the body; 0: no bound
  std::optional<std::vector<std::string>> service_tiers{};  // absent: every tier that has a price
  std::optional<std::vector<std::string>> hosted_tools{};   // absent: every tool that has a price
  Store store = Store::forward;
  TurnMetadata turn_metadata = TurnMetadata::forward;
};

// The name that is served for the one that a client asked for, and whether that is by the guards:
// such a name needs not be among the policy's models.
bool renames(const Guards& guards, std::string_view asked);
std::string_view served_name(const Guards& guards, std::string_view asked);

// Each gate: nothing, or the refusal. `policy` is the name of the one that sets it.
struct Gatekeeper {
  const Guards& guards;
  const std::string& policy;
  const std::string& contact;

  std::optional<Refusal> size(uint64_t body_bytes) const;
  std::optional<Refusal> tier(std::string_view asked) const;
  std::optional<Refusal> tool(std::string_view type) const;
  // Only a name that cannot be compared with the cap is refused; what is above it is lowered.
  std::optional<Refusal> effort(std::string_view asked) const;
};

// The effort to write into a request that asked for `asked` (empty: for none), or nothing.
std::optional<Effort> lowered_effort(const Guards& guards, std::string_view asked);

}  // namespace tollgate::policy
