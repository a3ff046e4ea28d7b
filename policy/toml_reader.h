// Reads one TOML table key by key. Whatever is wrong becomes a Problem and reading goes on, so that
// an administrator sees every mistake at once; a key that nobody asked for is a Problem too.
#pragma once

// A parse error is a value here: exceptions never cross a function of ours.
// Debian builds the library with exceptions only, so the code comes with the header.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
// A damaged key breaks an assertion of toml++ 3.3 (parse_key) before its own error path reports it.
// In a release build the assertion is an assumption, which would make that path undefined; so it is
// neither here, and the error is reported.
#define TOML_ASSERT(condition) static_assert(true)
#pragma push_macro("NDEBUG")
#undef NDEBUG
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/policy_parse.h"

namespace tollgate::policy {

using Problems = std::vector<Problem>;

struct Located {  // a text and where it stands
  std::string text;
  uint32_t line = 0;
  std::string key;
};

class TomlReader {
 public:
  TomlReader(const toml::table& table, std::string path, Problems& problems);

  uint32_t line() const { return line_; }
  std::string path_of(std::string_view key) const;
  bool has(std::string_view key) const { return table_->contains(key); }
  bool is_table(std::string_view key) const;
  // The line of the key, or of the table when the key is absent.
  uint32_t line_of(std::string_view key) const;
  void problem(std::string_view key, std::string text, std::string remedy);

  std::optional<std::string> text(std::string_view key);
  // Also a Problem when absent or empty.
  std::string required_text(std::string_view key, std::string_view example);
  std::optional<bool> flag(std::string_view key);
  std::optional<uint64_t> number(std::string_view key, uint64_t min, uint64_t max);
  std::vector<uint64_t> numbers(std::string_view key, uint64_t min, uint64_t max,
                                std::string_view example);
  std::vector<Located> texts(std::string_view key, std::string_view example);
  // The members of a table whose names are the file's own, in the order of their names.
  struct Pair {
    std::string name;
    Located value;
  };
  std::vector<Pair> pairs(std::string_view key, std::string_view example);
  std::optional<TomlReader> table(std::string_view key);
  std::vector<TomlReader> tables(std::string_view key, std::string_view example);
  // Last: reports the keys that were never asked for, each with the nearest known one.
  void finish();

 private:
  const toml::node* take(std::string_view key);
  void wrong_type(std::string_view key, const toml::node& node, std::string_view wanted,
                  std::string remedy);

  const toml::table* table_;
  std::string path_;
  Problems* problems_;
  uint32_t line_;
  std::vector<std::string> known_;
};

}  // namespace tollgate::policy
