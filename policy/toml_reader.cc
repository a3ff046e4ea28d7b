#include "policy/toml_reader.h"

#include <algorithm>
#include <numeric>

namespace tollgate::policy {
namespace {

const char* type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a text";
    case toml::node_type::integer:
      return "a number";
    case toml::node_type::floating_point:
      return "a fraction";
    case toml::node_type::boolean:
      return "true or false";
    default:
      return "a date or time";
  }
}

// Edits (insert, drop, replace) from one word to the other.
size_t distance(std::string_view from, std::string_view to) {
  std::vector<size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < from.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < to.size(); ++j) {
      const size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::string suggestion(std::string_view key, const std::vector<std::string>& known) {
  constexpr size_t kKeyBytesMax = 64;  // longer is no slip of the finger
  std::string list;
  const std::string* best = nullptr;
  size_t best_distance = std::max<size_t>(2, key.size() / 3) + 1;
  for (const std::string& name : known) {
    list += (list.empty() ? "" : ", ") + name;
    if (key.size() > kKeyBytesMax) continue;
    if (const size_t d = distance(key, name); d < best_distance) {
      best = &name;
      best_distance = d;
    }
  }
  return best != nullptr ? "did you mean " + *best + "?" : "known here: " + list;
}

}  // namespace

TomlReader::TomlReader(const toml::table& table, std::string path, Problems& problems)
    : table_(&table),
      path_(std::move(path)),
      problems_(&problems),
      line_(static_cast<uint32_t>(table.source().begin.line)) {}

std::string TomlReader::path_of(std::string_view key) const {
  if (path_.empty() || key.empty()) return path_ + std::string(key);
  return path_ + "." + std::string(key);
}

bool TomlReader::is_table(std::string_view key) const {
  const toml::node* node = table_->get(key);
  return node != nullptr && node->is_table();
}

uint32_t TomlReader::line_of(std::string_view key) const {
  const toml::node* node = table_->get(key);
  return node == nullptr ? line_ : static_cast<uint32_t>(node->source().begin.line);
}

void TomlReader::problem(std::string_view key, std::string text, std::string remedy) {
  problems_->push_back({line_of(key), path_of(key), std::move(text), std::move(remedy)});
}

const toml::node* TomlReader::take(std::string_view key) {
  known_.emplace_back(key);
  return table_->get(key);
}

void TomlReader::wrong_type(std::string_view key, const toml::node& node, std::string_view wanted,
                            std::string remedy) {
  problem(key, "is " + std::string(type_name(node)) + ", not " + std::string(wanted),
          std::move(remedy));
}

std::optional<std::string> TomlReader::text(std::string_view key) {
  const toml::node* node = take(key);
  if (node == nullptr) return std::nullopt;
  if (const auto* value = node->as_string()) return value->get();
  wrong_type(key, *node, "a text", "write it in double quotes");
  return std::nullopt;
}

std::string TomlReader::required_text(std::string_view key, std::string_view example) {
  const bool present = has(key);
  const auto value = text(key);
  if (value && !value->empty()) return *value;
  if (!present || value) {
    problem(key, present ? "is empty" : "is missing",
            "write " + std::string(key) + " = " + std::string(example));
  }
  return {};
}

std::optional<bool> TomlReader::flag(std::string_view key) {
  const toml::node* node = take(key);
  if (node == nullptr) return std::nullopt;
  if (const auto* value = node->as_boolean()) return value->get();
  wrong_type(key, *node, "true or false", "write true or false, without quotes");
  return std::nullopt;
}

std::optional<uint64_t> TomlReader::number(std::string_view key, uint64_t min, uint64_t max) {
  const toml::node* node = take(key);
  if (node == nullptr) return std::nullopt;
  const std::string range =
      "write a whole number from " + std::to_string(min) + " to " + std::to_string(max);
  const auto* value = node->as_integer();
  if (value == nullptr) {
    wrong_type(key, *node, "a whole number", range);
    return std::nullopt;
  }
  const int64_t signed_value = value->get();
  if (signed_value < 0 || static_cast<uint64_t>(signed_value) < min ||
      static_cast<uint64_t>(signed_value) > max) {
    problem(key, std::to_string(signed_value) + " is out of range", range);
    return std::nullopt;
  }
  return static_cast<uint64_t>(signed_value);
}

std::vector<uint64_t> TomlReader::numbers(std::string_view key, uint64_t min, uint64_t max,
                                          std::string_view example) {
  std::vector<uint64_t> values;
  const toml::node* node = take(key);
  if (node == nullptr) return values;
  const std::string remedy = "write " + std::string(key) + " = " + std::string(example);
  const auto* array = node->as_array();
  if (array == nullptr) {
    wrong_type(key, *node, "a list of whole numbers", remedy);
    return values;
  }
  for (size_t i = 0; i < array->size(); ++i) {
    const toml::node& item = (*array)[i];
    const auto* value = item.as_integer();
    if (value != nullptr && value->get() >= 0 && static_cast<uint64_t>(value->get()) >= min &&
        static_cast<uint64_t>(value->get()) <= max) {
      values.push_back(static_cast<uint64_t>(value->get()));
      continue;
    }
    problems_->push_back(
        {static_cast<uint32_t>(item.source().begin.line),
         path_of(key) + "[" + std::to_string(i) + "]",
         "is no whole number from " + std::to_string(min) + " to " + std::to_string(max), remedy});
  }
  return values;
}

std::vector<Located> TomlReader::texts(std::string_view key, std::string_view example) {
  std::vector<Located> values;
  const toml::node* node = take(key);
  if (node == nullptr) return values;
  const std::string remedy = "write " + std::string(key) + " = " + std::string(example);
  const auto* array = node->as_array();
  if (array == nullptr) {
    wrong_type(key, *node, "a list of texts", remedy);
    return values;
  }
  for (size_t i = 0; i < array->size(); ++i) {
    const toml::node& item = (*array)[i];
    const std::string item_key = path_of(key) + "[" + std::to_string(i) + "]";
    const auto line = static_cast<uint32_t>(item.source().begin.line);
    const auto* value = item.as_string();
    if (value != nullptr && !value->get().empty()) {
      values.push_back({value->get(), line, item_key});
    } else {
      const std::string what =
          value != nullptr ? "is empty" : std::string("is ") + type_name(item) + ", not a text";
      problems_->push_back({line, item_key, what, remedy});
    }
  }
  return values;
}

std::vector<TomlReader::Pair> TomlReader::pairs(std::string_view key, std::string_view example) {
  std::vector<Pair> values;
  const toml::node* node = take(key);
  if (node == nullptr) return values;
  const std::string remedy = "write " + std::string(key) + " = " + std::string(example);
  const auto* table = node->as_table();
  if (table == nullptr) {
    wrong_type(key, *node, "a table of texts", remedy);
    return values;
  }
  for (auto&& [name, member] : *table) {
    const std::string member_key = path_of(key) + "." + std::string(name.str());
    const auto line = static_cast<uint32_t>(member.source().begin.line);
    if (const auto* value = member.as_string()) {
      values.push_back({std::string(name.str()), {value->get(), line, member_key}});
    } else {
      problems_->push_back(
          {line, member_key, std::string("is ") + type_name(member) + ", not a text", remedy});
    }
  }
  return values;
}

std::optional<TomlReader> TomlReader::table(std::string_view key) {
  const toml::node* node = take(key);
  if (node == nullptr) return std::nullopt;
  if (const auto* value = node->as_table()) return TomlReader(*value, path_of(key), *problems_);
  wrong_type(key, *node, "a table", "write [" + path_of(key) + "] and its keys below");
  return std::nullopt;
}

std::vector<TomlReader> TomlReader::tables(std::string_view key, std::string_view example) {
  std::vector<TomlReader> readers;
  const toml::node* node = take(key);
  if (node == nullptr) return readers;
  const auto* array = node->as_array();
  if (array == nullptr) {
    wrong_type(key, *node, "a list of tables", std::string(example));
    return readers;
  }
  for (size_t i = 0; i < array->size(); ++i) {
    const std::string item_key = path_of(key) + "[" + std::to_string(i) + "]";
    if (const auto* item = (*array)[i].as_table()) {
      readers.emplace_back(*item, item_key, *problems_);
    } else {
      problems_->push_back({static_cast<uint32_t>((*array)[i].source().begin.line), item_key,
                            std::string("is ") + type_name((*array)[i]) + ", not a table",
                            std::string(example)});
    }
  }
  return readers;
}

void TomlReader::finish() {
  for (auto&& [key, node] : *table_) {
    const std::string_view name = key.str();
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    problems_->push_back({static_cast<uint32_t>(key.source().begin.line), path_of(name),
                          "unknown key", suggestion(name, known_)});
  }
}

}  // namespace tollgate::policy
