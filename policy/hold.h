// How much to hold for a request before it is sent: the most that it can take (strict), or what
// such requests usually take (typical). Learned from settled requests, bounded, and shown to
// admins.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "policy/decision.h"
#include "policy/limit.h"
#include "policy/price.h"

namespace tollgate::policy {

struct Estimate {
  uint64_t tokens_per_kilobyte = 0;  // input tokens for 1,000 bytes of body
  uint64_t output_tokens = 0;
  size_t samples = 0;  // settled requests behind it; 0: the defaults
};

// The last settled requests of each user and model. Three quarters of them had fewer tokens a byte,
// nine tenths fewer output tokens, than an estimate says; between bounds, so that neither an odd
// request nor a wrong report makes holds absurd.
class Calibration {
 public:
  void learn(const std::string& user, const std::string& model, uint64_t body_bytes,
             uint64_t input_tokens, uint64_t output_tokens);
  // Of the user, else of the model, else the defaults.
  Estimate estimate(const std::string& user, const std::string& model) const;
  struct Row {
    std::string user;
    std::string model;
    Estimate estimate;
  };
  std::vector<Row> rows(std::string_view user) const;

 private:
  struct Samples {
    std::vector<uint32_t> tokens_per_kilobyte;  // of the last requests, in turn
    std::vector<uint64_t> output_tokens;
    size_t next = 0;
    Estimate estimate;
  };
  static void take(Samples& samples, uint32_t tokens_per_kilobyte, uint64_t output_tokens);

  std::map<std::pair<std::string, std::string>, Samples> by_user_and_model_;
  std::map<std::string, Samples> by_model_;
};

struct Hold {
  uint64_t input_tokens = 0;
  uint64_t output_tokens = 0;
  NanoUsd cost;
  uint64_t tokens() const { return input_tokens + output_tokens; }
  // No more than these; the output gives way first.
  void shrink_to(NanoUsd cost_max, uint64_t tokens_max);
};

uint64_t expected_input_tokens(const Estimate& estimate, uint64_t body_bytes);

struct HoldAsk {
  HoldMode mode = HoldMode::typical;
  const ModelPrice* price = nullptr;
  std::string_view tier{};
  uint64_t body_bytes = 0;
  uint64_t max_output_tokens = 0;  // of the request as it will be sent; 0: none
  uint64_t choices = 1;            // answers to one chat, each up to that
  bool refers_elsewhere = false;   // the body's size bounds nothing
  uint64_t inline_images = 0;      // each may be more tokens than it has bytes
  NanoUsd tool_calls_cost;         // strict: of all calls that the request allows
  Estimate estimate;               // typical
};

// Refuses (price_unknown) a strict hold that nothing bounds; the sentence names the line to add.
std::variant<Hold, Refusal> size_hold(const HoldAsk& ask, const std::string& contact);

}  // namespace tollgate::policy
