// A small tollgate.toml and what the parser says of it, for the tests of the parser.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "policy/policy_parse.h"

namespace tollgate::policy {

inline const std::string kGateway = R"([gateway]
listen = ["10.99.0.1:443"]
tunnels = ["wg0"]
certificate = "/c.pem"
private_key = "/k.pem"
)";
inline const std::string kProvider = R"([[provider]]
name = "openai"
base_url = "https://api.openai.com/v1"
keys = [{ name = "main", file = "/key" }]
)";
inline const std::string kGroup = "[[group]]\nname = \"eng\"\nmembers = [\"alice\"]\n";
inline const std::string kRule =
    "[[policy]]\nname = \"p\"\ngroups = [\"eng\"]\nprovider = \"openai\"\nmodels = [\"gpt-5.*\"]\n";
inline const std::string kMinimal = kGateway + kProvider + kGroup + kRule;

inline std::string told(const std::string& text) {
  const auto parsed = parse_config(text);
  std::string all;
  if (const auto* problems = std::get_if<std::vector<Problem>>(&parsed)) {
    for (const Problem& problem : *problems) {
      EXPECT_FALSE(problem.remedy.empty()) << problem.text;
      EXPECT_GT(problem.line, 0u) << problem.text;
      all += to_string(problem, "f") + "\n";
    }
    EXPECT_FALSE(all.empty());
  }
  return all;
}

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return text.replace(at, from.size(), to);
}

}  // namespace tollgate::policy
